"""Classes on the walk: their statement, and what they are besides it."""

import ast
import builtins
import enum
import sys
from collections import namedtuple
from types import (
    CellType,
    FunctionType,
)
from typing import Any, Protocol

from durable_nb.flows.code import Cell, Class, Gap, Member, Place, Thing
from durable_nb.flows.source import known
from durable_nb.flows.source.compiling import FUTURE, attributes_of, compile_class, names_read
from durable_nb.flows.source.packages import is_installed
from durable_nb.flows.source.parts import ATOMS, CONTAINERS, NOTHING
from durable_nb.flows.source.spaces import OpenSpace
from durable_nb.flows.source.texts import Left, bound_by, find_class, own_functions
from durable_nb.flows.source.watched import Watched, own_names


class Walk(Protocol):
    """What taking a class needs of the walk."""

    watched: Watched
    things: list[Thing]

    def refer(self, obj: object, /) -> tuple[str, str] | None: ...
    def place(self, obj: Any) -> Place: ...
    def take(self, obj: Any, name: str) -> Place: ...
    def add(self, thing: Thing, obj: object = ...) -> Place: ...
    def called(self, obj: Any, call: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Place: ...
    def space(self, names: dict[str, Any]) -> OpenSpace: ...
    def read(self, space: OpenSpace, names: set[str], mentions: frozenset[str]) -> tuple[str, ...]: ...
    def cell(self, cell: CellType, name: str) -> Place: ...


def take_class(walk: Walk, cls: type) -> Place:
    outer = outer_of(cls)
    if outer is not None:
        return walk.add(Member(walk.place(outer), cls.__name__), cls)
    if cls.__bases__ == (tuple,) and hasattr(cls, "_fields") and not hasattr(cls, "__orig_bases__"):
        return _take_namedtuple(walk, cls)
    references = {name: value for name, value in vars(cls).items() if walk.refer(value) is not None}
    try:
        found, node = find_class(cls, set(references))
    except Left:
        if issubclass(cls, enum.Enum):
            return _take_enum(walk, cls)
        raise
    place = walk.add(Gap("", ""), cls)
    walk.watched.classes.append((cls, own_names(cls)))
    code = compile_class(found.source, "", (), FUTURE if found.annotations_are_text else 0)
    space = walk.space(globals_of(cls))
    reads, needs = names_read(code), names_read(code, now=True)
    cells = _take_cells_of(walk, cls, space, reads, needs)
    attributes = {**references, **set_beside(cls, node)}
    walk.things[place] = Class(
        name=node.name,
        qualname=cls.__qualname__,
        source=found.source,
        file=found.file,
        line=found.line,
        space=space.number,
        annotations_are_text=found.annotations_are_text,
        reads=walk.read(space, reads - {*cells}, frozenset(attributes_of(code))),
        needs=tuple(sorted(needs - {*cells})),
        cells=cells,
        attributes={name: walk.take(attributes[name], f"{cls.__name__}.{name}") for name in sorted(attributes)},
    )
    return place


def _take_cells_of(walk: Walk, cls: type, space: OpenSpace, reads: set[str], needs: set[str]) -> dict[str, Place]:
    """The variables of the function a class was defined in: those of its methods' closures, and its bases."""
    cells: dict[str, Place] = {}
    for function in own_functions(cls):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name in reads and name not in cells:
                cells[name] = walk.cell(cell, name)
    bases = {base.__name__: base for base in cls.__bases__}
    for name in sorted(needs - {*cells}):
        if space.value(name) is not NOTHING or hasattr(builtins, name):
            continue
        if name not in bases:
            raise Left(f"the statement of class {cls.__qualname__} uses {name!r}, which is gone")
        cells[name] = walk.add(Cell(walk.place(bases[name])))
    return cells


def _take_namedtuple(walk: Walk, cls: Any) -> Place:
    keywords = {"defaults": list(cls._field_defaults.values()), "module": cls.__module__}
    return walk.called(cls, namedtuple, (cls.__name__, list(cls._fields)), keywords)


def _take_enum(walk: Walk, cls: type[enum.Enum]) -> Place:
    """An enum made by a call."""
    members = [(name, member.value) for name, member in cls.__members__.items()]
    return walk.called(cls, cls.__bases__[-1], (cls.__name__, members), {"module": cls.__module__})


def set_beside(cls: type, node: ast.ClassDef) -> dict[str, Any]:
    """Attributes that differ from what the class statement gives: set or replaced after it ran."""
    if isinstance(cls, enum.EnumMeta):
        return {}
    written = {name: statement for statement in node.body for name in bound_by(statement)}
    beside: dict[str, Any] = {}
    for name, value in vars(cls).items():
        statement = written.get(name)
        if isinstance(value, FunctionType):
            home = str(value.__globals__.get("__name__"))
            own = value.__code__.co_qualname.startswith(cls.__qualname__ + ".") or is_installed(home)
            decorators = getattr(statement or node, "decorator_list", None)
            if not own and not decorators:
                beside[name] = value
        elif name.startswith("__") and name.endswith("__"):
            continue
        elif type(value) in ATOMS | CONTAINERS and not _says(statement, value):
            beside[name] = value
    return beside


def _says(statement: ast.stmt | None, value: object) -> bool:
    """Whether an assignment is a literal of this value."""
    written = getattr(statement, "value", None)
    try:
        return written is not None and repr(ast.literal_eval(written)) == repr(value)
    except (ValueError, TypeError, SyntaxError):
        return False


def outer_of(cls: type) -> type | None:
    """The class a class stands in, if it can be reached by name."""
    names = cls.__qualname__.split(".")
    if len(names) < 2 or "<locals>" in names:
        return None
    outer = ".".join(names[:-1])
    found = known.live(cls.__module__, outer)
    if isinstance(found, type) and vars(found).get(names[-1]) is cls:
        return found
    return known.outer(cls.__module__, outer, names[-1], cls)


def globals_of(cls: type) -> dict[str, Any]:
    for function in own_functions(cls):
        return function.__globals__
    module = sys.modules.get(cls.__module__)
    if module is None:
        raise Left(f"the module {cls.__module__} of class {cls.__qualname__} is not loaded")
    return vars(module)
