"""Structural digests: equal values have equal digests, in every process and under every hash seed.

A digest is built from the value itself, never from pickle bytes, which depend on which parts happen to be one object
(96 of 207 everyday objects pickle differently after one round trip). Every part becomes a token: a letter for its kind
and its contents, or the hash of that when it is long; a container holds the tokens of its parts. Where a value cannot
be known (functions, cycles, whatever has no reduced form) there is no digest, and nothing is concluded from that.
"""

import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from hashlib import blake2b
from math import isfinite
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, Final
from uuid import UUID

from durable_nb.codec import classes, digest_frames, tags
from durable_nb.codec.digest_frames import Hashing, Unknown
from durable_nb.codec.plain import dumps

_SHORT: Final = 64
_CODE: Final = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, GeneratorType)
_QUICK: Final = frozenset({int, str, bool, type(None)})
_NAN: Final = struct.pack(">d", float("nan"))


def digest(value: object) -> str | None:
    """32 hex digits, None when the value has no digest; 1, True and 1.0 differ, the order of a dict does not count."""
    try:
        return digest_bytes(_Walk().token(value))
    except (Unknown, RecursionError):
        return None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - reducers and properties of users run here, threads may change the value meanwhile
        return None


def digest_bytes(data: bytes | memoryview) -> str:
    """32 hex digits for these bytes."""
    return blake2b(data, digest_size=16).hexdigest()


class _Walk:
    """One walk over one value; knows the objects it is inside of."""

    def __init__(self) -> None:
        self._inside: set[int] = set()

    def token(self, value: Any) -> bytes:
        """The kind and the contents of the value, at most 65 bytes."""
        kind = type(value)
        simple = _SIMPLE.get(kind)
        if simple is not None:
            return _shortened(simple(value))
        if id(value) in self._inside:
            raise Unknown
        self._inside.add(id(value))
        raw = self._raw(kind, value)
        self._inside.discard(id(value))
        return _shortened(raw)

    def shortened(self, raw: bytes) -> bytes:
        return _shortened(raw)

    def hashing(self) -> Hashing:
        return blake2b(digest_size=32)

    def remembered(self, fixed: Any, make: Callable[[], bytes]) -> bytes:
        return make()

    def sequence(self, letter: bytes, items: Iterable[Any]) -> bytes:
        return letter + _framed(map(self.token, items))

    def _raw(self, kind: type, value: Any) -> bytes:
        if kind is list or kind is tuple:
            return self._list(b"L" if kind is list else b"t", value)
        if kind is dict:
            return self._mapping(b"D", value)
        if kind is set or kind is frozenset:
            return (b"S" if kind is set else b"z") + _framed(sorted(map(self.token, value)))
        return (
            _tagged(kind, value)
            or digest_frames.raw(value, self)
            or self._collection(kind, value)
            or self._named(value)
            or self._reduced(value)
        )

    def _list(self, letter: bytes, items: Any) -> bytes:
        kinds = set(map(type, items))
        if kinds <= _QUICK:
            try:
                return letter + b"j" + dumps(items)  # C speed for a million numbers or words
            except (UnicodeEncodeError, ValueError):  # lone surrogates, huge integers
                pass
        elif kinds == {float} and all(map(isfinite, items)):
            return letter + b"d" + struct.pack(f">{len(items)}d", *items)
        return self.sequence(letter + b"i", items)

    def _mapping(self, letter: bytes, items: Any) -> bytes:
        return letter + _framed(sorted(self.token(key) + b"=" + self.token(item) for key, item in items.items()))

    def _collection(self, kind: type, value: Any) -> bytes | None:
        if kind is slice:
            return self.sequence(b"l", (value.start, value.stop, value.step))
        if kind is OrderedDict:  # whose order counts when two are compared
            return self.sequence(b"o", (part for pair in value.items() for part in pair))
        if kind is Counter:
            return self._mapping(b"k", value)
        if kind is deque:
            return self.sequence(b"q", (value.maxlen, *value))
        if kind is defaultdict:
            return b"f" + _framed([self.token(value.default_factory), self._mapping(b"", value)])
        return None

    def _named(self, value: Any) -> bytes | None:
        if isinstance(value, type):
            name = classes.name_of(value)
            if name is None:  # a class of a notebook: its code can change under the same name
                raise Unknown
            return b"C" + name.encode()
        if isinstance(value, Enum):
            return b"E" + _framed([_class_name(type(value)), self.token(value.value)])
        if isinstance(value, _CODE) or type(value).__module__.partition(".")[0] == "polars":
            raise Unknown
        return None

    def _reduced(self, value: Any) -> bytes:
        """Class and state, as the value itself gives them to copy and pickle."""
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return b"G" + f"{type(value).__module__}:{reduced}".encode()
        function, arguments, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        if getattr(function, "__name__", "") in {"__newobj__", "__newobj_ex__"}:
            cls, *arguments = arguments
            parts = [_class_name(cls)]
        else:
            parts = [_class_name(function)]
        parts.append(self.sequence(b"", arguments))
        parts.append(self._state(type(value), state))
        parts.append(self.sequence(b"", items or ()))
        parts.append(_framed(sorted(self.token(key) + b"=" + self.token(item) for key, item in pairs or ())))
        return b"R" + _framed(parts)

    def _state(self, cls: type, state: Any) -> bytes:
        if type(state) is tuple and len(state) == 2 and isinstance(state[1], dict):
            state = {**(state[0] or {}), **state[1]}
        if type(state) is not dict:
            return self.token(state)
        # A cached property is computed by looking, and looking is no change.
        kept = {k: v for k, v in state.items() if not isinstance(_plain_attribute(cls, k), cached_property)}
        return self._mapping(b"", kept)


def _plain_attribute(cls: type, name: Any) -> object:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _class_name(named: Any) -> bytes:
    return f"{named.__module__}:{named.__qualname__}".encode()


def _framed(tokens: Iterable[bytes]) -> bytes:
    """Tokens one after another, each with its length, so that no two lists give the same bytes."""
    parts: list[bytes] = []
    for token in tokens:
        parts.append(b"%d:" % len(token))
        parts.append(token)
    return b"".join(parts)


def _shortened(raw: bytes) -> bytes:
    return raw if len(raw) <= _SHORT else b"#" + blake2b(raw, digest_size=32).digest()


def _float(value: float) -> bytes:
    return struct.pack(">d", value) if value == value else _NAN


def _tagged(kind: type, value: Any) -> bytes | None:
    if kind not in _TAGGED:
        return None
    try:
        return b"J" + tags.encode(value)[0]
    except tags.NotTaggable:  # a time zone of another library
        return None


_TAGGED: Final = frozenset(
    {datetime, date, time, timedelta, Decimal, UUID, range, PosixPath, PurePosixPath, PureWindowsPath, WindowsPath}
)
_SIMPLE: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x" % value if value >= 0 else b"i-%x" % -value,
    float: lambda value: b"g" + _float(value),
    complex: lambda value: b"c" + _float(value.real) + _float(value.imag),
    str: lambda value: b"s" + value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: b"b" + value,
    bytearray: lambda value: b"B" + value,
}
