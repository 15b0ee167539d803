"""What happened to a run: rows as they lie in the log, and the closed set of kinds they have.

A row is a plain tuple, because replay reads hundreds of thousands of them a second and most are never decoded.
`wire.event_of(row)` gives the typed event for looking, `wire.row_of(event)` writes one.

    asks        step · timer · signal · child · start · watch · look · tell      what the code asked
    marks       set · unset · note · patched · drop                what the code did, and needs no answer
    answers     returned · raised · fired · received               what came back; `ref` is the seq of the ask
    attempts    attempt · attempt_failed · interrupted
    the run     started · paused · resumed · parked · retried · code_changed · forked · rejected · cancelling ·
                continued · completed · failed · cancelled
"""

from typing import NamedTuple

from msgspec import Raw, Struct

from durable_nb.history.failure import Failure
from durable_nb.history.values import Value

ANYTHING = Raw(b"null")  # the schema of a signal that may be any value


class Row(NamedTuple):
    """One event as it is stored. `data` is the JSON of what the other columns do not say."""

    seq: int
    kind: str
    ref: int | None
    name: str | None
    data: bytes
    at: float


ASKS = frozenset({"step", "timer", "signal", "child", "start", "watch", "look", "tell"})
CODE = ASKS | {"set", "unset", "note", "patched", "drop"}  # what the code made, in its order
ANSWERS = frozenset({"returned", "raised", "fired", "received"})
ENDINGS = frozenset({"continued", "completed", "failed", "cancelled"})


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
    state: dict[str, Value] = {}  # the run's own data at the beginning of this execution


class StepAsked(Event, frozen=True, kw_only=True):
    """The flow called a step. Without `due` the first attempt begins with this very commit."""

    name: str
    arguments: Value
    due: float | None = None
    elsewhere: bool = False
    tag: str = ""
    session: str = ""
    queue: str = ""


class TimerAsked(Event, frozen=True, kw_only=True):
    """The flow asked to be woken at `due`."""

    due: float


class SignalAsked(Event, frozen=True, kw_only=True):
    """The flow takes its turn at a mailbox. `type` is the JSON schema of what it expects."""

    name: str
    type: Raw = ANYTHING


class ChildAsked(Event, frozen=True, kw_only=True):
    """The flow called another flow; the child's id is its own where the call gave none."""

    name: str
    arguments: Value
    id: str | None = None
    version: str | None = None


class StartAsked(Event, frozen=True, kw_only=True):
    """The flow started a run that it does not wait for."""

    name: str
    arguments: Value
    id: str | None = None
    version: str | None = None


class WatchAsked(Event, frozen=True, kw_only=True):
    """The flow waits for the end of another run."""

    run: str


class LookAsked(Event, frozen=True, kw_only=True):
    """The flow looked at the state of another run."""

    name: str
    run: str


class TellAsked(Event, frozen=True, kw_only=True):
    """The flow sent a signal to another run, or cancelled it (`name` is the verb)."""

    name: str
    run: str
    mailbox: str | None = None
    key: str | None = None
    value: Value | None = None


class StateSet(Event, frozen=True, kw_only=True):
    """The flow set a key of the run's own data."""

    name: str
    value: Value


class StateRemoved(Event, frozen=True, kw_only=True):
    """The flow removed a key of the run's own data."""

    name: str


class Noted(Event, frozen=True, kw_only=True):
    """The flow said how far it is."""

    value: Value


class Patched(Event, frozen=True, kw_only=True):
    """The run has the newer code at the place of this patch."""

    name: str


class Dropped(Event, frozen=True, kw_only=True):
    """The flow gave an ask up: it lost a race, or was cancelled."""

    ref: int


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


class Received(Event, frozen=True, kw_only=True):
    """A signal for a wait. `mail` is its number in the inbox, where it goes back to when the flow gives it back."""

    ref: int
    name: str
    value: Value
    mail: int
    sender: str
    sent_at: float
    key: str | None = None


class SignalRejected(Event, frozen=True, kw_only=True):
    """A signal was not of the type that the flow waits for; the wait goes on."""

    ref: int
    name: str
    value: Value
    sentence: str
    sender: str
    key: str | None = None


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


class Forked(Event, frozen=True, kw_only=True):
    """What stands before this was copied from another run."""

    origin: str
    uid: str
    at_event: int


class Cancelling(Event, frozen=True, kw_only=True):
    """Somebody wants the run to end: the flow gets `Cancelled`, and may clean up until `until`."""

    reason: str
    sender: str
    until: float


class Continued(Event, frozen=True, kw_only=True):
    """This execution is over; the next one begins with new arguments."""


class Completed(Event, frozen=True, kw_only=True):
    """The flow returned."""

    value: Value


class RunFailed(Event, frozen=True, kw_only=True):
    """The flow raised. `cut` is where a retry would begin."""

    failure: Failure
    cut: int


class RunCancelled(Event, frozen=True, kw_only=True):
    """The run was cancelled. Where it was cut off its code never heard of it: somebody ended it while that waited."""

    sentence: str
    is_cut_off: bool = False


AnyEvent = (
    Started
    | StepAsked
    | TimerAsked
    | SignalAsked
    | ChildAsked
    | StartAsked
    | WatchAsked
    | LookAsked
    | TellAsked
    | StateSet
    | StateRemoved
    | Noted
    | Patched
    | Dropped
    | Received
    | SignalRejected
    | Forked
    | Cancelling
    | Continued
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
