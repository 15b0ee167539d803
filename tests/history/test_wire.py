"""The stored form of events is public: logs written today are read for ever. A changed line needs a reader for the old one.

`python -m tests.history.test_wire` writes the lines of new samples; it never changes one that is there.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from durable_nb.errors import Corrupt
from durable_nb.history import events as e, wire
from durable_nb.history.calls import FlowCall, Held, RunCall, SignalCall, StepCall, TimerCall, encode
from durable_nb.history.events import Row
from tests.history.samples import FULL, PICKLED, SPARE, T0

GOLDEN = Path(__file__).with_name("wire.golden.json")
EVENTS = {
    f"{wire.row_of(event).kind}{more}": event for more, events in (("", FULL), (" spare", SPARE)) for event in events
}
STORED: dict[str, Any] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}


def line_of(row: Row) -> list[Any]:
    return [row.seq, row.kind, row.ref, row.name, row.data.decode(), row.at]


@pytest.mark.parametrize("name", EVENTS)
def test_wire_form_is_the_one_on_file(name: str) -> None:
    assert line_of(wire.row_of(EVENTS[name])) == STORED[name]


@pytest.mark.parametrize("name", STORED)
def test_form_on_file_is_still_read(name: str) -> None:
    seq, kind, ref, called, data, at = STORED[name]
    assert wire.event_of(Row(seq, kind, ref, called, data.encode(), at)) == EVENTS[name]


def test_file_holds_every_sample_and_the_samples_every_kind() -> None:
    assert list(STORED) == list(EVENTS)
    assert [wire.row_of(event).kind for event in FULL] == sorted(
        wire.KINDS, key=[row[1] for row in STORED.values()].index
    )
    assert {type(event) for event in FULL} == set(e.AnyEvent.__args__)


def test_every_kind_has_one_role_at_most() -> None:
    assert set(wire.KINDS) >= e.CODE | e.ANSWERS | e.ENDINGS
    assert not e.CODE & e.ANSWERS
    assert not e.ENDINGS & (e.CODE | e.ANSWERS)


def test_what_is_not_said_takes_no_room() -> None:
    for event in SPARE:
        assert b"null" not in wire.row_of(event).data


@pytest.mark.parametrize(
    "kind", [kind for kind in wire.KINDS if kind not in ("drop", "fired", "patched", "unset", "continued")]
)
@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff\x00", b"7"])
def test_a_row_that_cannot_be_read_is_corrupt_and_says_which(kind: str, data: bytes) -> None:
    with pytest.raises(Corrupt, match=f"event 41 \\({kind}\\)"):
        wire.event_of(Row(41, kind, 2, "x", data, T0))


def test_an_unknown_kind_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="unknown kind 'teleported'"):
        wire.event_of(Row(41, "teleported", None, None, b"{}", T0))


ASKED = [
    ("step", "price", StepCall(PICKLED, due=T0, elsewhere=True, tag="t", session="s", queue="q")),
    ("timer", None, TimerCall(T0)),
    ("signal", "go", SignalCall(msgspec.Raw(b'{"type":"integer"}'))),
    ("child", "ship", FlowCall(PICKLED, "parcel-7", "2")),
    ("start", "report", FlowCall(PICKLED)),
    ("watch", None, RunCall("other")),
    ("look", "count", RunCall("other")),
    ("tell", "signal", RunCall("other", "go", "k", PICKLED)),
    ("set", "total", Held(PICKLED)),
    ("note", None, Held(PICKLED)),
]


@pytest.mark.parametrize(("kind", "name", "call"), ASKED)
def test_what_the_code_asks_is_stored_as_the_event_would_be(kind: str, name: str | None, call: Any) -> None:
    row = Row(5, kind, None, name, encode(call), T0)
    event = wire.event_of(row)
    assert wire.row_of(event) == row
    assert {field: getattr(event, field, None) for field in call.__struct_fields__} == msgspec.structs.asdict(call)


@pytest.mark.parametrize(
    "event", [event for event in FULL if wire.row_of(event).kind in ("completed", "failed", "cancelled")]
)
def test_the_end_of_a_run_is_in_its_outcome(event: e.AnyEvent) -> None:
    ended = wire.decode_ended(wire.ended_of(wire.row_of(event)))
    assert ended == wire.Ended(event.seq, getattr(event, "value", None), getattr(event, "failure", None))


def test_what_ends_no_run_has_no_outcome() -> None:
    with pytest.raises(Corrupt, match="does not end a run"):
        wire.ended_of(wire.row_of(e.Continued(seq=30, at=T0)))
    with pytest.raises(Corrupt, match="outcome"):
        wire.decode_ended(b"[")


if __name__ == "__main__":
    lines = {name: line_of(wire.row_of(event)) for name, event in EVENTS.items()}
    GOLDEN.write_text(json.dumps({name: STORED.get(name, line) for name, line in lines.items()}, indent=1) + "\n")
