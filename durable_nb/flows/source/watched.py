"""What a capture depended on, and whether that has changed."""

from collections.abc import Iterable
from types import (
    CellType,
    FunctionType,
)
from typing import Any, Final

from durable_nb.codec.values import Encoded, encode
from durable_nb.errors import DurableError
from durable_nb.flows.source.parts import ATOMS, CONTAINERS, NOTHING, reduced_of
from durable_nb.flows.source.texts import Left


def content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return NOTHING


def parts_of(obj: Any) -> tuple[Any, ...]:
    """The objects an object directly consists of."""
    if isinstance(obj, dict) and type(obj) is dict:
        return (*obj, *obj.values())
    if type(obj) in CONTAINERS:
        return tuple(obj)
    call, arguments, state, items, pairs = reduced_of(obj)
    states = state if isinstance(state, tuple) else (state,)
    flat = [part for one in states for part in ((*one, *one.values()) if isinstance(one, dict) else (one,))]
    return (call, *arguments, *flat, *items, *(part for pair in pairs for part in pair))


def _are_same(before: Iterable[Any], now: Iterable[Any]) -> bool:
    return all(_is_same_part(*pair) for pair in zip(before, now, strict=True))


def _is_same_part(before: Any, now: Any) -> bool:
    if before is now:
        return True
    kind = type(before)
    if kind is not type(now):
        return False
    # A reducer makes new containers at every call: those are compared by what they hold.
    return bool(before == now) if kind in ATOMS else kind in CONTAINERS and _are_same(parts_of(before), parts_of(now))


def function_state(function: FunctionType) -> tuple[Any, ...]:
    keywords = (function.__kwdefaults__ or {}).items()
    return function, function.__code__, function.__defaults__, dict(keywords), dict(vars(function))


def own_names(cls: type) -> dict[str, Any]:
    """What a class holds, without what is added later by Python itself (copyreg writes __slotnames__) and by msgspec."""
    return {name: value for name, value in vars(cls).items() if name not in _ADDED_LATER}


_ADDED_LATER: Final = frozenset(
    {"__slotnames__", "__annotations__", "__doc__", "__abstractmethods__", "__msgspec_cache__"}
)


def _has(names: dict[str, Any], expected: dict[str, Any]) -> bool:
    return len(names) == len(expected) and all(names.get(name, NOTHING) is expected[name] for name in expected)


class Watched:
    """What a capture depended on. Asking costs microseconds, so a flow is captured again only after a change."""

    __slots__ = ("cells", "classes", "functions", "names", "parts", "values")

    def __init__(self) -> None:
        self.names: list[tuple[dict[str, Any], str, Any]] = []
        self.cells: list[tuple[CellType, Any]] = []
        self.functions: list[tuple[Any, ...]] = []
        self.classes: list[tuple[type, dict[str, Any]]] = []
        self.parts: list[tuple[Any, tuple[Any, ...]]] = []
        self.values: list[tuple[Any, Encoded]] = []

    def is_current(self) -> bool:
        """Whether every name, cell, function and class still is the same object, and every mutable value equal."""
        return (
            all(names.get(name, NOTHING) is value for names, name, value in self.names)
            and all(content_of(cell) is value for cell, value in self.cells)
            and all(self._is_unchanged(*state) for state in self.functions)
            and all(_has(own_names(cls), expected) for cls, expected in self.classes)
            and self._are_values_equal()
        )

    @staticmethod
    def _is_unchanged(function: Any, code: Any, defaults: Any, keywords: Any, attributes: Any) -> bool:
        return (
            function.__code__ is code
            and function.__defaults__ is defaults
            and _has(function.__kwdefaults__ or {}, keywords)
            and _has(vars(function), attributes)
        )

    def _are_values_equal(self) -> bool:
        try:
            for obj, before in self.parts:
                if not _are_same(before, parts_of(obj)):
                    return False
            return all(encode(obj, "it") == encoded for obj, encoded in self.values)
        except (DurableError, Left, ValueError, RuntimeError):
            return False  # not what it was, or just being changed
