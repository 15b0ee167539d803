"""What happened to a run: rows as they lie in the log, and the closed set of kinds they have.

A row is a plain tuple, because replay reads hundreds of thousands of them a second and most are never decoded.
`wire.event_of(row)` gives the typed event for looking, `wire.row_of(event)` writes one.

    asks        step · timer                     what the code asked
    answers     returned · raised · fired        what came back; `ref` is the seq of the ask
    attempts    attempt · attempt_failed · interrupted
    the run     started · paused · resumed · parked · retried · code_changed · completed · failed · cancelled
"""

from typing import NamedTuple

from msgspec import Struct

from durable_nb.history.failure import Failure
from durable_nb.history.values import Value


class Row(NamedTuple):
    """One event as it is stored. `data` is the JSON of what the other columns do not say."""

    seq: int
    kind: str
    ref: int | None
    name: str | None
    data: bytes
    at: float


ASKS = frozenset({"step", "timer"})
ANSWERS = frozenset({"returned", "raised", "fired"})
ENDINGS = frozenset({"completed", "failed", "cancelled"})


class Event(Struct, frozen=True, kw_only=True):
    """What every event has: its place in the log and its time."""

    seq: int
    at: float


class Started(Event, frozen=True, kw_only=True):
    """The run exists: its flow, the code it is pinned to, its arguments."""

    flow: str
    code: str
    mark: str
    arguments: Value
    version: str | None = None


class StepAsked(Event, frozen=True, kw_only=True):
    """The flow called a step. Without `due` the first attempt begins with this very commit."""

    name: str
    arguments: Value
    due: float | None = None
    elsewhere: bool = False


class TimerAsked(Event, frozen=True, kw_only=True):
    """The flow asked to be woken at `due`."""

    due: float


class Returned(Event, frozen=True, kw_only=True):
    """A step returned a value."""

    ref: int
    value: Value


class Raised(Event, frozen=True, kw_only=True):
    """A step failed for good: its attempts are used up, or the failure is not one to retry."""

    ref: int
    failure: Failure


class Fired(Event, frozen=True, kw_only=True):
    """A timer is due."""

    ref: int


class AttemptStarted(Event, frozen=True, kw_only=True):
    """A further attempt of a step begins (the first one of a delayed step too)."""

    ref: int
    attempt: int


class AttemptFailed(Event, frozen=True, kw_only=True):
    """An attempt failed and another one follows at `retry_at`."""

    ref: int
    attempt: int
    failure: Failure
    retry_at: float


class AttemptInterrupted(Event, frozen=True, kw_only=True):
    """A person interrupted the attempt; it does not count against the step."""

    ref: int
    attempt: int


class Paused(Event, frozen=True, kw_only=True):
    """No turn runs until somebody resumes the run."""

    sentence: str


class Resumed(Event, frozen=True, kw_only=True):
    """A paused or parked run goes on."""

    sentence: str


class Parked(Event, frozen=True, kw_only=True):
    """The engine cannot go on by itself: why, at which ask, and what the run was before."""

    reason: str
    sentence: str
    ask: int | None = None
    before: str = "running"


class Retried(Event, frozen=True, kw_only=True):
    """A failed run goes on: what lies at and after `cut` is set aside, finished outcomes of earlier asks excepted."""

    cut: int


class CodeChanged(Event, frozen=True, kw_only=True):
    """The run goes on with other flow code, which replayed cleanly."""

    code: str
    mark: str


class Completed(Event, frozen=True, kw_only=True):
    """The flow returned."""

    value: Value


class RunFailed(Event, frozen=True, kw_only=True):
    """The flow raised. `cut` is where a retry would begin."""

    failure: Failure
    cut: int


class RunCancelled(Event, frozen=True, kw_only=True):
    """The run was cancelled."""

    sentence: str


AnyEvent = (
    Started
    | StepAsked
    | TimerAsked
    | Returned
    | Raised
    | Fired
    | AttemptStarted
    | AttemptFailed
    | AttemptInterrupted
    | Paused
    | Resumed
    | Parked
    | Retried
    | CodeChanged
    | Completed
    | RunFailed
    | RunCancelled
)
