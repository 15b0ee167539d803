"""Functions of a notebook as the source of their cell: read again, they see the namespace as it is then.

A function is found in its cell again by its name, its line and, where several stand on one line, by which of them it
is. It is compiled under the name of the cell that is there now, so that tracebacks and the debugger show that cell.
"""

import ast
import linecache
import warnings
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from types import CellType, CodeType, FunctionType
from typing import Any, Final, NamedTuple, cast

from durable_nb.errors import UnknownCode
from durable_nb.flows.source.compiling import FUTURE
from durable_nb.flows.source.texts import remember


class Written(NamedTuple):
    """Where the def or lambda of a function stands. Written into logs."""

    text: str
    name: str
    line: int
    place: int
    flags: int


def written(function: FunctionType) -> Written | None:
    """Where the function stands; None when the text is gone, or is not what was run."""
    code = function.__code__
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    flags = code.co_flags & FUTURE
    try:
        alike = _alike(_compiled(text, code.co_filename, flags), code.co_qualname, code.co_firstlineno)
    except (SyntaxError, ValueError):
        return None
    places = [place for place, one in enumerate(alike) if _is_same(one, code)]
    if not places:
        return None
    return Written(text, code.co_qualname, code.co_firstlineno, places[0], flags)


def make_function(space: dict[str, Any], where: tuple[Any, ...], cells: tuple[CellType, ...] | None) -> FunctionType:
    """A function without its state. Never renamed: logs name it."""
    found = Written(*where)
    try:
        code = _alike(_compiled(found.text, _file_of(found.text), found.flags), found.name, found.line)[found.place]
    except (SyntaxError, ValueError, IndexError) as error:
        raise UnknownCode(f"`{found.name}` was written for another Python and cannot be read here: {error}") from error
    return FunctionType(code, space, None, None, cells)


def make_from_code(space: dict[str, Any], code: CodeType, cells: tuple[CellType, ...] | None) -> FunctionType:
    """The same from bytecode, for a function whose text is gone. Never renamed: logs name it."""
    return FunctionType(code, space, None, None, cells)


def make_cell() -> CellType:
    """A variable that functions share, still without a value. Never renamed: logs name it."""
    return CellType()


def fill_cell(cell: CellType, content: object) -> None:
    """Never renamed: logs name it."""
    cell.cell_contents = content


def state_of(function: FunctionType) -> dict[str, Any]:
    """What a function has beside its code, its globals and the cells themselves."""
    return {
        "names": (function.__name__, function.__qualname__, function.__module__, function.__doc__),
        "defaults": (function.__defaults__, function.__kwdefaults__),
        "annotations": function.__annotations__,
        "attributes": dict(vars(function)),
        "cells": dict(_filled(function)),
    }


def fill_function(function: Any, state: dict[str, Any]) -> None:
    """Give a function its state; one in a cache is filled with it. Never renamed: logs name it."""
    function.__name__, function.__qualname__, function.__module__, function.__doc__ = state["names"]
    function.__defaults__, function.__kwdefaults__ = state["defaults"]
    function.__annotations__ = state["annotations"]
    vars(function).update(state["attributes"])
    for place, content in state["cells"].items():
        function.__closure__[place].cell_contents = content


def _filled(function: FunctionType) -> Iterator[tuple[int, object]]:
    for place, cell in enumerate(function.__closure__ or ()):
        try:
            yield place, cell.cell_contents
        except ValueError:  # the name is not bound yet
            continue


def _alike(module: CodeType, name: str, line: int) -> list[CodeType]:
    return [code for code in _codes(module) if code.co_qualname == name and code.co_firstlineno == line]


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


@lru_cache(maxsize=256)
def _compiled(text: str, file: str, flags: int) -> CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were given when the cell ran
        code = compile(text, file, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return cast(CodeType, code)


def _is_same(one: CodeType, live: CodeType) -> bool:
    """Whether the text is that of the running code, and at this very place of its line."""
    if one.co_code != live.co_code or list(one.co_positions()) != list(live.co_positions()):
        return False
    pairs = zip(one.co_consts, live.co_consts, strict=False)
    return (one.co_names, len(one.co_consts)) == (live.co_names, len(live.co_consts)) and all(
        _is_same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else type(a) is type(b) and a == b
        for a, b in pairs
    )


_DIFFERENCE: Final = 1  # a text may have lost the end of its last line


def _file_of(text: str) -> str:
    """The cell that has this text now, the last one that was run; a name of its own when there is none."""
    known: list[tuple[str, Any]] = list(linecache.cache.items())
    for name, entry in reversed(known):
        is_cell = len(entry) == 4 and entry[1] is None and abs(entry[0] - len(text)) <= _DIFFERENCE
        if is_cell and "".join(entry[2]) == text:
            return str(name)
    return remember(f"cell {blake2b(text.encode(), digest_size=4).hexdigest()}", text)
