"""Which names share something mutable, so that they are stored, and bound again, together.

The walk stops at modules, installed classes and everything that cannot change; it goes through tuples. Of arrays the
owner of the memory counts. Tables of pandas share memory without showing it (copy on write), but not with arrays.
"""

import gc
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from logging import Logger
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple
from uuid import UUID
from weakref import ref

from durable_nb.flows.source.packages import is_installed
from durable_nb.notebook.cells.inputs import is_a_result, is_the_shells

_ATOMS: Final = frozenset({int, float, str, bytes, bool, complex, type(None), object, range, slice, re.Pattern})
_FIXED: Final = (
    date,
    time,
    timedelta,
    tzinfo,
    Decimal,
    Enum,
    Fraction,
    PurePath,
    UUID,
    Logger,
    ref,
    CodeType,
    ModuleType,
    BuiltinFunctionType,
)
_FOREIGN: Final = frozenset({"IPython", "ipykernel", "typing", "pyarrow", "traitlets", "zmq"})
_THROUGH: Final = frozenset({tuple, frozenset, MethodType})
_MOST: Final = 2_000_000


class _Reach(NamedTuple):
    """What can be changed through a value: objects, the memory of arrays, that of tables, and classes of instances."""

    objects: set[int]
    memory: set[int]
    tables: set[int]
    classes: set[int]

    def shares(self, other: "_Reach") -> bool:
        """Whether a change through `other` can be seen here."""
        return not (
            self.objects.isdisjoint(other.objects)
            and self.classes.isdisjoint(other.objects)
            and self.memory.isdisjoint(other.memory | other.tables)
            and self.tables.isdisjoint(other.memory)
        )

    def add(self, other: "_Reach") -> None:
        self.objects.update(other.objects)
        self.memory.update(other.memory)
        self.tables.update(other.tables)


def partners_of(changed: Iterable[Any], namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """The names through which a change of these objects can be seen, directly or through other such names."""
    whole = _Reach(set(), set(), set(), set())
    for value in changed:
        whole.add(_reach(value, namespace))
    waiting = {
        name: _reach(value, namespace)
        for name, value in namespace.items()
        if not is_the_shells(name) and not is_a_result(name) and not _is_fixed(value)
    }
    found: dict[str, None] = {}
    while met := [name for name, reach in waiting.items() if reach.shares(whole)]:
        for name in met:
            found[name] = None
            whole.add(waiting.pop(name))
    return tuple(name for name in namespace if name in found)


def _reach(value: Any, namespace: Mapping[str, Any]) -> _Reach:
    reach = _Reach(set(), set(), set(), set())
    seen = {id(namespace)}
    queue: list[Any] = [value]
    while queue and len(seen) < _MOST:
        obj = queue.pop()
        if id(obj) in seen or _is_fixed(obj):
            continue
        seen.add(id(obj))
        queue.extend(_parts(obj, reach))
    return reach


def _parts(obj: Any, reach: _Reach) -> Iterable[Any]:
    """What an object leads to; notes what of it can be changed."""
    kind = type(obj)
    if kind in _THROUGH:
        return gc.get_referents(obj)
    table = _arrays_of(obj)
    if table is not None:
        reach.objects.add(id(obj))
        parts: list[Any] = [obj.attrs]
        for array in table:
            reach.tables.add(_owner(array))
            parts.extend(_items(array))
        return parts
    if _is_array(obj):
        reach.memory.add(_owner(obj))
        return _items(obj)
    if isinstance(obj, FunctionType):
        if vars(obj):
            reach.objects.add(id(obj))
        return [obj.__closure__, obj.__defaults__, obj.__kwdefaults__, *([vars(obj)] if vars(obj) else [])]
    reach.objects.add(id(obj))
    if isinstance(obj, type):
        return list(vars(obj).values())
    if not isinstance(obj, CellType) and not is_installed(kind.__module__):
        reach.classes.add(id(kind))
    return [part for part in gc.get_referents(obj) if part is not kind]


def _is_fixed(obj: Any) -> bool:
    kind = type(obj)
    if kind in _ATOMS or isinstance(obj, _FIXED):
        return True
    if isinstance(obj, type):
        return is_installed(obj.__module__)
    if isinstance(obj, FunctionType):
        return is_installed(str(obj.__globals__.get("__name__"))) and not obj.__closure__
    package = kind.__module__.partition(".")[0]
    if package in _FOREIGN:
        return True
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if package == "numpy" and numpy is not None:
        return isinstance(obj, numpy.dtype | numpy.generic | numpy.ufunc)
    if package == "pandas" and pandas is not None:
        return isinstance(obj, pandas.Index | pandas.api.extensions.ExtensionDtype)
    return False


def _is_array(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, numpy.ndarray)


def _arrays_of(obj: Any) -> list[Any] | None:
    """The arrays of a table of pandas, where tables hide what they share; None for all else."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(obj, pandas.DataFrame | pandas.Series):
        return None
    return [getattr(array, "_ndarray", array) for array in obj._mgr.arrays]


def _items(array: Any) -> Iterable[Any]:
    if not _is_array(array):
        return [array]
    return array.ravel().tolist() if array.dtype.hasobject and not array.dtype.fields else ()


def _owner(array: Any) -> int:
    """The id of what the memory belongs to."""
    while _is_array(array) and array.base is not None:
        array = array.base
    return id(array)
