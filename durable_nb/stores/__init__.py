"""Where it is kept. From outside, only what stands here is used."""

from durable_nb.errors import BadOption
from durable_nb.stores.protocol import Store
from durable_nb.stores.sqlite import open_sqlite

__all__ = ["Store", "open_store"]


def open_store(url: str, durability: str = "full") -> Store:
    """Open a log: a path, `sqlite:///path`, or `:memory:`."""
    if url.startswith(("postgresql:", "postgres:")):
        raise BadOption("PostgreSQL comes with the [postgres] extra, not in this version; name a file")
    path = url.removeprefix("sqlite:///")
    if "://" in path or path.startswith("sqlite:"):
        raise BadOption(f"{url!r} is not a log this version can open; write a path, sqlite:///PATH or :memory:")
    return open_sqlite(path, durability)
