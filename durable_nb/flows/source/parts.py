"""What an object consists of and how heavy it is, asked without copying it."""

import copyreg
import gc
import io
import sys
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from functools import partial
from types import (
    BuiltinFunctionType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
    UnionType,
)
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from durable_nb.flows.code import Absent, Refer
from durable_nb.flows.source.packages import CACHED, is_installed
from durable_nb.flows.source.texts import Left

LIMIT: Final = 1 << 20
"""Largest value, encoded, that travels with code; more belongs in a step's arguments or in a file."""

PARTS: Final = 20_000
"""Most objects one global may consist of when they have to be stored one by one."""

NOTHING: Final = object()
ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
_ALIAS: Final = (type(typing.List[int]), type(typing.Union[int, str]), type(Callable[[int], str]))  # noqa: UP006, UP007
WEAK: Final = (WeakKeyDictionary, WeakValueDictionary, WeakSet)
BY_PARTS: Final = frozenset(
    {partial, deque, defaultdict, OrderedDict, Counter, SimpleNamespace, MethodType, BuiltinFunctionType, CACHED}
    | {GenericAlias, UnionType, typing.TypeVar, typing.NewType, MappingProxyType, *_ALIAS, *WEAK}
)
"""Types of Python that may hold the user's functions and classes; any other installed type is a value for the codec."""

FIXED: Final = frozenset({tuple, frozenset, *ATOMS})


def weight(obj: Any) -> int:
    """Roughly how many bytes an object takes, without copying or encoding it."""
    # Asked of the type: __getattr__ of an object may do anything.
    size = getattr(obj, "nbytes", None) if hasattr(type(obj), "nbytes") else None
    if size is None and type(obj).__module__.partition(".")[0] == "pandas" and hasattr(obj, "memory_usage"):
        size = obj.memory_usage().sum()
    try:
        return int(sys.getsizeof(obj) if size is None else size)
    except (TypeError, ValueError):
        return 0


def check_weight(obj: Any) -> None:
    """Refuse what holds something large before it is encoded, which would copy it."""
    seen = {id(obj)}
    queue = [obj]
    for item in queue:
        size = weight(item)
        if size > LIMIT:
            raise Left(too_large("in memory", size))
        for part in gc.get_referents(item) if len(queue) < _LOOKED_AT else ():
            if id(part) not in seen and not isinstance(part, type | ModuleType | FunctionType):
                seen.add(id(part))
                queue.append(part)


_LOOKED_AT: Final = 2000


def too_large(how: str, size: int) -> str:
    return f"it is too large to travel with code ({size / LIMIT:,.1f} MiB {how}, the limit is 1 MiB)"


def reduced_of(obj: Any) -> tuple[Any, tuple[Any, ...], Any, list[Any], list[tuple[Any, Any]]]:
    """(call, arguments, state, items, pairs) of an object."""
    if isinstance(obj, BaseException):  # its own way calls __init__, which may want other arguments than `args`
        return copyreg.__newobj__, (type(obj), *obj.args), dict(vars(obj)) or None, [], []  # type: ignore[attr-defined]
    try:
        registered = copyreg.dispatch_table.get(type(obj))
        reduced: Any = obj.__reduce_ex__(4) if registered is None else registered(obj)
    except Exception as error:  # a reducer is any code; whatever it raises, the object does not travel
        raise Left(f"it cannot be stored: {error}") from error
    if isinstance(reduced, str) or len(reduced) > 5:
        raise Left(f"it cannot be stored: a {type(obj).__qualname__} is pickled by name only")
    whole: list[Any] = [*reduced, None, None, None]
    call, arguments, state, items, pairs = whole[:5]
    return call, arguments, state, list(items or ()), list(pairs or ())


def is_plain(obj: Any, refer: Refer, seen: set[int], count: list[int]) -> bool:
    """Whether a container is a tree of plain values; refuses it as soon as it must be too large."""
    count[0] += len(obj)
    if count[0] > LIMIT // 2:
        raise Left(too_large("at least", count[0]))
    if id(obj) in seen and type(obj) not in FIXED:
        return False  # shared or cyclic: taken by parts, which keeps that
    seen.add(id(obj))
    for item in (*obj, *obj.values()) if isinstance(obj, dict) else obj:
        kind = type(item)
        if kind in ATOMS:
            count[0] += len(item) if kind is str or kind is bytes else 0
        elif kind in CONTAINERS:
            if not is_plain(item, refer, seen, count):
                return False
        elif (
            isinstance(item, type | FunctionType | ModuleType | Absent | io.IOBase)
            or kind in BY_PARTS
            or not is_installed(kind.__module__)
            or refer(item) is not None
        ):
            return False
        else:
            count[0] += weight(item)
    return True


def ordered(obj: Any) -> list[Any]:
    """The items, those of a set in an order that does not depend on hashes."""
    if not isinstance(obj, set | frozenset):
        return list(obj)
    return sorted(obj, key=lambda item: (type(item).__name__, getattr(item, "__qualname__", ""), ascii(item)))


def holds_code(data: bytes) -> bool:
    """Whether a pickle holds functions or classes by value, which cloudpickle writes as bytecode of this Python."""
    return b"cloudpickle" in data and any(
        name in data for name in (b"_make_function", b"_make_skeleton", b"_builtin_type")
    )
