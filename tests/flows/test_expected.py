"""What a flow expects of a signal: values that fit become the type, others are refused with what is wrong."""

import enum
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, strategies as st

from durable_nb.errors import BadOption, SignalRejected
from durable_nb.flows.expected import Expected, checked_mailbox, misfit, schema_of, spelled


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Order:
    id: str
    amount: float
    lines: list[int]


class Opaque:
    """A class that has no schema."""


FITS = [
    (bool, True, True),
    (int, 3, 3),
    (float, 3, 3.0),
    (str, "a", "a"),
    (int | None, None, None),
    (list[int], [1, 2], [1, 2]),
    (Literal["yes", "no"], "yes", "yes"),
    (Colour, "red", Colour.RED),
    (Colour, Colour.RED, Colour.RED),
    (Order, {"id": "a", "amount": 1, "lines": [1]}, Order("a", 1.0, [1])),
    (Any, object, object),
]
WRONG = [
    (bool, 1),
    (bool, "true"),
    (int, True),
    (int, "3"),
    (float, "x"),
    (str, 3),
    (int | None, "x"),
    (list[int], [1, "x"]),
    (Literal["yes", "no"], "maybe"),
    (Colour, "green"),
    (Order, {"id": "a", "amount": 1}),
    (Order, {"id": "a", "amount": "x", "lines": []}),
    (Order, [1]),
]


@pytest.mark.parametrize(("type", "value", "meant"), FITS)
def test_what_fits_becomes_the_type(type: Any, value: Any, meant: Any) -> None:
    assert Expected(type).convert(value) == meant


@pytest.mark.parametrize(("type", "value"), WRONG)
def test_what_does_not_fit_is_refused_by_the_taker(type: Any, value: Any) -> None:
    with pytest.raises(SignalRejected, match="does not fit"):
        Expected(type).convert(value)


@pytest.mark.parametrize(("type", "value"), WRONG)
def test_the_sender_can_tell_from_the_schema_alone(type: Any, value: Any) -> None:
    schema = msgspec.json.decode(schema_of(type))
    assert misfit(schema, value)


@pytest.mark.parametrize(("type", "value", "_meant"), [one for one in FITS if not isinstance(one[1], enum.Enum)])
def test_the_sender_lets_pass_what_fits(type: Any, value: Any, _meant: Any) -> None:
    assert misfit(msgspec.json.decode(schema_of(type)) or {}, value) is None


def test_a_class_without_a_schema_is_checked_by_nobody_but_the_taker() -> None:
    mine = Opaque()
    assert msgspec.json.decode(schema_of(Opaque)) is None
    assert Expected(Opaque).convert(mine) is mine
    with pytest.raises(SignalRejected):
        Expected(Opaque).convert(3)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_whatever_the_taker_takes_the_sender_lets_pass(value: Any) -> None:
    for type in (bool, int, str, list[int], dict[str, int], Order, Colour, int | str | None):
        try:
            Expected(type).convert(value)
        except SignalRejected:
            continue
        assert misfit(msgspec.json.decode(schema_of(type)), value) is None


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", 3, None])
def test_a_name_of_a_mailbox_that_cannot_be_used_is_refused(name: Any) -> None:
    with pytest.raises(BadOption, match="signal's name"):
        checked_mailbox(name)


def test_types_are_spelled_as_they_are_written() -> None:
    assert [spelled(type) for type in (int, list[int], Order, Any)] == ["int", "list[int]", "Order", "Any"]
