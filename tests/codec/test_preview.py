"""A preview is short, cheap and never fails."""

import dataclasses
from typing import Any

import numpy
import pandas
import pyarrow
import pytest
from hypothesis import given, settings, strategies as st

from durable_nb.codec.preview import LIMIT, preview, preview_json
from durable_nb.codec.values import encode
from tests.codec.samples import CLASS_VALUES, PICKLED_VALUES, SAFE_VALUES, BadError, Color, Order, Point, User
from tests.codec.test_frames import ARRAYS, FRAMES, ODD_ARRAYS, ODD_FRAMES


class Raises:
    def __repr__(self) -> str:
        raise ValueError("no")


class Shouts:
    def __repr__(self) -> str:
        return "\ud800\0" + "x" * 1_000_000


@dataclasses.dataclass
class Own:
    password: str

    def __repr__(self) -> str:
        return "Own(hidden)"


@dataclasses.dataclass
class Holder:
    shown: Any
    password: str = dataclasses.field(default="hidden", repr=False)


EVERYTHING = {**SAFE_VALUES, **CLASS_VALUES, **PICKLED_VALUES, **ARRAYS, **ODD_ARRAYS, **FRAMES, **ODD_FRAMES}


def _is_storable(text: str) -> bool:
    return len(text) <= LIMIT and "\0" not in text and text.encode().decode() == text


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_value_has_a_preview(name: str) -> None:
    text = preview(EVERYTHING[name])
    assert text
    assert _is_storable(text)
    assert "repr failed" not in text or name == "slotted dataclass"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        ("a'b", '"a\'b"'),
        ([1, (2,), {"a": {3}}, set(), frozenset(), ()], "[1, (2,), {'a': {3}}, set(), frozenset(), ()]"),
        (Color.RED, "Color.RED"),
        (Point(1, [2]), "Point(x=1, y=[2])"),
        (Order("a", []), "Order(id='a', lines=[], total=1)"),
        (Own("x"), "Own(hidden)"),
        (Holder([1]), "Holder(shown=[1])"),
        (User(name="a"), "User(name='a', age=3)"),
        (BadError(1, "x"), "BadError('x')"),
        ([10**5000], "[<int of 16610 bits>]"),
        (list(range(60)), f"[{', '.join(map(str, range(50)))}, … 10 more]"),
    ],
)
def test_preview_reads_like_python(value: Any, text: str) -> None:
    assert preview(value) == text


@pytest.mark.parametrize("value", [Raises(), [1, Raises()], {"a": Raises()}, Point(Raises(), 1), Holder(Raises())])
def test_repr_that_raises_is_told(value: Any) -> None:
    assert "<Raises, whose repr failed: ValueError>" in preview(value)


def test_repr_with_what_no_database_takes_is_made_storable() -> None:
    assert _is_storable(preview(Shouts()))
    assert preview(Shouts()).startswith("\\ud800\\x00xxx")


def test_long_text_shows_both_ends_and_its_length() -> None:
    text = preview("a" + "é" * 10_000_000 + "z")
    assert text.startswith("'aéé")
    assert text.endswith("éz' (10,000,002 characters)")


def test_cycle_and_depth_end() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert preview(value) == "[1, …]"
    for _ in range(10_000):
        value = [value]
    assert preview(value) == "[[[[[[[…]]]]]]]"


def test_wide_and_deep_value_is_not_walked_whole() -> None:
    value: Any = ["x" * 500] * 1000
    for _ in range(5):
        value = [value] * 1000
    assert _is_storable(preview(value))


def test_frame_shows_shape_dtypes_and_head() -> None:
    text = preview(pandas.DataFrame({"a": range(100_000), "b": "x"}))
    assert text.startswith("DataFrame, 100,000 rows × 2 columns\na: int64, b: str\n")
    assert "4" in text
    assert "5" not in text.splitlines()[-1]


def test_array_and_table_show_shape_and_dtype() -> None:
    assert preview(numpy.zeros((1000, 1000))).startswith("ndarray, 1000 × 1000, float64\n")
    assert preview(pyarrow.table({"a": [1]})) == "pyarrow.Table, 1 rows × 1 columns\na: int64"


@pytest.mark.parametrize("name", SAFE_VALUES)
def test_encoded_value_has_the_preview_of_the_value(name: str) -> None:
    if len(encode(SAFE_VALUES[name]).data) < 1000 and "set" not in name:
        assert preview_json(encode(SAFE_VALUES[name]).data) == preview(SAFE_VALUES[name])


@settings(max_examples=100, deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_preview_of_any_bytes_is_storable(data: bytes) -> None:
    assert _is_storable(preview_json(data))


def test_long_json_is_shown_as_it_begins() -> None:
    assert preview_json(b"[" + b"1," * 100_000 + b"1]").startswith("[1,1,1,")


_ANY = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=2000) | st.builds(Raises),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=60, deadline=None)
@given(_ANY)
def test_any_value_has_a_storable_preview(value: Any) -> None:
    assert _is_storable(preview(value))
