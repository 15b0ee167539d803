"""For tests of durable code: a clock that only moves when told, crash points, and histories to replay new code against."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from durable_nb.app import App
from durable_nb.client import ENDED
from durable_nb.codec.sign import load_signer
from durable_nb.durations import Duration, seconds
from durable_nb.engine.turn import Raised as RaisedOutcome, Returned
from durable_nb.errors import Unstorable, Untrusted
from durable_nb.flows.flow import Flow
from durable_nb.flows.run import Run
from durable_nb.flows.values import Values
from durable_nb.history import events as e
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores import database

_START = 1_750_000_000.0
_TURNS = 100_000
_LOOK = 0.005  # real seconds after which whoever waits for this clock looks at it again


class FakeClock:
    """A clock that stands still until `advance`. Pass it to connect(clock=…)."""

    def __init__(self, start: float = _START) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def real_wait(self, seconds: float) -> float:
        return _LOOK

    def advance(self, duration: Duration) -> None:
        """Time goes on."""
        self._now += seconds(duration)

    def jump_to(self, at: float) -> None:
        """Set the clock, backwards too."""
        self._now = at


def run_until_idle(app: App) -> int:
    """Carry everything that is due at the clock's present time; returns the number of turns and steps done on this thread.

    Where the app has threads of its own, they take part, and this waits until they are idle too.
    """
    turns = 0
    while turns < _TURNS:
        if app.turn():
            turns += 1
        elif not app.is_busy:
            return turns
        else:
            time.sleep(_LOOK)
    raise AssertionError(f"there is still something due after {_TURNS} turns; does a flow wake itself for ever?")


def run_to_end(app: App, run: Run) -> Any:
    """Carry a run to its end and return its result, moving the app's FakeClock from one due time to the next."""
    assert isinstance(app.clock, FakeClock), "run_to_end needs connect(clock=FakeClock())"
    while True:
        run_until_idle(app)
        if run.status in ENDED or run.status in ("parked", "paused"):
            return run.result()
        due = app.next_due()
        if due is None:
            raise AssertionError(f"nothing is due and the run has not ended: {run.why()}")
        app.clock.jump_to(max(due, app.clock.now()))


class SimulatedCrash(BaseException):
    """The process dies here, as far as the log can tell."""


class CrashPoint:
    """Counts commits and, at the chosen one, ends all writing: before it or right after it."""

    def __init__(self, at: int | None, when: str) -> None:
        if when not in ("before commit", "after commit"):
            raise ValueError(f'when={when!r}: a crash comes "before commit" or "after commit"')
        self.commits = 0
        self.is_dead = False
        self._at = at
        self._when = when

    def __call__(self, when: str) -> None:
        if self.is_dead:
            raise SimulatedCrash
        if when == "before commit":
            self.commits += 1
        if self.commits == self._at and when == self._when:
            self.is_dead = True
            raise SimulatedCrash


@contextmanager
def crash_at(commit: int | None = None, when: str = "before commit") -> Iterator[CrashPoint]:
    """Within the block, the `commit`-th commit of any log of this process crashes; without a number, count only.

    Works for apps without background threads, connect(carriers=0), whose turns run on the calling thread.
    """
    point = CrashPoint(commit, when)
    before = database.crash_point
    database.crash_point = point
    try:
        yield point
    finally:
        database.crash_point = before


def abandon(app: App) -> None:
    """Leave the app as a killed process would: nothing is written, its locks are free, its runs are not given back."""
    app.abandon()


class _NoPayloads:
    """A frozen history carries no large values."""

    def put_chunks(self, chunks: object) -> None:
        raise Unstorable("a replay stores nothing")

    def put_payload(self, digest: str, size: int, chunks: object) -> bool:
        raise Unstorable("a replay stores nothing")

    def payload(self, digest: str, first: int = 0, count: int | None = None) -> None:
        return None

    def code(self, digest: str) -> None:
        return None


class _Frozen(NamedTuple):
    """Whose history was frozen."""

    id: str
    uid: str
    execution: int
    version: str | None = None


def replay(path: str | Path, flow: Flow[..., Any], *, trust: bool = False) -> Any:
    """Run the flow's present code against a frozen history (`run.freeze(path)`).

    AssertionError with both sides when they do not fit; else what the flow returned or raised, None when it still waits.
    A history that was frozen with another key holds pickles (exceptions are such) which only `trust=True` decodes.
    """
    frozen = msgspec.json.decode(Path(path).read_bytes())
    rows = [
        e.Row(row["seq"], row["kind"], row["ref"], row["name"], msgspec.json.encode(row["data"]), row["at"])
        for row in frozen["rows"]
    ]
    values = Values(_NoPayloads(), load_signer(), frozen["log"])
    signed = [values.mark_row(row, frozen["uid"]) for row in rows]
    if not trust and any(
        msgspec.json.decode(mine.data) != msgspec.json.decode(row.data) for mine, row in zip(signed, rows, strict=True)
    ):
        raise Untrusted(
            f"{path} was frozen with another key; replay(…, trust=True) decodes the pickles in it all the same: "
            "right for a file of your own repository"
        )
    rows = signed
    outcome, wrong = rehearse(rows, flow, _Frozen(frozen["id"], frozen["uid"], frozen.get("execution", 1)), values)
    if wrong is not None:
        raise AssertionError(wrong)
    if isinstance(outcome, Returned):
        return outcome.value
    return outcome.error if isinstance(outcome, RaisedOutcome) else None
