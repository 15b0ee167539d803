"""All values of a cell as one pickle: what was one object is one object again, within the cell and with its inputs.

The head is the pickle. Large buffers (arrays, columns) lie beside it, as they are in memory: they are data and nothing
else, so nothing that somebody writes into them is ever executed. What can be reached in an input is a reference to it.
Functions of the notebook are the source of their cell. Whoever reads a head runs what it says: check its mark first.
"""

import copyreg
import functools
import io
import pickle
from collections.abc import Mapping, Sequence
from types import CellType, FunctionType
from typing import Any, Final, NamedTuple, NewType

from durable_nb.codec import frames, paths, pickles
from durable_nb.errors import Corrupt, UnknownCode, Untrusted
from durable_nb.notebook.cells import arrays, functions
from durable_nb.notebook.cells.reach import Path, follow, reach

_REFERENCES: Final = 5_000
_SCANNED: Final = 20_000
_SPACE: Final = (None, ())  # the reference to the namespace itself
Reference = tuple[str | None, Path]


class Packed(NamedTuple):
    """The values of a cell on their way into the log. The buffers are the values' own memory until they are put."""

    head: bytes
    buffers: Sequence[memoryview | bytearray]
    unstorable: Mapping[str, str]  # name -> path, type and advice; the other names are in the head
    references: frozenset[str]  # inputs that are referred to


def pack(values: Mapping[str, object], inputs: Mapping[str, object], namespace: dict[str, Any] | None = None) -> Packed:
    """The values by name; those that cannot be stored are named with the reason.

    `inputs` are the inputs that the cell has not changed. Functions whose globals are the namespace see the namespace
    of the day when they are restored.
    """
    known = _Known(inputs, {} if namespace is None else namespace)
    storable = dict(values)
    unstorable: dict[str, str] = {}
    while True:
        try:
            return _packed(storable, known, unstorable)
        except _Failed:
            pass  # which of them it was is asked one by one
        found = {name: reason for name, value in storable.items() if (reason := _reason(name, value, known))}
        if not found:  # each by itself can be stored: they were changed meanwhile, or are too deep together
            found = dict.fromkeys(storable, "it could not be stored together with the other names")
        unstorable |= found
        for name in found:
            del storable[name]


def unpack(
    head: bytes, buffers: Sequence[bytearray | memoryview], inputs: Mapping[str, object], namespace: dict[str, Any]
) -> dict[str, Any]:
    """The values by name. Corrupt or UnknownCode when they cannot be made again here.

    It runs whatever the head says: only for heads whose mark was checked.
    """
    try:
        reader = _Unpickler(io.BytesIO(pickles.without_python(head)), inputs, namespace, buffers)
        found: dict[str, Any] = reader.load()
    except (MemoryError, Corrupt, UnknownCode, Untrusted):
        raise
    except Exception as error:  # classes and reducers of users run here
        raise Corrupt(f"values of a cell cannot be read: {type(error).__name__}: {error}") from error
    return found


class _Failed(Exception):
    """The values as they are have no pickle."""


class _Known:
    """What the pickler is told of the inputs and the namespace."""

    def __init__(self, inputs: Mapping[str, object], space: dict[str, Any]) -> None:
        self.space = space
        self.inputs = list(reach(inputs, _REFERENCES))
        self.references: dict[int, Reference] = {id(part): (name, path) for name, path, part in self.inputs}
        self.references[id(space)] = _SPACE
        self.arrays = [part for _, _, part in self.inputs if arrays.is_array(part)]

    def views(self, values: Mapping[str, object]) -> dict[int, arrays.View]:
        stored = [part for _, _, part in reach(values, _SCANNED) if arrays.is_array(part)]
        return arrays.views_among(stored, self.arrays) if stored else {}


def _packed(values: dict[str, object], known: _Known, unstorable: dict[str, str]) -> Packed:
    buffers: list[memoryview] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        view = memoryview(buffer)
        if view.nbytes < pickles.OUT_OF_BAND:
            return True
        buffers.append(pickles.in_rows(view))
        return False

    pickler = _pickler_class()(file := io.BytesIO(), is_small, known, known.views(values))
    try:
        pickler.dump(values)
    except MemoryError:
        raise
    except Exception as error:  # a reducer is any code; whatever it raises, these have no pickle
        raise _Failed from error
    head = file.getvalue()
    if pickler.has_bytecode:
        head = pickles.with_python(head)
    return Packed(head, buffers, unstorable, frozenset(name for name, _ in pickler.referred if name is not None))


def _reason(name: str, value: object, known: _Known) -> str | None:
    """Why the value cannot be stored, None when it can."""
    pickler = _pickler_class()(io.BytesIO(), lambda buffer: False, known, known.views({name: value}))
    try:
        pickler.dump(value)
    except pickles.Refused as refusal:
        found, advice = refusal.found, refusal.advice
    except RecursionError:
        return f"{name} is nested too deeply"
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a reducer is any code; whatever it raises, the value has no pickle
        if isinstance(error.__cause__ or error.__context__, RecursionError):
            return f"{name} is nested too deeply"
        found, advice = pickler.latest, str(error)
    else:
        return None
    return f"{paths.place_of(value, found, name)} ({advice.rstrip('.')})"


class _Unpickler(pickles.Unpickler):
    def __init__(
        self, file: io.BytesIO, inputs: Mapping[str, object], space: dict[str, Any], buffers: Sequence[Any]
    ) -> None:
        super().__init__(file, buffers=buffers)
        self._inputs = inputs
        self._space = space

    def persistent_load(self, reference: Reference) -> Any:
        name, path = reference
        if name is None:
            return self._space
        if name not in self._inputs:
            raise Corrupt(f"values of a cell belong to its input `{name}`, which is not there")
        return follow(self._inputs[name], path)


@functools.cache
def _pickler_class() -> Any:
    base = pickles.pickler_class()

    class Pickler(base):  # type: ignore[misc, valid-type]
        """Adds what holds the objects of a notebook together."""

        def __init__(self, file: io.BytesIO, callback: Any, known: _Known, views: dict[int, arrays.View]) -> None:
            super().__init__(file, callback)
            self._space = known.space
            self._references = known.references
            self._views = views
            self._bare: set[int] = set()  # made without their content, which somebody else brings
            self._texts: dict[str, str] = {}
            self.referred: set[Reference] = set()

        def persistent_id(self, obj: Any) -> Reference | None:
            reference = self._references.get(id(obj))
            if reference is not None:
                self.referred.add(reference)
            return reference

        def reducer_override(self, obj: Any) -> Any:
            self.latest = obj
            if arrays.is_array(obj):
                return self._array(obj)
            kind = type(obj)
            if kind is FunctionType and obj.__globals__ is self._space:
                return self._function(obj)
            if kind is CellType:
                return self._cell(obj)
            if kind is pickles.LRU_CACHE and type(obj.__wrapped__) is FunctionType:
                return self._cache(obj)
            if kind in _REDUCERS:
                return _REDUCERS[kind](obj)
            reduced = super().reducer_override(obj)
            if reduced is NotImplemented and kind not in self.dispatch_table:
                return self._own(obj)
            return reduced

        def _array(self, array: Any) -> Any:
            view = self._views.get(id(array))
            if view is not None:
                return arrays.make_view, tuple(view)
            dtype, flags = array.dtype, array.flags
            if dtype.hasobject or array.nbytes < pickles.OUT_OF_BAND:
                return NotImplemented
            octets = frames.octets(array)
            data = pickle.PickleBuffer(octets if flags.writeable else octets.toreadonly())
            is_fortran = flags.f_contiguous and not flags.c_contiguous
            return arrays.make_array, (data, dtype, array.shape, is_fortran)

        def _function(self, function: FunctionType) -> Any:
            for cell in function.__closure__ or ():
                self._bare.add(id(cell))
            where = functions.written(function)
            cells = function.__closure__
            if where is None:
                made: tuple[Any, ...] = (functions.make_from_code, (self._space, function.__code__, cells))
            else:
                text = self._texts.setdefault(where.text, where.text)  # once for all functions of the cell
                made = (functions.make_function, (self._space, (text, *where[1:]), cells))
            if id(function) in self._bare:
                return made
            return *made, functions.state_of(function), None, None, functions.fill_function

        def _cell(self, cell: CellType) -> Any:
            """A cell gets its content from the functions that have it; from itself when it is met alone."""
            try:
                content = cell.cell_contents
            except ValueError:
                return functions.make_cell, ()
            if id(cell) in self._bare:
                return functions.make_cell, ()
            return functions.make_cell, (), content, None, None, functions.fill_cell

        def _cache(self, cached: Any) -> Any:
            """A cached function brings the state of what it wraps: that may well lead back to the cached function."""
            function = cached.__wrapped__
            parameters = (function, cached.cache_parameters())
            if function.__globals__ is not self._space:
                return super().reducer_override(cached)
            self._bare.add(id(function))
            made_by_itself = ("__wrapped__", "cache_parameters")
            attributes = {name: value for name, value in vars(cached).items() if name not in made_by_itself}
            state = functions.state_of(function), attributes
            return make_cached, parameters, state, None, None, fill_cached

        def _own(self, obj: Any) -> Any:
            """What an object says of itself, unless that is a name that only this notebook has."""
            kind: Any = type(obj)
            if isinstance(obj, BaseException):
                # Its own way calls __init__, which may want other arguments than `args`.
                if kind.__reduce__ is _EXCEPTION.__reduce__ and isinstance(kind.__init__, FunctionType):
                    return _new, (kind, *obj.args), dict(vars(obj)) or None
                return NotImplemented
            is_silent = kind.__reduce_ex__ is _OBJECT.__reduce_ex__ and kind.__reduce__ is _OBJECT.__reduce__
            if is_silent or getattr(obj, "__module__", None) != self._space.get("__name__", "__main__"):
                return NotImplemented
            reduced = obj.__reduce_ex__(5)
            if isinstance(reduced, str):
                raise pickles.Refused(obj, f"it is stored as the name {reduced!r}, which only this notebook has")
            return reduced

    return Pickler


_EXCEPTION: Final[Any] = BaseException
_OBJECT: Final[Any] = object
_new: Final[Any] = copyreg.__newobj__  # type: ignore[attr-defined]


def make_cached(function: Any, parameters: dict[str, Any]) -> Any:
    """Never renamed: logs name it."""
    return functools.lru_cache(**parameters)(function)


def fill_cached(cached: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Never renamed: logs name it."""
    functions.fill_function(cached.__wrapped__, state[0])
    vars(cached).update(state[1])


def _reduce_property(cached: Any) -> Any:
    """Its lock, which it has in Python 3.11, is its own affair."""
    return functools.cached_property, (cached.func,), {"attrname": cached.attrname}


def _reduce_new_type(made: Any) -> Any:
    return NewType, (made.__name__, made.__supertype__), {"__module__": made.__module__}


_REDUCERS: Final[dict[type, Any]] = {functools.cached_property: _reduce_property, NewType: _reduce_new_type}
