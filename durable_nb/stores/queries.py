"""The statements of sql/*.sql by name."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from durable_nb.stores.shapes import RunRecord

_MARK = "-- name: "
_FOLDER = Path(__file__).parent / "sql"
_RUN = ", ".join(RunRecord._fields)  # {run} in a statement, so that no column is forgotten in one of them


@cache
def statements(group: str) -> Mapping[str, str]:
    """Name -> statement of one file; what stands before the first name is a comment."""
    text = (_FOLDER / f"{group}.sql").read_text(encoding="utf-8").replace("{run}", _RUN)
    found: dict[str, str] = {}
    for part in text.split(_MARK)[1:]:
        name, _, body = part.partition("\n")
        if name in found:
            raise ValueError(f"{group}.sql names {name!r} twice")
        found[name] = "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip().rstrip(";")
    return MappingProxyType(found)


def migrations() -> list[tuple[int, str]]:
    """(number, text) of every migration, in order."""
    found = sorted((_FOLDER / "migrations").glob("*.sql"))
    return [(int(each.stem), each.read_text(encoding="utf-8")) for each in found]
