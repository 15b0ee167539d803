"""One turn: run the flow's code from its first line against a cursor, and say how it ended."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from msgspec import Struct

from durable_nb.engine.cursor import Cursor, Suspended, Ticket
from durable_nb.engine.mismatch import Mismatch
from durable_nb.errors import Cancelled
from durable_nb.history.calls import Ask
from durable_nb.history.events import Forked, Row
from durable_nb.history.wire import event_of

# What the present code is inside of: a Turn (flow code), a step's place, or None. Flows and runtime set it.
place: ContextVar[Any] = ContextVar("durable_nb_place", default=None)


class ContinueAsNew(BaseException):
    """The flow begins again with these arguments, in a history of its own. Let it pass."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.given = args, kwargs


class Turn:
    """The code of a run while it runs: who it is, its cursor, and what is kept for it until the turn is over."""

    __slots__ = (
        "chance", "chance_of", "cursor", "execution", "handed", "id", "loop", "patches", "raised", "reader", "run_uid", "sink",
        "state", "taken", "version",
    )  # fmt: skip

    def __init__(self, id: str, run_uid: str, execution: int, version: str | None, cursor: Cursor, reader: Any) -> None:
        self.id = id
        self.run_uid = run_uid
        self.execution = execution
        self.version = version
        self.cursor = cursor
        self.reader = reader  # values in and out of the log, given by whoever carries the run
        self.chance: Any = None  # the run's one random.Random, made on first use
        self.chance_of = ""  # whose uid has seeded it
        self.sink: Any = None  # where its output goes
        self.loop: Any = None  # of an async flow
        self.state: dict[str, Any] = {}  # the run's own data as the code sees it: key -> Value
        self.taken: dict[int, Ticket] = {}  # signals that came and that the code has not looked at, by their answer
        self.patches: dict[str, bool] = {}
        self.raised: dict[int, BaseException] = {}  # answer's seq -> the exception the code got for it
        self.handed: dict[int, Any] = {}  # answer's seq -> a large value that need not be read from the log

    @property
    def seed(self) -> str:
        """The uid that chance is drawn with here: what was copied from another run was drawn with that one's."""
        for row in self.cursor.forks_ahead():
            event = event_of(row)
            assert isinstance(event, Forked)
            return event.uid
        return self.run_uid

    def call(self, ask: Ask) -> Row:
        """Ask and wait, in an async flow too: its other tasks stand still meanwhile."""
        if self.loop is None:
            return self.cursor.call(ask)
        with self.loop.outside():
            return self.cursor.call(ask)


class Returned(Struct, frozen=True):
    """The flow returned; `unsent` is what it had asked and never waited for."""

    value: Any
    unsent: list[Ticket]


class Raised(Struct, frozen=True):
    """The flow raised. `answer` is the step's failure that caused it, None when the flow's own line did."""

    error: BaseException
    answer: int | None
    unsent: list[Ticket]


class CancelledRun(Struct, frozen=True):
    """The run was being cancelled and its flow let that pass."""

    reason: str
    unsent: list[Ticket]


class Continued(Struct, frozen=True):
    """The flow begins again with these arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    unsent: list[Ticket]


class Waiting(Struct, frozen=True):
    """The flow waits and its code is unwound."""


class Interrupted(Struct, frozen=True):
    """A person interrupted the flow's code."""


class Mismatched(Struct, frozen=True):
    """Code and history do not fit."""

    mismatch: Mismatch


class Swallowed(Struct, frozen=True):
    """The code ended although it was suspended: something caught the suspension at this line."""

    line: str


Outcome = Returned | Raised | CancelledRun | Continued | Waiting | Interrupted | Mismatched | Swallowed


def run_turn(turn: Turn, code: Callable[[], Any]) -> Outcome:
    """Run the code to its end or its next wait."""
    cursor = turn.cursor
    token = place.set(turn)
    try:
        value = code()
        return _checked(cursor, lambda unsent: Returned(value, unsent))
    except Suspended:
        return Waiting()
    except Mismatch as found:
        return Mismatched(found)
    except KeyboardInterrupt:
        return Interrupted()
    except ContinueAsNew as again:
        args, kwargs = again.given
        return _checked(cursor, lambda unsent: Continued(args, kwargs, unsent))
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
        caught = error
        if isinstance(caught, Cancelled) and cursor.cancelling is not None:
            reason = str(caught)
            return _checked(cursor, lambda unsent: CancelledRun(reason, unsent))
        return _checked(cursor, lambda unsent: Raised(caught, _cause(turn, caught), unsent))
    finally:
        place.reset(token)


def _checked(cursor: Cursor, outcome: Callable[[list[Ticket]], Outcome]) -> Outcome:
    """The outcome of code that ended by itself, unless it had been told to stop or the log goes on."""
    if isinstance(cursor.closed, Mismatch):
        return Mismatched(cursor.closed)
    if cursor.closed is not None:
        return Swallowed(cursor.closed_line)
    try:
        return outcome(cursor.finish())
    except Mismatch as found:
        return Mismatched(found)


def _cause(turn: Turn, error: BaseException | None) -> int | None:
    """The answer whose failure the error is, or was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        for seq, raised in turn.raised.items():
            if raised is error:
                return seq
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None
