"""Equal values have equal digests, everywhere; other values have others."""

import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Any

import numpy
import pandas
import pyarrow
import pytest
from hypothesis import given, settings, strategies as st

from durable_nb.codec.digest import digest, digest_bytes
from durable_nb.codec.values import decode, encode
from tests.codec.samples import CLASS_VALUES, PICKLED_VALUES, SAFE_VALUES, Color, Frozen, Order, Plain, Point
from tests.codec.test_frames import ARRAYS, FRAMES, ODD_ARRAYS, ODD_FRAMES, frame

EVERYTHING = {**SAFE_VALUES, **CLASS_VALUES, **PICKLED_VALUES, **ARRAYS, **ODD_ARRAYS, **FRAMES, **ODD_FRAMES}


@pytest.mark.parametrize("name", EVERYTHING)
def test_digest_survives_storing(name: str) -> None:
    before = digest(EVERYTHING[name])
    assert before is not None
    assert len(before) == 32
    assert digest(decode(*encode(EVERYTHING[name]))) == before


def test_digests_are_equal_in_a_process_with_another_hash_seed() -> None:
    code = (
        "import json, warnings; from tests.codec.test_digest import EVERYTHING, digest;"
        "print(json.dumps({name: digest(value) for name, value in EVERYTHING.items() if name != 'subclasses'}))"
    )
    here = {name: digest(value) for name, value in EVERYTHING.items() if name != "subclasses"}
    seed = "77" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == here


def test_values_that_differ_have_other_digests() -> None:
    values = [
        *(0, 1, True, False, 1.0, 0.0, -0.0, -1, None, complex(1), "1", b"1", bytearray(b"1"), "", b""),
        *([], (), {}, set(), frozenset(), [[]], [()], [[], []], [1], (1,), [True], [1.0], ["1"], {1}, frozenset({1})),
        *(
            [1, 2],
            [12],
            [2, 1],
            ["a", "b"],
            ["ab"],
            ["", "ab"],
            {"a": 1},
            {"a": True},
            {"b": 1},
            {1: "a"},
            {"a": {"b": 1}},
        ),
        *([None], ["null"], [float("nan")], float("nan"), float("inf"), [1, 1.0], [1.0, 1], OrderedDict(a=1)),
        *(Point(1, 2), Order("a", 1), Frozen(1), Plain(1), Plain(2), Color.RED, int, Plain, range(3), slice(3)),
        *(numpy.int64(1), numpy.int32(1), numpy.float64(1), numpy.array(1), numpy.array([1]), numpy.array([[1]])),
        *(numpy.array([1], "i4"), numpy.array([1], ">i8"), numpy.array([1], object), numpy.array(["1"])),
        *(frame(), frame()[["float"]], frame()["float"], frame().set_index("text"), frame()[::-1], pandas.Index([1])),
        *(
            pyarrow.table({"a": [1]}),
            pyarrow.table({"a": [2]}),
            pyarrow.table({"b": [1]}),
            ValueError("1"),
            KeyError("1"),
        ),
        *("a" * 100, "b" * 100, ["a" * 100], [["a" * 100]], b"a" * 100),
    ]
    digests = [digest(value) for value in values]
    assert None not in digests
    assert len(set(digests)) == len(values)


def test_order_of_a_dict_and_of_a_set_does_not_count() -> None:
    assert digest({"a": 1, "b": {3, "x", None}}) == digest({"b": {None, "x", 3}, "a": 1})


def test_shared_parts_do_not_count() -> None:
    part = ["abc" * 50]
    assert digest([part, part]) == digest([["abc" * 50], ["abc" * 50]])


def test_layout_of_an_array_does_not_count() -> None:
    array = numpy.arange(3_000_000.0).reshape(1500, 2000)
    wide = numpy.zeros((3000, 4000))
    wide[::2, ::2] = array
    assert digest(numpy.asfortranarray(array)) == digest(array) == digest(wide[::2, ::2])
    assert digest(array.T) == digest(numpy.ascontiguousarray(array.T)) != digest(array)


def test_what_lies_between_fields_or_under_a_mask_does_not_count() -> None:
    dtype = numpy.dtype([("a", "i1"), ("b", "f8")], align=True)
    one, other = numpy.zeros(3, dtype), numpy.frombuffer(b"\xff" * 48, dtype).copy()
    other["a"], other["b"] = 0, 0
    assert digest(one) == digest(other)
    assert digest(numpy.ma.masked_array([1, 2], [0, 1])) == digest(numpy.ma.masked_array([1, 3], [0, 1]))
    assert digest(numpy.ma.masked_array([1, 2], [0, 1])) != digest(numpy.ma.masked_array([1, 2], [0, 0]))


def test_blocks_and_chunks_of_a_frame_do_not_count() -> None:
    whole = frame()
    pieces = pandas.DataFrame({name: whole[name].copy() for name in whole})
    halves = pandas.concat([whole.iloc[:1], whole.iloc[1:]])
    assert digest(whole) == digest(pieces) == digest(whole.iloc[[2, 1, 0]].iloc[::-1].reset_index(drop=True))
    assert digest(halves["text"].reset_index(drop=True)) == digest(whole["text"])
    assert digest(whole.iloc[1:]["text"]) == digest(
        whole["text"].iloc[[1, 2]].set_axis(range(1, 3)).set_axis(whole.index[1:])
    )


def test_change_in_place_is_seen() -> None:
    changed = frame()
    before = digest(changed)
    changed.loc[0, "string"] = "b"
    assert digest(changed) != before
    array = numpy.zeros(1000)
    before = digest(array)
    array[999] = 1e-300
    assert digest(array) != before


def test_looking_at_a_cached_property_is_no_change() -> None:
    value = Frozen(3)
    before = digest(value)
    assert value.twice == 6
    assert digest(value) == before


@pytest.mark.parametrize("value", [lambda: 0, len, [].append, threading.Lock(), (n for n in ()), sys, memoryview(b"")])
def test_what_cannot_be_known_has_no_digest(value: Any) -> None:
    assert digest(value) is None
    assert digest({"a": [value]}) is None
    assert digest(Plain(value)) is None


def test_class_of_a_function_body_has_no_digest_but_its_instance_has() -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

    assert digest(Local) is None
    assert digest(Local(1)) == digest(Local(1)) != digest(Local(2))
    assert digest(Local(1)) is not None


def test_cycle_and_great_depth_have_no_digest() -> None:
    value: list[Any] = []
    value.append(value)
    assert digest(value) is None
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert digest(deep) is None
    while deep:
        deep = deep[0]


def test_property_that_raises_gives_no_digest() -> None:
    class Angry:
        def __getstate__(self) -> None:
            raise ValueError("no")

    assert digest(Angry()) is None


def test_digest_of_bytes_is_blake2b() -> None:
    assert digest_bytes(b"") == "cae66941d9efbd404e4d88758ea67670"
    assert digest_bytes(memoryview(b"ab")) == digest_bytes(b"ab")


_SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary()
_NESTED = st.recursive(
    _SIMPLE,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(_SIMPLE, inner) | st.builds(Plain, inner),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(_NESTED)
def test_any_digest_survives_storing(value: Any) -> None:
    assert digest(value) is not None
    assert digest(decode(*encode(value))) == digest(value)


def test_a_frame_that_lies_row_by_row_has_the_digest_of_one_that_lies_column_by_column() -> None:
    for dtype in ("f8", "i4", "M8[ns]", "?"):
        rows = numpy.arange(60_000).reshape(10_000, 6).astype(dtype)
        strided = pandas.DataFrame(rows, copy=False)
        columns = pandas.DataFrame({n: rows[:, n].copy() for n in range(6)})
        strided.columns = columns.columns
        assert digest(strided) == digest(columns) is not None
        assert digest(strided.iloc[:, ::-1]) != digest(strided)
