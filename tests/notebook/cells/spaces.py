"""Cells in a plain namespace, and what comes of their values in another one."""

import itertools
import linecache
from collections.abc import Mapping
from textwrap import dedent
from typing import Any

from durable_nb.notebook.cells.graph import Packed, pack, unpack

_numbers = itertools.count()


def space(**names: Any) -> dict[str, Any]:
    return {"__name__": "__main__", **names}


def cell(source: str, names: dict[str, Any], file: str | None = None) -> dict[str, Any]:
    """Run a cell as a notebook does; the names that it has bound."""
    source = dedent(source)
    file = file or f"<cell {next(_numbers)} of a test>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    before = dict(names)
    exec(compile(source, file, "exec"), names)
    return {
        name: value
        for name, value in names.items()
        if not name.startswith("__") and (name not in before or before[name] is not value)
    }


def copied(packed: Packed) -> list[bytearray]:
    return [bytearray(buffer) for buffer in packed.buffers]


def restored(
    values: Mapping[str, object], names: dict[str, Any], inputs: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """The values as they come into another namespace, which has the same inputs."""
    packed = pack(values, inputs or {}, names)
    assert packed.unstorable == {}
    other = space(**(inputs or {}))
    found = unpack(packed.head, copied(packed), inputs or {}, other)
    other.update(found)
    return other


def bound(source: str, **inputs: Any) -> dict[str, Any]:
    """What a cell binds, restored."""
    names = space(**inputs)
    return restored(cell(source, names), names, inputs)
