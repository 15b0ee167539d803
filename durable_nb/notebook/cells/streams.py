"""Canonical pickle streams: the same bytes for equal values, whatever parts of them happen to be one object.

Plain pickle depends on that: of 207 everyday objects 96 pickle differently after one round trip. So the memo is off,
and what is not canonical by itself (sets, arrays, tables, functions, classes) is written as its token. Values that
hold themselves need the memo; there every text is the one of its kind, because those are what a round trip changes.
"""

import pickle
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from durable_nb.notebook.cells.hashing import hashed, new_hash

Rule = Callable[[Any], bytes | None]
Rules = dict[type, Rule | None]

_PROTOCOL: Final = 5
_MOST_PARTS: Final = 3_000_000
"""Most containers without memo: a few lists in lists can be more parts than there are atoms in the world."""
_LONGEST: Final = 16 * 1024 * 1024 * 1024
_SHORT: Final = 64
PLAIN: Final[frozenset[type]] = frozenset({int, str, float, bool, bytes, type(None), complex})


class TooLong(Exception):
    """The stream of the value does not come to an end."""


class _Sink:
    """Hashes what is written to it."""

    __slots__ = ("first", "hashing", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.hashing = new_hash()
        self.limit = limit
        self.size = 0
        self.first: list[bytes] | None = []  # as long as it is short

    def write(self, data: Any) -> int:
        length = len(data)
        self.size += length
        if self.size > self.limit:
            raise TooLong
        self.hashing.update(data)
        if self.first is not None:
            self.first = [*self.first, bytes(data)] if self.size <= _SHORT else None
        return length

    def token(self, letter: bytes) -> bytes:
        """At most 65 bytes."""
        return letter + (b"#" + self.hashing.digest() if self.first is None else b"".join(self.first))


class _Canonical(pickle.Pickler):
    """Asks the rules about every part."""

    def __init__(self, sink: _Sink, rules: Rules) -> None:
        super().__init__(sink, _PROTOCOL)
        self._rules = rules
        self._looked_up: dict[type, tuple[str, ...]] = {}
        self._parts = 0

    def persistent_id(self, obj: Any) -> Any:
        rule = self._rules[type(obj)]
        if rule is None:
            return None
        self._parts += 1
        if self._parts > _MOST_PARTS and self.fast:
            raise TooLong
        return rule(obj)

    def reducer_override(self, obj: Any) -> Any:
        """A cached property is computed by looking, and looking is no change."""
        kind = type(obj)
        if kind not in self._looked_up:
            self._looked_up[kind] = tuple(
                name for base in kind.__mro__ for name, part in vars(base).items() if isinstance(part, cached_property)
            )
        names = self._looked_up[kind]
        if not names or not names_in(obj, names):
            return NotImplemented
        reduced = obj.__reduce_ex__(_PROTOCOL)
        if not isinstance(reduced, tuple) or len(reduced) < 3 or type(reduced[2]) is not dict:
            return NotImplemented
        state = {name: part for name, part in reduced[2].items() if name not in names}
        return (*reduced[:2], state or None, *reduced[3:])


def names_in(obj: Any, names: tuple[str, ...]) -> bool:
    held = getattr(obj, "__dict__", None)
    return type(held) is dict and any(name in held for name in names)


class _Memoised(_Canonical):
    """For values that hold themselves: every text is replaced by the first equal one."""

    def __init__(self, sink: _Sink, rules: Rules) -> None:
        super().__init__(sink, rules)
        self._texts: dict[str, str] = {}

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) is str:
            return self._texts.setdefault(obj, obj)
        return super().persistent_id(obj)


def token(value: Any, rules: Rules) -> tuple[bytes, int]:
    """The token of a value, at most 65 bytes, and how many bytes were hashed. Raises what its reducers raise."""
    try:
        sink = _Sink(_LONGEST)
        pickler = _Canonical(sink, rules)
        pickler.fast = True
        pickler.dump(value)
        return sink.token(b"p"), sink.size
    except (TooLong, RecursionError):
        pass
    except ValueError as error:
        if "cyclic" not in str(error):
            raise
    sink = _Sink(_LONGEST)
    _Memoised(sink, rules).dump(value)
    return sink.token(b"m"), sink.size


def plain_token(value: Any) -> tuple[bytes, int]:
    """The token of a value that consists of numbers and texts alone; many times faster."""
    sink = _Sink(_LONGEST)
    pickler = pickle.Pickler(sink, _PROTOCOL)
    pickler.fast = True
    pickler.dump(value)
    return sink.token(b"q"), sink.size


def shortened(raw: bytes) -> bytes:
    """At most 65 bytes."""
    return raw if len(raw) <= _SHORT else b"#" + hashed(raw)
