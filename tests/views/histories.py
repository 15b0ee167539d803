"""Literal histories for the views."""

from typing import Any

from msgspec import Raw

from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.failure import Failure
from durable_nb.history.values import Value, plain
from durable_nb.stores.shapes import RunRecord

T0 = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
FAILURE = Failure(type="OSError", message="no network", traceback="Traceback …", where="shop.py, line 3: `get()`")
PICKLED = Value(codec="pickle", data=b"not to be decoded", size=17, preview="Parcel(3)", mark="0" * 32)


def rows(*events: e.AnyEvent) -> list[Row]:
    return [wire.row_of(event) for event in events]


def started(seq: int = 1) -> e.Started:
    return e.Started(
        seq=seq, at=T0, flow="bill", code="c" * 32, mark="", arguments=plain(b'{"items":["tea"],"by":null}')
    )


def asked(seq: int, at: float, due: float | None = None, elsewhere: bool = False) -> e.StepAsked:
    return e.StepAsked(seq=seq, at=at, name="price", arguments=plain(b'{"item":"tea"}'), due=due, elsewhere=elsewhere)


RETRIED = rows(
    started(),
    asked(2, T0 + 1),
    e.AttemptFailed(seq=3, at=T0 + 2, ref=2, attempt=1, failure=FAILURE, retry_at=T0 + 4),
    e.AttemptStarted(seq=4, at=T0 + 4, ref=2, attempt=2),
    e.AttemptStarted(seq=5, at=T0 + 5, ref=2, attempt=3),
    e.Returned(seq=6, at=T0 + 8, ref=2, value=plain(b"2.5")),
    e.TimerAsked(seq=7, at=T0 + 8, due=T0 + 10),
)

EVERY_KIND = rows(
    started(),
    asked(2, T0, due=T0 + 60, elsewhere=True),
    e.TimerAsked(seq=3, at=T0, due=T0 + 60),
    e.Returned(seq=4, at=T0, ref=2, value=PICKLED),
    e.Raised(seq=5, at=T0, ref=2, failure=FAILURE),
    e.Fired(seq=6, at=T0, ref=3),
    e.AttemptStarted(seq=7, at=T0, ref=2, attempt=2),
    e.AttemptFailed(seq=8, at=T0, ref=2, attempt=2, failure=FAILURE, retry_at=T0 + 60),
    e.AttemptInterrupted(seq=9, at=T0, ref=2, attempt=2),
    e.Paused(seq=10, at=T0, sentence="paused by pid 1"),
    e.Resumed(seq=11, at=T0, sentence="resumed by pid 2"),
    e.Parked(seq=12, at=T0, reason="mismatch", sentence="the code has changed", ask=2),
    e.Retried(seq=13, at=T0, cut=5),
    e.CodeChanged(seq=14, at=T0, code="d" * 32, mark=""),
    e.Completed(seq=15, at=T0, value=plain(b"[1,2]")),
    e.RunFailed(seq=16, at=T0, failure=FAILURE, cut=5),
    e.RunCancelled(seq=17, at=T0, sentence="by Ann"),
    e.SignalAsked(seq=18, at=T0, name="go", type=Raw(b'{"type":"integer"}')),
    e.ChildAsked(seq=19, at=T0, name="ship", arguments=plain(b'{"item":"tea"}'), id="parcel-7", version="2"),
    e.StartAsked(seq=20, at=T0, name="report", arguments=plain(b"{}")),
    e.WatchAsked(seq=21, at=T0, run="other"),
    e.LookAsked(seq=22, at=T0, name="count", run="other"),
    e.TellAsked(seq=23, at=T0, name="signal", run="other", mailbox="go", key="k", value=plain(b"4")),
    e.StateSet(seq=24, at=T0, name="total", value=plain(b"12")),
    e.StateRemoved(seq=25, at=T0, name="total"),
    e.Noted(seq=26, at=T0, value=plain(b'"3 of 9"')),
    e.Patched(seq=27, at=T0, name="taxes"),
    e.Dropped(seq=28, at=T0, ref=3),
    e.Received(seq=29, at=T0, ref=18, name="go", value=plain(b"4"), mail=7, sender="pid 2", sent_at=T0 - 5, key="k"),
    e.SignalRejected(
        seq=30, at=T0, ref=18, name="go", value=plain(b'"x"'), sentence="a text is no integer", sender="pid 2"
    ),
    e.Forked(seq=31, at=T0, origin="zero", uid="u0", at_event=9),
    e.Cancelling(seq=32, at=T0, reason="too late", sender="pid 2", until=T0 + 600),
    e.Continued(seq=33, at=T0),
)


def record(**changed: Any) -> RunRecord:
    made = RunRecord(
        key=1,
        id="one",
        uid="u",
        flow="bill",
        version=None,
        execution=1,
        status="waiting",
        reason=None,
        sentence=None,
        waits=None,
        code="c" * 32,
        arguments=b'{"json":{}}',
        outcome=None,
        created_at=T0,
        updated_at=T0,
        ended_at=None,
        ready_at=None,
        lease=1,
        owner=None,
        mail=0,
    )
    return made._replace(**changed)
