"""Arrays and tables come back equal, with their dtypes, and can be written to."""

import io
from typing import Any

import numpy
import pandas
import pyarrow
import pytest
from hypothesis import given, settings, strategies as st

from durable_nb.codec.values import decode, encode
from tests.codec.samples import same

ARRAYS: dict[str, Any] = {
    "ints": numpy.arange(6).reshape(2, 3),
    "fortran": numpy.asfortranarray(numpy.ones((3, 4))),
    "scalar": numpy.array(5.5),
    "empty": numpy.zeros((0, 3), "f4"),
    "nothing in an item": numpy.zeros(2, "U0"),
    "dates": numpy.array(["2020-01-01", "NaT"], "M8[ns]"),
    "structured": numpy.zeros(3, [("a", "i4"), ("b", "U3"), ("c", "f8", (2,))]),
    "raw": numpy.zeros(2, "V4"),
    "strided": numpy.arange(16.0).reshape(4, 4)[::2, ::-2],
    "big endian": numpy.array([1], ">f8"),
    "text": numpy.array(["a", "\0b"]),
    "long double": numpy.array([1], numpy.longdouble),
    "long double complex": numpy.array([1 + 2j, float("nan")], numpy.clongdouble),
    "wide": numpy.zeros(1, [(f"a_long_name_of_a_field_{place}", "i4") for place in range(500)]),
}
ODD_ARRAYS: dict[str, Any] = {
    "objects": numpy.array([1, None], object),
    "aligned": numpy.zeros(2, numpy.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "masked": numpy.ma.masked_array([1, 2], [0, 1]),
    "records": numpy.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "dtype with metadata": numpy.zeros(1, numpy.dtype("i4", metadata={"unit": "m"})),
}


def frame() -> pandas.DataFrame:
    return pandas.DataFrame(
        {
            "float": [1.0, float("nan"), -0.0],
            "int": numpy.array([1, 2, 3], "u1"),
            "text": ["a", None, "é\0"],
            "flag": [True, False, True],
            "day": pandas.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "zoned": pandas.date_range("2020-03-28", periods=3, tz="Europe/Berlin"),
            "kind": pandas.Categorical(["b", "a", None], categories=["b", "a", "c"], ordered=True),
            "nullable": pandas.array([1, None, 3], dtype="Int64"),
            "maybe": pandas.array([True, None, False], dtype="boolean"),
            "span": pandas.to_timedelta([1, 2, None], unit="s"),
            "string": pandas.array(["a", None, "c"], dtype="string"),
        }
    )


def _as_pickled(found: pandas.DataFrame) -> pandas.DataFrame:
    found.insert(0, "object", pandas.Series([1, "a", [2]], dtype=object))
    return found


FRAMES: dict[str, Any] = {
    "all kinds": frame(),
    "one column": frame()[["float"]],
    "named index": frame().set_index("text"),
    "dates as index": frame()[["int", "zoned"]].set_index("zoned"),
    "rows backwards": frame()[["int", "text"]][::-1],
    "no rows": frame().drop(columns="kind").iloc[:0],
    "series": frame()["kind"],
    "series of a tuple's name": pandas.Series([1.5], name=("a", 1)),
    "nameless series": pandas.Series(["a"], index=["x"]),
    "labels": pandas.Index(["a", "b"], name=("n", 1)),
    "moments": pandas.DatetimeIndex(["2020-01-01", "2020-01-05"]),
}
ODD_FRAMES: dict[str, Any] = {
    "objects": _as_pickled(frame()),
    "columns not text": pandas.DataFrame({1: [1]}),
    "doubled column": pandas.DataFrame([[1, 2]], columns=["a", "a"]),
    "multi index": frame().set_index(["text", "int"]),
    "index with a frequency": pandas.DataFrame({"a": [1, 2]}, index=pandas.date_range("2020", periods=2)),
    "no duplicates allowed": pandas.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "interval": pandas.DataFrame({"a": pandas.interval_range(0, 2)}),
    "named columns": pandas.DataFrame({"a": [1]}).rename_axis(columns="c"),
    "no rows but categories": frame().iloc[:0],
    "range": pandas.RangeIndex(1, 9, 2, name="r"),
    "index with frequency": pandas.date_range("2020", periods=3),
    "nothing": pandas.DataFrame(),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_array_comes_back_as_npy(name: str) -> None:
    array = ARRAYS[name]
    stored = encode(array)
    found = decode(*stored)
    assert stored.codec == "npy"
    assert same(found, array)
    assert found.flags.writeable
    if array.flags.c_contiguous or array.flags.f_contiguous:
        assert found.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize("name", ODD_ARRAYS)
def test_array_that_npy_would_change_is_pickled(name: str) -> None:
    stored = encode(ODD_ARRAYS[name])
    found = decode(*stored)
    assert stored.codec == "pickle"
    assert type(found) is type(ODD_ARRAYS[name])
    assert same(found, ODD_ARRAYS[name])


@pytest.mark.parametrize("name", FRAMES)
def test_frame_comes_back_by_arrow(name: str) -> None:
    value = FRAMES[name]
    stored = encode(value)
    found = decode(*stored)
    assert stored.codec == "arrow"
    assert stored.data.index(b"\n") % 64 == 63
    assert_same_frame(found, value)


@pytest.mark.parametrize("name", ODD_FRAMES)
def test_frame_that_arrow_would_change_is_pickled(name: str) -> None:
    stored = encode(ODD_FRAMES[name])
    assert stored.codec == "pickle"
    assert_same_frame(decode(*stored), ODD_FRAMES[name])


def assert_same_frame(found: Any, value: Any) -> None:
    assert type(found) is type(value)
    if isinstance(value, pandas.DataFrame):
        pandas.testing.assert_frame_equal(found, value, check_exact=True, check_freq=True, check_flags=True)
    elif isinstance(value, pandas.Series):
        pandas.testing.assert_series_equal(found, value, check_exact=True, check_freq=True)
    else:
        pandas.testing.assert_index_equal(found, value, exact=True)


def test_restored_frame_can_be_written_to_everywhere() -> None:
    found = decode(*encode(frame()))
    for name in found.columns:
        found.loc[0, name] = found.loc[2, name]
        single = decode(*encode(frame()[name]))
        single.iloc[0] = single.iloc[2]
        assert single.iloc[0] == single.iloc[2] or pandas.isna(single.iloc[2])


def test_attrs_are_kept_and_the_frame_is_left_alone() -> None:
    value = frame()
    value.attrs = {"unit": ("m",), 1: b"x"}
    found = decode(*encode(value))
    assert found.attrs == {"unit": ("m",), 1: b"x"}
    assert value.attrs == {"unit": ("m",), 1: b"x"}


def test_arrow_table_keeps_its_metadata() -> None:
    table = pyarrow.table({"a": [1, None], "b": [["x"], []]}).replace_schema_metadata({"k": "v"})
    stored = encode(table)
    assert stored.codec == "arrow"
    assert decode(*stored).equals(table, check_metadata=True)


def test_polars_frame_travels_by_its_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    polars = pytest.importorskip("polars")
    value = polars.DataFrame({"a": [1, None], "b": ["x", "y"]})
    stored = encode(value)
    assert stored.codec == "arrow"
    assert decode(*stored).equals(value)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_plain_array_comes_back(data: st.DataObject) -> None:
    from hypothesis.extra import numpy as arrays

    kinds = arrays.scalar_dtypes() | arrays.array_dtypes(max_size=3)
    array = data.draw(arrays.arrays(kinds, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)))
    found = decode(*encode(array))
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()


def test_npy_is_the_format_numpy_reads() -> None:
    stored = encode(numpy.arange(3))
    assert numpy.load(io.BytesIO(stored.data)).tolist() == [0, 1, 2]
