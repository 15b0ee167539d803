"""One sentence for every state of a run."""

import pytest

from durable_nb.history.summary import asks
from durable_nb.stores.shapes import RunRecord
from durable_nb.views.sentences import short, why
from tests.views.histories import RETRIED, T0, asked, record, rows, started

RUN = "run 'one' of flow `bill` "
TIMER = '{"ask":7,"kind":"timer","due":1800003600.0}'
STEP = '{"ask":2,"kind":"step","name":"price"}'


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


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (record(status="completed"), ""),
        (record(status="failed", sentence="OSError: no\nnetwork"), "OSError: no …"),
        (record(status="pending", ready_at=T0), "has not begun"),
        (record(status="pending", ready_at=T0 + 60), "begins in 1 m (2027-01-15 08:01:00 UTC)"),
        (record(waits=TIMER, ready_at=T0 + 3600), "a timer, due in 1 h (2027-01-15 09:00:00 UTC)"),
        (record(waits=STEP), "step `price`"),
        (record(waits=STEP, ready_at=T0), "its next turn"),
        (record(waits="{"), "news"),
    ],
)
def test_short_fits_into_a_list(record: RunRecord, text: str) -> None:
    assert short(record, T0) == text
