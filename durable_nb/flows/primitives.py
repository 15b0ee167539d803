"""The verbs of flow code beside calling steps: waiting, time, chance, and who am I."""

import random as chance
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeVar

from durable_nb.durations import Duration, as_datetime, moment
from durable_nb.engine.turn import ContinueAsNew, Turn
from durable_nb.errors import NotInFlow
from durable_nb.flows.expected import Expected, checked_mailbox
from durable_nb.flows.futures import Asked, Future, Signalled
from durable_nb.flows.place import StepPlace, step_place, turn_here
from durable_nb.flows.state import kept_small
from durable_nb.history import calls
from durable_nb.where import calling_line

T = TypeVar("T")

LONG = 10_000  # events after which a flow that goes on for ever should begin a new execution


def sleep(duration: Duration | datetime) -> None:
    """Wait that long, or until that moment. The flow may be killed meanwhile; the time goes on."""
    if turn_here("sleep").loop is not None:
        raise NotInFlow(f"write `await asyncio.sleep(…)` or `await timer(…)` in an async flow, at {calling_line()}")
    _timer("sleep", duration).result()


def timer(duration: Duration | datetime) -> Future[None]:
    """A future that settles then; `.result()` waits for it."""
    return _timer("timer", duration)


def _timer(verb: str, duration: Duration | datetime) -> Future[None]:
    turn = turn_here(verb)
    due = moment(duration, turn.reader.now())
    return Asked(turn, turn.cursor.begin(calls.Ask("timer", None, calls.encode(calls.TimerCall(due)))))


def signal(name: str, type: Any = Any) -> Future[Any]:
    """Take a turn at the mailbox of that name; `.result()` waits for a signal that fits the type."""
    turn = turn_here("signal")
    expected = Expected(type)
    ask = calls.Ask("signal", checked_mailbox(name), calls.encode(calls.SignalCall(expected.schema)), expected)
    return Signalled(turn, turn.cursor.begin(ask), expected.convert)


def note(value: Any) -> None:
    """Say how far the run is: one short text or value, for people; `run.note` shows the last one."""
    turn = turn_here("note")
    turn.cursor.begin(calls.Ask("note", None, calls.encode(calls.Held(kept_small(turn, value, "note", "the note")))))


def patched(id: str) -> bool:
    """True in runs that reach this place with the newer code, False for ever in those that had passed it before."""
    turn = turn_here("patched")
    known = turn.patches.get(id)
    if known is None:
        known = turn.patches[id] = turn.cursor.is_next("patched", id)
        if known:
            turn.cursor.begin(calls.Ask("patched", id, b"{}"))
    return known


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this execution and begin the next one with these arguments: same run, empty history."""
    turn_here("continue_as_new")
    raise ContinueAsNew(args, kwargs)


def now() -> datetime:
    """The time of the last thing the flow has seen: the same in every replay, never backwards, aware UTC."""
    return as_datetime(turn_here("now").cursor.at)


def uuid4() -> uuid.UUID:
    """A random UUID that is the same in every replay."""
    return uuid.UUID(int=_chance(turn_here("uuid4")).getrandbits(128), version=4)


def random() -> chance.Random:
    """The run's own random numbers, the same in every replay."""
    return _chance(turn_here("random"))


def _chance(turn: Turn) -> chance.Random:
    seed = turn.seed
    if turn.chance_of != seed:
        turn.chance, turn.chance_of = chance.Random(f"{seed}/{turn.execution}"), seed
    generator: chance.Random = turn.chance
    return generator


class CurrentRun(NamedTuple):
    """The run that the calling flow code belongs to."""

    id: str
    uid: str
    execution: int
    version: str | None
    is_replaying: bool
    history_length: int

    @property
    def should_continue_as_new(self) -> bool:
        """Whether the history has become long enough to begin anew."""
        return self.history_length >= LONG


def current_run() -> CurrentRun:
    """The run, from its own flow code."""
    turn = turn_here("current_run")
    cursor = turn.cursor
    return CurrentRun(turn.id, turn.run_uid, turn.execution, turn.version, cursor.is_replaying, len(cursor.rows))


class CurrentStep:
    """The attempt that the calling step body belongs to."""

    __slots__ = ("_place",)

    def __init__(self, place: StepPlace) -> None:
        self._place = place

    @property
    def run_id(self) -> str:
        return self._place.id

    @property
    def name(self) -> str:
        return self._place.name

    @property
    def attempt(self) -> int:
        """1 for the first try; crashes and interruptions count as tries too."""
        return self._place.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every try of this call and for no other call: hand it to whatever must not happen twice."""
        return f"{self._place.uid}/{self._place.execution}/{self._place.ask}"

    @property
    def cancelled(self) -> bool:
        """True when nobody waits for this attempt any more; a good moment to stop."""
        return self._place.stop.is_set

    def heartbeat(self, detail: Any = None) -> None:
        """Say that the step is alive, with what it has reached; `run.output` and `run.why()` show the last one."""
        self._tell("heartbeat", "" if detail is None else str(detail))

    def progress(self, items: Iterable[T]) -> Iterator[T]:
        """Go over the items; a further attempt goes on after the last one whose end is in the log.

        The position is written about once a second, so the items of the last second may come again after a crash.
        """
        place = self._place
        done = place.recall(place.ask) if place.attempt > 1 else 0
        for number, item in enumerate(items, 1):
            if number > done:
                yield item
                self._tell("progress", str(number))

    def __reduce__(self) -> Any:
        """What it says of itself; what it could do is over with the attempt."""
        place = self._place
        return past_step, (place.id, place.uid, place.execution, place.ask, place.name, place.attempt)

    def _tell(self, stream: str, text: str) -> None:
        sink = self._place.sink
        if sink is not None:
            sink.tell(self._place.ask, self._place.attempt, stream, text)


def past_step(id: str, uid: str, execution: int, ask: int, name: str, attempt: int) -> CurrentStep:
    """An attempt that is over. Never renamed: logs name it."""
    return CurrentStep(StepPlace(id, uid, execution, ask, name, attempt, lambda ask: 0))


def current_step() -> CurrentStep:
    """The attempt, from its own body."""
    place = step_place()
    if place is None:
        raise NotInFlow("current_step works in the body of a step that a flow called")
    return CurrentStep(place)
