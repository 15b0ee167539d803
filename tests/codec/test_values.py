"""What is stored comes back equal and of the same type."""

import importlib.resources
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PosixPath, PurePath, PurePosixPath, WindowsPath
from typing import Any
from unittest.mock import Mock
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from durable_nb.codec import values
from durable_nb.codec.values import SAFE, Encoded, decode, encode, plain_json, register
from durable_nb.errors import BadOption, Corrupt, Unstorable
from tests.codec.samples import (
    CLASS_VALUES,
    PICKLED_VALUES,
    SAFE_VALUES,
    Color,
    Frozen,
    Order,
    Plain,
    Point,
    User,
    same,
)


@pytest.mark.parametrize("name", SAFE_VALUES)
def test_value_of_the_standard_library_is_stored_as_safe_json(name: str) -> None:
    stored = encode(SAFE_VALUES[name])
    assert stored.codec == SAFE
    assert same(decode(*stored), SAFE_VALUES[name])


@pytest.mark.parametrize("name", CLASS_VALUES)
def test_value_of_a_named_class_is_stored_as_readable_json(name: str) -> None:
    stored = encode(CLASS_VALUES[name])
    assert stored.codec == "classes"
    assert stored.data.decode().isprintable()
    assert same(decode(*stored), CLASS_VALUES[name])


@pytest.mark.parametrize("name", PICKLED_VALUES)
def test_value_without_a_tag_is_pickled(name: str) -> None:
    stored = encode(PICKLED_VALUES[name])
    assert stored.codec == "pickle"
    assert type(decode(*stored)) is type(PICKLED_VALUES[name])
    if name not in {"subclasses", "dict of frames"}:
        assert same(decode(*stored), PICKLED_VALUES[name])


_TEXT = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["$", "v", "\0", "\ud800", "\\u0000"])
_KEYS = (
    st.none() | st.booleans() | st.integers() | _TEXT | st.binary(max_size=4) | st.dates() | st.tuples(st.integers())
)
_LEAVES = (
    _KEYS
    | st.floats()
    | st.complex_numbers()
    | st.decimals()
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones(), allow_imaginary=True)
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.builds(range, st.integers(-5, 5), st.integers(-5, 5))
    | st.sampled_from(sorted(CLASS_VALUES)).map(lambda name: CLASS_VALUES[name])
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_KEYS, inner, max_size=3)
        | st.dictionaries(_TEXT, inner, max_size=3)
        | st.frozensets(_KEYS, max_size=3)
        | st.sets(_KEYS, max_size=3)
        | st.builds(Point, inner, inner)
        | st.builds(Frozen, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_VALUES)
def test_any_nesting_comes_back_the_same(value: Any) -> None:
    stored = encode(value)
    assert stored.codec in {SAFE, "classes"}
    found = decode(*stored)
    assert same(found, value)
    assert encode(found) == stored


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | st.just(()),
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(_PLAIN)
def test_plain_json_is_taken_only_when_json_says_it_all(value: Any) -> None:
    data = plain_json(value)
    assert data is None or same(values.loads(data), value)
    assert data is None or encode(value) == Encoded(SAFE, data)


@pytest.mark.parametrize(
    "items", [[1] * 99 + [2**64], [1.0] * 99 + [float("nan")], ["a"] * 99 + ["\0"], [1] * 99 + [True]]
)
def test_long_list_of_one_kind_hides_nothing(items: list[Any]) -> None:
    assert same(decode(*encode(items)), items)


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,), lambda v: {1: v}])
def test_depth_200_comes_back(wrap: Any) -> None:
    value: Any = 1
    for _ in range(200):
        value = wrap(value)
    stored = encode(value)
    assert stored.codec == SAFE
    assert decode(*stored) == value


def test_depth_beyond_json_is_pickled_and_beyond_all_is_refused() -> None:
    value: Any = []
    for _ in range(300):
        value = [value]
    stored = encode(value)
    assert stored.codec == "pickle"
    assert decode(*stored) == value
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unstorable, match="the result of step `dig` cannot be stored: it is nested too deeply"):
        encode(value, "the result of step `dig`")
    while value:  # take it apart in order: older Pythons free deep lists recursively
        value = value[0]


def test_ten_megabytes_of_text_come_back() -> None:
    for text in ("é" * 10_000_000, "x" * 10_000_000 + "\0"):
        assert decode(*encode(text)) == text


def test_cycle_is_pickled() -> None:
    value: list[Any] = [1]
    value.append(value)
    stored = encode(value)
    found = decode(*stored)
    assert stored.codec == "pickle"
    assert found[1] is found


def test_dataclass_is_restored_without_running_its_code() -> None:
    order = Order("a", [], given=1)
    order.extra = (1,)  # type: ignore[attr-defined]
    assert vars(decode(*encode(order))) == {"id": "a", "lines": [], "total": 2, "extra": (1,)}


def test_pydantic_model_keeps_what_was_set_and_its_private_parts() -> None:
    user = User(name="a", more=1)
    user._private = 9
    found = decode(*encode(user))
    assert found == user
    assert found.model_fields_set == {"name", "more"}
    assert found._private == 9


def test_class_of_a_function_body_goes_to_cloudpickle() -> None:
    class Local(Point):
        pass

    stored = encode(Local(1, 2))
    assert stored.codec == "pickle"
    assert same(decode(*stored), Local(1, 2))


def test_path_of_this_system_keeps_its_class() -> None:
    here, there = (PosixPath, WindowsPath) if sys.platform != "win32" else (WindowsPath, PosixPath)
    assert type(decode(*encode(here("a")))) is here
    foreign = encode(here("a")).data.replace(here.__name__.encode(), there.__name__.encode())
    assert isinstance(decode(SAFE, foreign), PurePath)


def test_equal_sets_have_equal_bytes() -> None:
    assert encode({"b", "a", 1}) == encode({1, "a", "b"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"$":"enum","c":"os:system","v":"x"}',
        b'{"$":"dataclass","c":"tests.codec.samples:Order","v":{}}',
        b'{"$":"nothing"}',
        b'{"$":[]}',
        b'{"$":"datetime","v":5}',
        b'{"$":"datetime","v":"2026-01-01","zone":"../../etc/passwd"}',
        b'{"$":"set","v":[[]]}',
        b'{"$":"bytes","v":"*"}',
        b'{"$":"path","t":"Path","v":""}',
        b"[" * 100_000,
    ],
)
def test_bytes_that_are_no_value_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        decode(SAFE, data)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "text",
    [
        '{"$":"enum","c":"os:getcwd","v":"x"}',
        '{"$":"enum","c":"builtins:int","v":"x"}',
        '{"$":"enum","c":"no_such_module:X","v":"x"}',
        '{"$":"dataclass","c":"builtins:dict","v":{}}',
        '{"$":"namedtuple","c":"tests.codec.samples:Point","v":[1]}',
        '{"$":"pydantic","c":"builtins:int","v":{},"set":[]}',
    ],
)
def test_class_that_is_not_there_any_more_is_corrupt(text: str) -> None:
    with pytest.raises(Corrupt, match="a value stored as classes cannot be read"):
        decode("classes", text.encode())


@pytest.mark.parametrize("codec", ["npy", "arrow", "pickle"])
def test_rubbish_is_corrupt_in_every_codec(codec: str) -> None:
    with pytest.raises(Corrupt):
        decode(codec, b"rubbish")


def test_unknown_codec_is_named() -> None:
    with pytest.raises(Corrupt, match="'geo', which nobody registered"):
        decode("geo", b"")


def test_registered_codec_comes_first_and_the_newest_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_registered", ())
    register("plain", lambda value: isinstance(value, Plain), lambda value: b"old", lambda data: None)
    register(
        "plain",
        lambda value: isinstance(value, Plain),
        lambda value: str(value.value).encode(),
        lambda d: Plain(int(d)),
    )
    assert encode(Plain(5)) == Encoded("plain", b"5")
    assert decode("plain", b"5") == Plain(5)
    assert encode(5) == Encoded(SAFE, b"5")
    with pytest.raises(Corrupt, match="stored as plain"):
        decode("plain", b"x")


def test_registered_codec_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_registered", ())
    register("broken", lambda value: isinstance(value, Plain), lambda value: bytes(value), lambda data: None)
    with pytest.raises(Unstorable, match="the result cannot be stored: the codec 'broken' failed") as caught:
        encode(Plain(1), "the result")
    assert isinstance(caught.value.__cause__, TypeError)


def test_mock_is_not_taken_for_what_it_claims_to_be() -> None:
    for kind in (Color, Point, User, Frozen):
        with pytest.raises(Unstorable):
            encode(Mock(spec=kind))


def test_zone_from_a_file_of_the_user_is_not_tagged() -> None:
    with (importlib.resources.files("tzdata") / "zoneinfo" / "Europe" / "Paris").open("rb") as file:
        zone = ZoneInfo.from_file(file, key="Not/There")
    with pytest.raises(Unstorable, match=r"it holds a zoneinfo\.ZoneInfo"):
        encode([datetime(2026, 1, 1, tzinfo=zone)])


@pytest.mark.parametrize("name", ["json", "pickle", "", "a b"])
def test_codec_with_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(BadOption):
        register(name, bool, bytes, bytes)


def test_import_of_the_door_loads_nothing_heavy() -> None:
    code = (
        "import sys, durable_nb.codec.values, durable_nb.codec.digest, durable_nb.codec.preview, durable_nb.codec.sign;"
        "print(sorted({'numpy','pandas','pyarrow','pydantic','cloudpickle','asyncio'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_safe_value_is_stored_and_read_without_anything_heavy() -> None:
    code = (
        "import sys; from durable_nb.codec.values import decode, encode; from datetime import date;"
        "assert decode(*encode({1: (date.max, b'x')})) == {1: (date.max, b'x')};"
        "print(sorted({'numpy','pandas','pyarrow','pydantic','cloudpickle'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_samples_cover_every_tag() -> None:
    from durable_nb.codec import classes, tags

    text = b"".join(encode(value).data for value in [*SAFE_VALUES.values(), *CLASS_VALUES.values()]).decode()
    assert [tag for tag in (tags._READERS | classes.READERS) if f'"$":"{tag}"' not in text] == []
    assert {type(leaf) for leaf in (date.max, time.max, timedelta.max, datetime.max, UUID(int=0), Decimal(0))} <= set(
        tags._WRITERS
    )
    assert PurePosixPath in tags._WRITERS
