"""One sentence for every state of a run."""

import pytest

from durable_nb.history import events as e
from durable_nb.history.summary import asks
from durable_nb.history.values import plain
from durable_nb.stores.shapes import RunRecord
from durable_nb.views.sentences import short, why
from tests.views.histories import RETRIED, T0, asked, record, rows, started

RUN = "run 'one' of flow `bill` "
ONE_TIMER = '{"ask":7,"kind":"timer","due":1800003600.0}'
ONE_STEP = '{"ask":2,"kind":"step","name":"price"}'
ONE_SIGNAL = '{"ask":8,"kind":"signal","name":"go","type":{"type":"integer"}}'
ONE_CHILD = '{"ask":9,"kind":"child","name":"ship"}'
ONE_WATCH = '{"ask":10,"kind":"watch","name":"other"}'
TIMER, STEP, SIGNAL = f"[{ONE_TIMER}]", f"[{ONE_STEP}]", f"[{ONE_SIGNAL}]"
SEVERAL = f"[{ONE_TIMER},{ONE_SIGNAL},{ONE_STEP},{ONE_CHILD}]"


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (record(status="completed", ended_at=T0 + 90), "completed after 1 m 30 s."),
        (
            record(status="failed", ended_at=T0 + 2, sentence="OSError: no network"),
            "failed after 2 s: OSError: no network. run.retry() goes on just before the failure.",
        ),
        (record(status="cancelled"), "was cancelled: no reason was given."),
        (record(status="paused", sentence="paused by pid 1"), "is paused: paused by pid 1. run.resume() goes on."),
        (
            record(status="paused", sentence="interrupted; resume() repeats that step"),
            "is paused: interrupted; resume() repeats that step.",
        ),
        (
            record(status="parked", reason="mismatch", sentence="It differs."),
            "is parked (mismatch): It differs. run.resume() tries again.",
        ),
        (record(status="pending", ready_at=T0 + 60), "begins in 1 m (2027-01-15 08:01:00 UTC)."),
        (
            record(status="pending", ready_at=T0),
            "has not begun; nobody carries it yet: open the log in a kernel or with `durable worker`.",
        ),
        (
            record(status="running", ready_at=T0),
            "was being carried by a process that has ended, and goes on when somebody takes it up: "
            "open the log in a kernel or with `durable worker`.",
        ),
        (record(status="running", owner=1), "is running, carried by pid 1."),
        (record(waits=TIMER, ready_at=T0 + 3600), "waits for a timer, due in 1 h (2027-01-15 09:00:00 UTC)."),
        (record(waits=STEP), "waits for step `price`."),
        (record(waits=SIGNAL), 'waits for the signal `go`; run.signal("go", …) sends it.'),
        (
            record(waits=f"[{ONE_TIMER},{ONE_SIGNAL}]", ready_at=T0 + 3600),
            'waits for the signal `go` or 1 more; run.signal("go", …) sends it.',
        ),
        (record(waits=f"[{ONE_STEP},{ONE_STEP},{ONE_TIMER}]"), "waits for step `price` or 2 more."),
        (record(waits=f"[{ONE_CHILD}]"), "waits for its child `ship`, run 'one/9'."),
        (
            record(waits=f"[{ONE_CHILD},{ONE_STEP}]", execution=3),
            "waits for its child `ship`, run 'one/3.9' or 1 more.",
        ),
        (record(waits=f"[{ONE_WATCH}]"), "waits for the end of run 'other'."),
        (record(waits='{"ask":7,"kind":"timer"}'), "waits for news."),
        (
            record(ready_at=T0),
            "waits for its next turn, which is due: open the log in a kernel or with `durable worker`, unless one is "
            "at it.",
        ),
        (record(waits="{", ready_at=T0 + 1), "waits for news."),
    ],
)
def test_why_says_what_it_is_and_what_to_do(record: RunRecord, sentence: str) -> None:
    assert why(record, {}, T0, "pid 1") == RUN + sentence


def test_why_names_the_step_that_runs_and_since_when() -> None:
    history = rows(started(), asked(2, T0))
    said = why(record(status="running", owner=1), asks(history), T0 + 65, "pid 1")
    assert said == RUN + "is running step `price` for 1 m 5 s, carried by pid 1."


def test_why_tells_the_failure_before_the_next_attempt() -> None:
    said = why(record(waits=STEP, ready_at=T0 + 4), asks(RETRIED[:3]), T0 + 3)
    assert said == RUN + (
        "waits to try step `price` again in 1 s (2027-01-15 08:00:04 UTC) (attempt 2; the last one failed with "
        "OSError: no network)."
    )


def test_why_tells_what_else_is_waited_for_after_the_failure() -> None:
    said = why(record(waits=f"[{ONE_STEP},{ONE_TIMER}]", ready_at=T0 + 4), asks(RETRIED[:3]), T0 + 3)
    assert said.endswith("the last one failed with OSError: no network), or for 1 more.")


def test_why_names_the_child_by_the_id_it_was_given() -> None:
    child = e.ChildAsked(seq=9, at=T0, name="ship", arguments=plain(b"{}"), id="parcel-7")
    said = why(record(waits=f"[{ONE_CHILD}]"), asks(rows(started(), child)), T0)
    assert said == RUN + "waits for its child `ship`, run 'parcel-7'."


def test_why_tells_which_signal_was_refused_and_why() -> None:
    waits = e.SignalAsked(seq=8, at=T0, name="go")
    refused = e.SignalRejected(
        seq=9, at=T0, ref=8, name="go", value=plain(b'"x"'), sentence="a text is no integer", sender="pid 2"
    )
    said = why(record(waits=SIGNAL), asks(rows(started(), waits, refused)), T0)
    assert said.endswith('run.signal("go", …) sends it; one was refused: a text is no integer.')


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (record(status="completed"), ""),
        (record(status="failed", sentence="OSError: no\nnetwork"), "OSError: no …"),
        (record(status="pending", ready_at=T0), "has not begun"),
        (record(status="pending", ready_at=T0 + 60), "begins in 1 m (2027-01-15 08:01:00 UTC)"),
        (record(waits=TIMER, ready_at=T0 + 3600), "a timer, due in 1 h (2027-01-15 09:00:00 UTC)"),
        (record(waits=STEP), "step `price`"),
        (record(waits=f"[{ONE_SIGNAL},{ONE_STEP}]"), "the signal `go` or step `price`"),
        (record(waits=f"[{ONE_CHILD},{ONE_WATCH}]"), "the child `ship` or the end of run 'other'"),
        (
            record(waits=SEVERAL, ready_at=T0 + 3600),
            "a timer, due in 1 h (2027-01-15 09:00:00 UTC) or the signal `go` or step `price` or more",
        ),
        (record(waits=STEP, ready_at=T0), "its next turn"),
        (record(waits="{"), "news"),
    ],
)
def test_short_fits_into_a_list(record: RunRecord, text: str) -> None:
    assert short(record, T0) == text
