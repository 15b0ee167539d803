"""One event of every kind with everything it can say, and one that says no more than it must."""

from msgspec import Raw

from durable_nb.history import events as e
from durable_nb.history.failure import Failure
from durable_nb.history.values import Value, plain

T0 = 1_800_000_000.0
FAILURE = Failure(type="OSError", message="no network", traceback="Traceback …", where="shop.py, line 3: `get()`")
PICKLED = Value(codec="pickle", data=b"some bytes", size=10, preview="Parcel(3)", mark="0" * 32)
LARGE = Value(codec="arrow", payload="9f" * 16, size=2_097_152, preview="a frame", mark="1" * 32)
NOTHING = plain(b"{}")

FULL: list[e.AnyEvent] = [
    e.Started(
        seq=1,
        at=T0,
        flow="bill",
        code="c" * 32,
        mark="m",
        arguments=plain(b'{"n":1}'),
        version="2",
        state={"k": PICKLED},
    ),
    e.StepAsked(
        seq=2, at=T0, name="price", arguments=LARGE, due=T0 + 60, elsewhere=True, tag="gpu", session="s", queue="q"
    ),
    e.TimerAsked(seq=3, at=T0, due=T0 + 60),
    e.SignalAsked(seq=4, at=T0, name="go", type=Raw(b'{"type":"integer"}')),
    e.ChildAsked(seq=5, at=T0, name="ship", arguments=plain(b'{"n":1}'), id="parcel-7", version="2"),
    e.StartAsked(seq=6, at=T0, name="report", arguments=PICKLED, id="report-1", version="3"),
    e.WatchAsked(seq=7, at=T0, run="other"),
    e.LookAsked(seq=8, at=T0, name="count", run="other"),
    e.TellAsked(seq=9, at=T0, name="signal", run="other", mailbox="go", key="k", value=PICKLED),
    e.StateSet(seq=10, at=T0, name="total", value=LARGE),
    e.StateRemoved(seq=11, at=T0, name="total"),
    e.Noted(seq=12, at=T0, value=plain('"3 von 9 · ü"'.encode())),
    e.Patched(seq=13, at=T0, name="taxes"),
    e.Dropped(seq=14, at=T0, ref=3),
    e.Returned(seq=15, at=T0, ref=2, value=PICKLED),
    e.Raised(seq=16, at=T0, ref=2, failure=FAILURE),
    e.Fired(seq=17, at=T0, ref=3),
    e.Received(seq=18, at=T0, ref=4, name="go", value=plain(b"4"), mail=7, sender="pid 2", sent_at=T0 - 5, key="k"),
    e.SignalRejected(
        seq=19, at=T0, ref=4, name="go", value=plain(b'"x"'), sentence="a text is no integer", sender="pid 2", key="k"
    ),
    e.AttemptStarted(seq=20, at=T0, ref=2, attempt=2),
    e.AttemptFailed(seq=21, at=T0, ref=2, attempt=2, failure=FAILURE, retry_at=T0 + 60),
    e.AttemptInterrupted(seq=22, at=T0, ref=2, attempt=2),
    e.Paused(seq=23, at=T0, sentence="paused by pid 1"),
    e.Resumed(seq=24, at=T0, sentence="resumed by pid 2"),
    e.Parked(seq=25, at=T0, reason="mismatch", sentence="the code has changed", ask=2, before="waiting"),
    e.Retried(seq=26, at=T0, cut=5),
    e.CodeChanged(seq=27, at=T0, code="d" * 32, mark="m"),
    e.Forked(seq=28, at=T0, origin="zero", uid="u0", at_event=9),
    e.Cancelling(seq=29, at=T0, reason="too late", sender="pid 2", until=T0 + 600),
    e.Continued(seq=30, at=T0),
    e.Completed(seq=31, at=T0, value=plain(b"[1,2]")),
    e.RunFailed(seq=32, at=T0, failure=FAILURE, cut=5),
    e.RunCancelled(seq=33, at=T0, sentence="by Ann", is_cut_off=True),
]

SPARE: list[e.AnyEvent] = [
    e.Started(seq=1, at=T0, flow="bill", code="c" * 32, mark="", arguments=NOTHING),
    e.StepAsked(seq=2, at=T0, name="price", arguments=NOTHING),
    e.SignalAsked(seq=3, at=T0, name="go"),
    e.ChildAsked(seq=4, at=T0, name="ship", arguments=NOTHING),
    e.StartAsked(seq=5, at=T0, name="report", arguments=NOTHING),
    e.TellAsked(seq=6, at=T0, name="cancel", run="other"),
    e.Received(seq=7, at=T0, ref=3, name="go", value=NOTHING, mail=1, sender="", sent_at=T0),
    e.SignalRejected(seq=8, at=T0, ref=3, name="go", value=NOTHING, sentence="", sender=""),
    e.Parked(seq=9, at=T0, reason="corrupt", sentence=""),
    e.Cancelling(seq=10, at=T0, reason="", sender="", until=T0),
    e.RunCancelled(seq=11, at=T0, sentence=""),
]
