"""Importable classes and values that the tests of this room share, and what "the same value" means."""

import dataclasses
import enum
import functools
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy
import pandas
import pydantic


class Color(enum.Enum):
    RED = "r"
    ALSO_RED = "r"  # noqa: PIE796 - an alias is restored as the member it names


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Order:
    id: str
    lines: Any
    given: dataclasses.InitVar[int] = 0
    total: int = dataclasses.field(init=False, default=0)

    def __post_init__(self, given: int) -> None:
        self.total += 1 + given


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: Any

    @functools.cached_property
    def twice(self) -> Any:
        return self.value * 2


@dataclasses.dataclass(slots=True)
class Slotted:
    value: Any
    unset: Any = dataclasses.field(init=False)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlotted:
    value: Any


@dataclasses.dataclass
class WithState:
    """A dataclass with its own idea of its state must not be taken by its attributes."""

    value: int

    def __getstate__(self) -> dict[str, int]:
        return {"kept": self.value}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.value = state["kept"]


class User(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    age: int = 3
    secret: str = pydantic.Field(default="hidden", repr=False)
    _private: int = pydantic.PrivateAttr(default=1)


class Tags(pydantic.RootModel[list[str]]):
    pass


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and same(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]


class GoodError(Exception):
    pass


class BadError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


def _twisted_user() -> User:
    user = User(name="a", more=(1, 2))
    user._private = 5
    return user


BERLIN = ZoneInfo("Europe/Berlin")

SAFE_VALUES: dict[str, Any] = {
    "none": None,
    "int": -7,
    "large int": 2**64 - 1,
    "huge int": -(10**6000),
    "float": 1e300,
    "minus zero": -0.0,
    "nan": float("nan"),
    "inf": [float("inf"), -float("inf")],
    "text": "é\u2028\x7f\U0001f600",
    "nul": "a\0b",
    "nul in a list": ["a\0b", {"\0": 1}],
    "the words of an escaped nul": "\\u0000",
    "lone surrogate": "\ud83d x \udc80 \\ud800 é",
    "surrogate pair apart": "\ud83d\ude00",
    "list": [1, [2, []], {}],
    "dict in order": {"b": 1, "a": {"c": None}},
    "dict with the tag key": {"$": "datetime", "v": "never"},
    "dict of other keys": {1: "a", (2, 3): "b", None: {b"x": ()}, True and "t": 1},
    "int and text keys": {1: "a", "1": "b"},
    "tuple": (1, (2,), ()),
    "set": {3, 1, 2},
    "mixed set": {1, "1", (1,), None},
    "frozenset": frozenset({"a", frozenset()}),
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "complex": complex(1, -0.0),
    "complex nan": complex(float("nan"), float("inf")),
    "range": range(10, 0, -3),
    "slice": slice(None, 3, "x"),
    "naive datetime": datetime(2026, 3, 1, 4, 5, 6, 7),
    "old datetime": datetime(1, 1, 1),
    "utc datetime": datetime(2026, 3, 1, tzinfo=UTC),
    "offset datetime": datetime(2026, 3, 1, tzinfo=timezone(-timedelta(hours=3, seconds=1, microseconds=5))),
    "named offset datetime": datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=1), "X\0")),
    "zone datetime": datetime(2026, 3, 1, tzinfo=BERLIN),
    "folded datetime": datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
    "date": date(2026, 2, 28),
    "time": time(1, 2, 3, 4, fold=1),
    "zone time": time(1, tzinfo=BERLIN),
    "timedelta": timedelta(days=-1, microseconds=1),
    "UUID": UUID(int=5),
    "Decimal": [
        Decimal("1.10"),
        Decimal("-0"),
        Decimal("NaN"),
        Decimal("-sNaN12"),
        Decimal("Infinity"),
        Decimal("1E+9"),
    ],
    "path": [PurePosixPath("/a/b"), PureWindowsPath("C:\\a"), PurePosixPath("a\udc80")],
    "OrderedDict": OrderedDict([("b", 1), ("a", 2)]),
    "Counter": Counter("abca"),
    "defaultdict": defaultdict(list, {1: [2]}),
    "defaultdict without": defaultdict(None, {"a": 1}),
    "deque": deque([1, (2,)], maxlen=5),
}

CLASS_VALUES: dict[str, Any] = {
    "Enum": [Color.RED, {Level.LOW: Word.YES}],
    "Flag": [Access.READ | Access.WRITE, Access(0)],
    "namedtuple": Point(1, Point((2,), float("nan"))),
    "dataclass": Order("a", [(1, 2)], given=4),
    "frozen dataclass": Frozen({1}),
    "slotted dataclass": Slotted(5),
    "frozen slotted dataclass": FrozenSlotted(Frozen(b"x")),
    "pydantic": [_twisted_user(), Tags(["a"])],
    "numpy numbers": [numpy.float64(1.5), numpy.float32("nan"), numpy.int8(-3), numpy.bool_(True), numpy.complex64(1j)],
    "numpy odd numbers": [numpy.longlong(5), numpy.uint64(2**64 - 1), numpy.float16(0.1)],
    "numpy text": [numpy.str_("a\0"), numpy.bytes_(b"a\0")],
    "numpy times": [
        numpy.datetime64("2026-03-01T00:00:01", "25s"),
        numpy.datetime64("NaT", "s"),
        numpy.timedelta64(5, "D"),
    ],
}

PICKLED_VALUES: dict[str, Any] = {
    "object": Plain([1, {2}]),
    "own state": WithState(3),
    "exception": GoodError("a", 1),
    "timestamp": pandas.Timestamp("2026-03-01", tz="UTC"),
    "defaultdict of a function": defaultdict(Plain, {1: 2}),
    "subclasses": [type("Text", (str,), {})("a")],
    "dict of frames": {"a": pandas.DataFrame({"x": [1, 2]})},
}


def same(one: Any, other: Any) -> bool:
    """Equal and of the same type in every part; NaN is NaN; the order of a dict counts, shared parts do not."""
    kind = type(one)
    if kind is not type(other):
        return False
    compare = _COMPARE.get(kind)
    if compare is not None:
        return compare(one, other)
    if isinstance(one, numpy.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and repr(one.tolist()) == repr(other.tolist())
    if isinstance(one, numpy.generic):
        return one.dtype == other.dtype and (one.tobytes() == other.tobytes() or bool(one != one and other != other))
    if isinstance(one, pandas.DataFrame | pandas.Series | pandas.Index):
        return one.equals(other)
    if isinstance(one, tuple):
        return all(map(same, one, other)) and len(one) == len(other)
    if dataclasses.is_dataclass(kind):
        return same(object.__getstate__(one), object.__getstate__(other))
    if isinstance(one, pydantic.BaseModel):
        return same(one.__getstate__(), other.__getstate__())
    if isinstance(one, BaseException):
        return same(one.args, other.args) and same(vars(one), vars(other))
    return bool(one == other)


def _same_float(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other and math.copysign(1, one) == math.copysign(1, other)


def _same_list(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(same, one, other))


def _same_dict(one: Any, other: Any) -> bool:
    return _same_list(list(one.items()), list(other.items()))


def _same_set(one: Any, other: Any) -> bool:
    left = list(other)
    for item in one:
        place = next((index for index, found in enumerate(left) if same(item, found)), None)
        if place is None:
            return False
        del left[place]
    return not left


def _same_moment(one: Any, other: Any) -> bool:
    zones = [moment.tzinfo for moment in (one, other)]
    bare = [moment.replace(tzinfo=None) for moment in (one, other)]
    return bare[0] == bare[1] and one.fold == other.fold and repr(zones[0]) == repr(zones[1])


_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    float: _same_float,
    complex: lambda one, other: _same_float(one.real, other.real) and _same_float(one.imag, other.imag),
    Decimal: lambda one, other: one.as_tuple() == other.as_tuple(),
    list: _same_list,
    tuple: _same_list,
    deque: lambda one, other: _same_list(one, other) and one.maxlen == other.maxlen,
    dict: _same_dict,
    OrderedDict: _same_dict,
    Counter: _same_dict,
    defaultdict: lambda one, other: _same_dict(one, other) and one.default_factory is other.default_factory,
    set: _same_set,
    frozenset: _same_set,
    datetime: _same_moment,
    time: _same_moment,
}
