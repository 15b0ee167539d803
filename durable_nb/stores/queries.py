"""The statements of sql/*.sql by name."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_MARK = "-- name: "


@cache
def statements(group: str) -> Mapping[str, str]:
    """Name -> statement of one file; what stands before the first name is a comment."""
    text = files(__package__).joinpath("sql", f"{group}.sql").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for part in text.split(_MARK)[1:]:
        name, _, body = part.partition("\n")
        if name in found:
            raise ValueError(f"{group}.sql names {name!r} twice")
        found[name] = "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip().rstrip(";")
    return MappingProxyType(found)


def migrations() -> list[tuple[int, str]]:
    """(number, text) of every migration, in order."""
    folder = files(__package__).joinpath("sql", "migrations")
    found = [(int(each.name.removesuffix(".sql")), each) for each in folder.iterdir() if each.name.endswith(".sql")]
    return [(number, each.read_text(encoding="utf-8")) for number, each in sorted(found, key=lambda pair: pair[0])]
