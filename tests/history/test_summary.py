"""The fold of a history over everything that can happen to an ask."""

import pytest

from durable_nb.errors import Corrupt
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import asks, effective, started_of
from durable_nb.history.values import plain
from tests.history.samples import FAILURE, T0

GO = e.SignalAsked(seq=2, at=T0, name="go")


def rows(*events: e.AnyEvent) -> list[Row]:
    return [
        wire.row_of(event)
        for event in (e.Started(seq=1, at=T0, flow="f", code="", mark="", arguments=plain(b"{}")), *events)
    ]


def received(seq: int, ref: int) -> e.Received:
    return e.Received(seq=seq, at=T0, ref=ref, name="go", value=plain(b"4"), mail=seq, sender="pid 2", sent_at=T0)


def step(seq: int) -> e.StepAsked:
    return e.StepAsked(seq=seq, at=T0, name="price", arguments=plain(b"{}"))


def attempt(seq: int, number: int) -> e.AttemptStarted:
    return e.AttemptStarted(seq=seq, at=T0, ref=2, attempt=number)


def test_a_signal_that_was_taken_answers_its_ask() -> None:
    asked = asks(rows(GO, received(3, 2)))[2]
    assert asked.answer is not None
    assert (asked.kind, asked.name, asked.answer.kind) == ("signal", "go", "received")


def test_a_refused_signal_leaves_its_ask_open() -> None:
    refused = e.SignalRejected(seq=3, at=T0, ref=2, name="go", value=plain(b"1"), sentence="no", sender="pid 2")
    asked = asks(rows(GO, refused))[2]
    assert asked.answer is None
    assert asked.rejected == [refused]


def test_what_was_given_up_is_marked() -> None:
    found = asks(rows(GO, step(3), e.Dropped(seq=4, at=T0, ref=2)))
    assert (found[2].is_dropped, found[3].is_dropped) == (True, False)


def test_a_child_is_known_by_the_id_it_was_given() -> None:
    named = e.ChildAsked(seq=2, at=T0, name="ship", arguments=plain(b"{}"), id="parcel-7")
    found = asks(rows(named, e.ChildAsked(seq=3, at=T0, name="ship", arguments=plain(b"{}"))))
    assert (found[2].child, found[3].child) == ("parcel-7", None)


@pytest.mark.parametrize(
    "what", [e.Resumed(seq=8, at=T0, sentence=""), e.Forked(seq=8, at=T0, origin="z", uid="u", at_event=7)]
)
def test_a_person_who_looks_begins_a_new_count_of_crashes(what: e.AnyEvent) -> None:
    history = [step(2), attempt(3, 2), attempt(4, 3)]
    assert asks(rows(*history))[2].crashes == 3
    asked = asks(rows(*history, what))[2]
    assert (asked.crashes, len(asked.attempts)) == (0, 3)


def test_a_retry_keeps_what_was_received_before_its_cut_and_sets_the_rest_aside() -> None:
    beside = e.SignalAsked(seq=3, at=T0, name="go")
    history = rows(
        GO, beside, step(4), received(5, 2), e.Raised(seq=6, at=T0, ref=4, failure=FAILURE), received(7, 3), step(8),
        e.RunFailed(seq=9, at=T0, failure=FAILURE, cut=6), e.Retried(seq=10, at=T0, cut=6),
    )  # fmt: skip
    assert [row.seq for row in effective(history)] == [1, 2, 3, 4, 5, 7, 10]
    found = asks(history)
    assert [seq for seq, asked in found.items() if asked.answer is None] == [4, 8]
    assert [seq for seq, asked in found.items() if asked.is_aside] == [8]


def test_a_history_begins_with_its_start() -> None:
    assert started_of(rows(GO)).flow == "f"
    for broken in ([], rows(GO)[1:]):
        with pytest.raises(Corrupt, match="rows were removed"):
            started_of(broken)
