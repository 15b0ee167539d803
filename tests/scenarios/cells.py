"""Code as a notebook defines it: of a cell, which may be run again with other text."""

import itertools
import linecache
from typing import Any

_numbers = itertools.count(1)


def cell(source: str, **known: Any) -> dict[str, Any]:
    """Run the text as a cell that knows these names; all names it has then."""
    name = f"<cell {next(_numbers)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space = {"__name__": "__main__", **known}
    exec(compile(source, name, "exec"), space)
    return space
