"""What asks that were not waited for at once will come to: one, all of several, the first of several."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from durable_nb.durations import Duration, moment, seconds, spoken
from durable_nb.engine.cursor import Ticket
from durable_nb.engine.turn import Turn
from durable_nb.errors import NotInFlow, StepFailed
from durable_nb.flows.outcome import outcome_of
from durable_nb.flows.place import turn_here, turn_or_none
from durable_nb.history import calls
from durable_nb.where import calling_line

T = TypeVar("T")


class Future(Generic[T]):
    """What will come of something that was begun. It belongs to the flow that made it."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._is_kept = False
        self._awaiting = 0
        self._listeners: list[Callable[[], None]] = []

    def result(self, timeout: Duration | None = None) -> T:
        """Wait for it: the value, or the failure raised. After `timeout` a TimeoutError; the future stays usable."""
        turn = self._here()
        if turn.loop is not None:
            raise NotInFlow(f"write `await` instead of .result() in an async flow, at {calling_line()}")
        if not self.is_settled and timeout is None:
            turn.cursor.wait(lambda: self.is_settled, list(self.tickets()))
        elif not self.is_settled and timeout is not None:
            self._wait_until(turn, timeout)
        return self.outcome()

    def keep(self) -> "Future[T]":
        """The same future, which goes on when it loses a race."""
        self._is_kept = True
        return self

    def __await__(self) -> Generator[Any, None, T]:
        turn = self._here()
        if turn.loop is None:
            raise NotInFlow(f"write .result() instead of `await` in a plain flow, at {calling_line()}")
        if not self.is_settled:
            self._awaiting += 1
            waiter = turn.loop.waiter(self._leave)
            self.listen(waiter.settle)
            yield from waiter
        return self.outcome()

    def _leave(self) -> None:
        """A task that awaits it was cancelled; the last one to go gives it up."""
        self._awaiting -= 1
        if not self._awaiting:
            self.give_up()

    def _wait_until(self, turn: Turn, timeout: Duration) -> None:
        due = moment(timeout, turn.reader.now())
        clock = turn.cursor.begin(calls.Ask("timer", None, calls.encode(calls.TimerCall(due))))
        turn.cursor.wait(lambda: self.is_settled or clock.answer is not None, [*self.tickets(), clock])
        if not self.is_settled:
            waited = spoken(seconds(timeout)) if not hasattr(timeout, "tzinfo") else f"until {timeout}"
            raise TimeoutError(f"{self!r} did not come within {waited}, at {calling_line()}")
        turn.cursor.drop(clock)

    def _here(self) -> Turn:
        if turn_or_none() is not self._turn:
            raise NotInFlow(f"a future belongs to the flow that made it; wait for it there, not at {calling_line()}")
        return self._turn

    # for combinators

    @property
    def is_settled(self) -> bool:
        raise NotImplementedError

    @property
    def has_failed(self) -> bool:
        """Of a settled one: whether `outcome()` raises."""
        raise NotImplementedError

    def outcome(self) -> T:
        """Of a settled one: the value, or the failure raised."""
        raise NotImplementedError

    def tickets(self) -> Iterator[Ticket]:
        """The open asks that it waits for."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Nobody wants it any more: its asks are dropped, signals that it took go back."""
        raise NotImplementedError

    def listen(self, listener: Callable[[], None]) -> None:
        """Call the listener when it settles."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


class Asked(Future[T]):
    """The future of a single ask: a step, a timer, a child."""

    def __init__(self, turn: Turn, ticket: Ticket) -> None:
        super().__init__(turn)
        self._ticket = ticket
        ticket.listener = self._tell
        self._settled: Callable[[], T] | None = None

    @property
    def is_settled(self) -> bool:
        return self._ticket.answer is not None or self._ticket.is_dropped

    @property
    def has_failed(self) -> bool:
        return self._ticket.is_dropped or (self._ticket.answer is not None and self._ticket.answer.kind == "raised")

    def outcome(self) -> T:
        if self._settled is None:
            self._settled = self._look()
        return self._settled()

    def _look(self) -> Callable[[], T]:
        """Read the answer, once: a second look gives the same object."""
        answer = self._ticket.answer
        if answer is None:
            return _raising(StepFailed(f"{self!r} was given up: it lost a race, or what waited for it was cancelled"))
        try:
            value: Any = outcome_of(self._turn, answer, self._ticket.ask.name)
        except Exception as error:  # noqa: BLE001 - the failure of the step, raised again at each look
            return _raising(error)
        return lambda: value

    def tickets(self) -> Iterator[Ticket]:
        if self._ticket.answer is None:
            yield self._ticket

    def give_up(self) -> None:
        if self._settled is None and not self._ticket.is_dropped:
            self._turn.cursor.drop(self._ticket)
            self._tell()

    def __repr__(self) -> str:
        ask = self._ticket.ask
        state = "settled" if self.is_settled else "open"
        return f"<Future {ask.kind} {ask.name or ''} {state}>".replace("  ", " ")


class Signalled(Asked[T]):
    """The future of a signal; `convert` makes its value what the flow asked for."""

    def __init__(self, turn: Turn, ticket: Ticket, convert: Callable[[Any], T]) -> None:
        super().__init__(turn, ticket)
        self._convert = convert

    def _tell(self) -> None:
        self._turn.taken[id(self._ticket)] = self._ticket
        super()._tell()

    def give_up(self) -> None:
        self._turn.taken.pop(id(self._ticket), None)
        super().give_up()

    def _look(self) -> Callable[[], T]:
        self._turn.taken.pop(id(self._ticket), None)
        value = self._convert(super()._look()())
        return lambda: value


class Winner(NamedTuple):
    """Who won a race, and with what."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody needs here
    value: Any


class Several(Future[T]):
    """What several futures come to together."""

    def __init__(self, turn: Turn, members: Sequence[Future[Any]]) -> None:
        super().__init__(turn)
        self._members = list(members)
        self._is_settled = False
        self._failed: Future[Any] | None = None
        for index, member in enumerate(self._members):
            self._watch(index, member)

    def _watch(self, index: int, member: Future[Any]) -> None:
        if member.is_settled:
            self._came(index, member)
        else:
            member.listen(lambda: self._came(index, member))

    def _came(self, index: int, member: Future[Any]) -> None:
        """A member has settled."""
        raise NotImplementedError

    def _settle_with(self, member: Future[Any]) -> None:
        """This member decides; the others have lost, unless they are kept."""
        self._is_settled = True
        for other in self._members:
            if other is not member and not other._is_kept:
                other.give_up()
        self._tell()

    @property
    def is_settled(self) -> bool:
        return self._is_settled

    @property
    def has_failed(self) -> bool:
        return self._failed is not None

    def tickets(self) -> Iterator[Ticket]:
        for member in self._members:
            if not member.is_settled:
                yield from member.tickets()

    def give_up(self) -> None:
        for member in self._members:
            if not member._is_kept:
                member.give_up()


class Gathered(Several[list[Any]]):
    """All of them, in their order. The first failure is its own, and the others are cancelled."""

    def __init__(self, turn: Turn, members: Sequence[Future[Any]], return_exceptions: bool) -> None:
        self._left = len(members)
        self._return_exceptions = return_exceptions
        super().__init__(turn, members)
        self._is_settled = self._is_settled or not members

    def _came(self, index: int, member: Future[Any]) -> None:
        self._left -= 1
        if self._is_settled:
            return
        if member.has_failed and not self._return_exceptions:
            self._failed = member
            self._settle_with(member)
        elif not self._left:
            self._is_settled = True
            self._tell()

    def outcome(self) -> list[Any]:
        if self._failed is not None:
            self._failed.outcome()
        return [self._value(member) for member in self._members]

    def _value(self, member: Future[Any]) -> Any:
        if not self._return_exceptions:
            return member.outcome()
        try:
            return member.outcome()
        except Exception as error:  # noqa: BLE001 - asked for
            return error

    def __repr__(self) -> str:
        return f"<Future gather of {len(self._members)}, {self._left} open>"


class Raced(Several[Winner]):
    """The first of them. The losers are cancelled when it settles."""

    def __init__(self, turn: Turn, members: Sequence[Future[Any]]) -> None:
        self._winner: int | None = None
        super().__init__(turn, members)

    def _came(self, index: int, member: Future[Any]) -> None:
        if self._winner is not None:
            return
        self._winner = index
        if member.has_failed:
            self._failed = member
        self._settle_with(member)

    def outcome(self) -> Winner:
        assert self._winner is not None
        return Winner(self._winner, self._members[self._winner].outcome())

    def __repr__(self) -> str:
        return f"<Future race of {len(self._members)}, {'settled' if self._is_settled else 'open'}>"


class Mapped(Gathered):
    """One step over many items, at most `limit` of them at a time."""

    def __init__(self, turn: Turn, begin: Callable[[Any], Future[Any]], items: Sequence[Any], limit: int) -> None:
        self._begin = begin
        self._items = iter(items[limit:])
        super().__init__(turn, [begin(item) for item in items[:limit]], False)

    def _came(self, index: int, member: Future[Any]) -> None:
        if not self._is_settled and not member.has_failed:
            for item in self._items:
                self._left += 1
                following = self._begin(item)
                self._members.append(following)
                self._watch(len(self._members) - 1, following)
                break
        super()._came(index, member)


def gather(*futures: Any, return_exceptions: bool = False) -> Future[list[Any]]:
    """All of them, given one by one or as one iterable: a list of their values in that order."""
    turn = turn_here("gather")
    return Gathered(turn, _members("gather", futures), return_exceptions)


def race(*futures: Any) -> Future[Winner]:
    """The first of them: `Winner(index, value)`. A winner that failed raises; the losers are cancelled."""
    turn = turn_here("race")
    members = _members("race", futures)
    if not members:
        raise TypeError("race() needs at least one future")
    return Raced(turn, members)


def _members(verb: str, futures: tuple[Any, ...]) -> list[Future[Any]]:
    given: Iterable[Any] = futures
    if len(futures) == 1 and not isinstance(futures[0], Future):
        given = futures[0]
    members = list(given)
    for member in members:
        if not isinstance(member, Future):
            raise TypeError(
                f"{verb} takes futures, as .spawn(…), timer(…) and signal(…) give; {member!r} is {type(member).__name__}"
            )
    return members


def _raising(error: Exception) -> Callable[[], Any]:
    def raise_again() -> Any:
        raise error

    return raise_again
