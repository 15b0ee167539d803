"""Parameters of a notebook, put into it as papermill does: a cell of assignments after the cell tagged `parameters`."""

import keyword
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from durable_nb.errors import BadArguments

if TYPE_CHECKING:
    from nbformat import NotebookNode

DEFAULTS = "parameters"  # the tag of the cell that gives every parameter its usual value
INJECTED = "injected-parameters"


def inject(notebook: "NotebookNode", parameters: Mapping[str, Any]) -> list[str]:
    """Put the values into the notebook; which of them its own cell of parameters does not know.

    In place of the cell of an earlier time, else after the cell of parameters, else before the first code cell that is
    more than `%load_ext`. The values are inputs of durable cells like any others.
    """
    if not parameters:
        return []
    cell = _cell(notebook, parameters)
    cells = notebook.cells
    if (before := _tagged(cells, INJECTED)) is not None:
        cells[before] = cell
    elif (defaults := _tagged(cells, DEFAULTS)) is not None:
        cells.insert(defaults + 1, cell)
    else:
        cells.insert(_top(cells), cell)
    known = _tagged(cells, DEFAULTS)
    return [] if known is None else [name for name in parameters if not _binds(cells[known].source, name)]


def source_of(parameters: Mapping[str, Any]) -> str:
    """The assignments; BadArguments for what is no plain value and would not read back as it was."""
    lines = [f"{_checked(name)} = {_literal(name, value)}" for name, value in parameters.items()]
    return "\n".join(["# Parameters", *lines]) + "\n"


def _cell(notebook: "NotebookNode", parameters: Mapping[str, Any]) -> Any:
    from nbformat.v4 import new_code_cell  # noqa: PLC0415 - comes with [notebook]; who runs one has it

    cell: Any = new_code_cell(source_of(parameters), metadata={"tags": [INJECTED]})  # type: ignore[no-untyped-call]
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        del cell["id"]  # older formats know none
    return cell


def _checked(name: str) -> str:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise BadArguments(f"a parameter is a variable of the notebook; {name!r} can be none")
    return name


def _literal(name: str, value: Any) -> str:
    match value:
        case None | bool() | int() | str():
            return repr(value)
        case float():
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        case list() | tuple():
            inner = ", ".join(_literal(name, one) for one in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
        case dict():
            pairs = (f"{_literal(name, key)}: {_literal(name, one)}" for key, one in value.items())
            return f"{{{', '.join(pairs)}}}"
    kind = type(value).__name__
    raise BadArguments(f"parameter `{name}` holds a {kind}; give numbers, text, lists and dicts of them, or None")


def _tagged(cells: Iterable[Any], tag: str) -> int | None:
    return next((place for place, cell in enumerate(cells) if tag in cell.metadata.get("tags", ())), None)


def _top(cells: list[Any]) -> int:
    """The first code cell that does more than load extensions."""
    found = (place for place, cell in enumerate(cells) if cell.cell_type == "code" and not _only_loads(cell.source))
    return next(found, len(cells))


def _only_loads(source: str) -> bool:
    lines = [line.strip() for line in source.splitlines()]
    return all(line.startswith(("%load_ext ", "#")) for line in lines if line)


def _binds(source: str, name: str) -> bool:
    return re.search(rf"(?m)^{re.escape(name)}\s*(:[^=\n]*)?=(?!=)", source) is not None
