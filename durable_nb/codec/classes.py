"""Tags for values of named classes: Enum, namedtuple, dataclass, pydantic model, numpy scalar.

Reading one imports its class, so these tags live under the codec "classes", which is read from trusted logs only.
A class that "module:qualname" does not find again (of a notebook cell, of a function body) is left to cloudpickle.
"""

import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, Flag
from types import MemberDescriptorType
from typing import Any, Final

from durable_nb.codec.plain import KEY
from durable_nb.errors import Corrupt, UnknownCode, Untrusted

Inner = Callable[[Any], Any]
Node = dict[str, Any]

_HERE_ONLY: Final = frozenset({"__main__", "__mp_main__"})
_NUMBERS: Final = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "longlong", "ulonglong"}
    | {"intc", "uintc", "float16", "float32", "float64", "complex64", "complex128"}
)
_TEXTS: Final = frozenset({"str_", "bytes_"})
_TIMES: Final = {"datetime64": "M8", "timedelta64": "m8"}


def name_of(cls: type) -> str | None:
    """The "module:qualname" under which any process can import this very class, else None."""
    module = sys.modules.get(cls.__module__)
    if module is None and "<locals>" not in cls.__qualname__ and restored(cls.__module__, cls.__qualname__) is cls:
        return f"{cls.__module__}:{cls.__qualname__}"  # as where it comes from, or its digest would be another one
    if module is None or cls.__module__ in _HERE_ONLY or getattr(module, "__spec__", None) is None:
        return None
    found: object = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return f"{cls.__module__}:{cls.__qualname__}" if found is cls else None


def restored(module: str, qualname: str) -> type | None:
    """A class of a module that is not imported here, where code restored from a log has brought it along."""
    return None if module in sys.modules or module in _HERE_ONLY else restored_class(module, qualname)


def _never(module: str, qualname: str) -> type | None:
    return None


restored_class: Callable[[str, str], type | None] = _never  # filled by the room of flows, which restores classes


def class_named(name: str) -> Any:
    """The class written as `name`; UnknownCode when there is none today."""
    module, _, qualname = name.partition(":")
    found: Any = restored(module, qualname)
    if found is not None:
        return found
    with wanted(module, qualname):
        found = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
        if not isinstance(found, type):
            raise TypeError(f"it is {found!r}")
    return found


@contextmanager
def wanted(module: str, qualname: str) -> Iterator[None]:
    """A value names this class or function, which is looked for here: where nobody knows it, the value is not broken."""
    try:
        yield
    except (MemoryError, UnknownCode, Untrusted):
        raise
    except Corrupt as error:  # its source is not to be had; the sentence says so
        raise UnknownCode(str(error)) from error
    except Exception as error:  # to import a module is to run any code
        why = f"{type(error).__name__}: {error}"
        raise UnknownCode(
            f"`{qualname}` of {module} is not known here; run its cell or import its module ({why})"
        ) from error


def write(value: Any, inner: Inner) -> Node | None:
    """The tag of a value of one of these kinds, its parts written by `inner`; None for any other value."""
    cls = type(value)  # not isinstance: a mock with a spec claims to be what it is not
    if issubclass(cls, Enum):
        return _write_enum(value)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _write_namedtuple(value, inner)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, numpy.generic):
        return _write_numpy(value, inner, numpy)
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return _write_pydantic(value, inner, pydantic)
    if dataclasses.is_dataclass(cls):
        return _write_dataclass(value, inner)
    return None


def _reduces_as_object(cls: Any) -> bool:
    return cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__


# Enum


def _write_enum(value: Enum) -> Node | None:
    cls = type(value)
    name = name_of(cls)
    if name is None:
        return None
    if isinstance(value, Flag):  # A|B has no name of its own
        flag = value.value
        return {KEY: "flag", "c": name, "v": flag} if type(flag) is int and -(2**63) <= flag < 2**63 else None
    return {KEY: "enum", "c": name, "v": value.name} if cls.__members__.get(value.name) is value else None


def _read_enum(node: Node, inner: Inner) -> Any:
    return _checked(class_named(node["c"]), Enum)[node["v"]]


def _read_flag(node: Node, inner: Inner) -> Any:
    return _checked(class_named(node["c"]), Flag)(node["v"])


def _checked(cls: Any, kind: type) -> Any:
    if not issubclass(cls, kind):
        raise TypeError(f"{cls.__module__}.{cls.__qualname__} is not a class of the kind {kind.__name__} any more")
    return cls


# namedtuple


def _write_namedtuple(value: Any, inner: Inner) -> Node | None:
    cls = type(value)
    name = name_of(cls)
    if (
        name is None
        or getattr(value, "__dict__", None)
        or not _reduces_as_object(cls)
        or len(cls._fields) != len(value)
    ):
        return None
    return {KEY: "namedtuple", "c": name, "v": list(map(inner, tuple.__iter__(value)))}


def _read_namedtuple(node: Node, inner: Inner) -> Any:
    cls = _checked(class_named(node["c"]), tuple)
    if len(cls._fields) != len(node["v"]):
        raise TypeError(
            f"{cls.__qualname__} had {len(node['v'])} fields when it was stored and has {len(cls._fields)} now"
        )
    return tuple.__new__(cls, map(inner, node["v"]))


# dataclass

_GETSTATES: Final = (object.__getstate__, getattr(dataclasses, "_dataclass_getstate", None))
_SETSTATES: Final = (None, getattr(dataclasses, "_dataclass_setstate", None))


def _write_dataclass(value: Any, inner: Inner) -> Node | None:
    cls = type(value)
    name = name_of(cls)
    if name is None or not _is_plain_class(cls):
        return None
    try:
        value.__reduce_ex__(2)  # object's own check that no state hides in C
    except (TypeError, AttributeError):
        return None
    state = object.__getstate__(value)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    return {KEY: "dataclass", "c": name, "v": inner({**(attributes or {}), **(slots or {})})}


def _is_plain_class(cls: Any) -> bool:
    return (
        _reduces_as_object(cls)
        and cls.__new__ is object.__new__
        and cls.__getstate__ in _GETSTATES
        and getattr(cls, "__setstate__", None) in _SETSTATES
        and not hasattr(cls, "__getnewargs__")
        and not hasattr(cls, "__getnewargs_ex__")
    )


def _read_dataclass(node: Node, inner: Inner) -> Any:
    """The attributes as they were: __init__ could refuse, compute or have effects, so it is not run."""
    cls = class_named(node["c"])
    if not hasattr(cls, "__dataclass_fields__"):
        raise TypeError(f"{node['c']} is not a dataclass any more")
    value = object.__new__(cls)
    for name, item in inner(node["v"]).items():
        if isinstance(getattr(cls, name, None), MemberDescriptorType):
            object.__setattr__(value, name, item)
        else:
            vars(value)[name] = item
    return value


# pydantic

_PARTS: Final = {"extra": "__pydantic_extra__", "private": "__pydantic_private__"}


def _write_pydantic(value: Any, inner: Inner, pydantic: Any) -> Node | None:
    cls: Any = type(value)
    name = name_of(cls)
    own = (pydantic.BaseModel, pydantic.RootModel)
    if name is None or not _reduces_as_object(cls):
        return None
    if not any(cls.__getstate__ is k.__getstate__ and cls.__setstate__ is k.__setstate__ for k in own):
        return None
    state = value.__getstate__()
    node = {KEY: "pydantic", "c": name, "v": inner(state["__dict__"])}
    node["set"] = sorted(state["__pydantic_fields_set__"])
    for short, long in _PARTS.items():
        if state.get(long) is not None:
            node[short] = inner(state[long])
    return node


def _read_pydantic(node: Node, inner: Inner) -> Any:
    import pydantic  # noqa: PLC0415 - 100 ms, and only a log that holds a model needs it

    cls = _checked(class_named(node["c"]), pydantic.BaseModel)
    state = {long: inner(node[short]) if short in node else None for short, long in _PARTS.items()}
    state |= {"__dict__": inner(node["v"]), "__pydantic_fields_set__": set(node["set"])}
    value = cls.__new__(cls)
    value.__setstate__(state)
    return value


# numpy


def _write_numpy(value: Any, inner: Inner, numpy: Any) -> Node | None:
    kind: Any = type(value)
    name = "bool" if kind is numpy.bool_ else kind.__name__
    if name != "bool" and getattr(numpy, name, None) is not kind:
        return None
    if name in _NUMBERS:
        return {KEY: "numpy", "t": name, "v": inner(value.item())}
    if name in _TEXTS:  # item() would drop a trailing NUL
        return {KEY: "numpy", "t": name, "v": inner(_untyped(value))}
    if name in _TIMES:
        unit, step = numpy.datetime_data(value.dtype)
        written = "" if unit == "generic" else f"[{step}{unit}]"
        return {KEY: "numpy", "t": _TIMES[name] + written, "v": int(value.view("i8"))}
    return None


def _untyped(text: Any) -> str | bytes:
    base = str if isinstance(text, str) else bytes
    return base.__getitem__(text, slice(None))


def _read_numpy(node: Node, inner: Inner) -> Any:
    import numpy  # noqa: PLC0415 - 80 ms, and only a log that holds numpy values needs it

    name, value = node["t"], inner(node["v"])
    if name == "bool":
        return numpy.bool_(value)
    if name in _NUMBERS or name in _TEXTS:
        return getattr(numpy, name)(value)
    return numpy.int64(value).view(numpy.dtype(name))


READERS: Final[dict[str, Callable[[Node, Inner], Any]]] = {
    "enum": _read_enum,
    "flag": _read_flag,
    "namedtuple": _read_namedtuple,
    "dataclass": _read_dataclass,
    "pydantic": _read_pydantic,
    "numpy": _read_numpy,
}
