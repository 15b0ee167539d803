"""What an ask that was not waited for at once will come to."""

from typing import Any, Generic, TypeVar

from durable_nb.engine.cursor import Ticket
from durable_nb.engine.turn import Turn
from durable_nb.errors import NotInFlow
from durable_nb.flows.outcome import outcome_of
from durable_nb.flows.place import turn_or_none
from durable_nb.where import calling_line

T = TypeVar("T")


class Future(Generic[T]):
    """The outcome of a spawned step or a timer. It belongs to the flow that made it."""

    __slots__ = ("_ticket", "_turn")

    def __init__(self, turn: Turn, ticket: Ticket) -> None:
        self._turn = turn
        self._ticket = ticket

    def result(self) -> T:
        """Wait for the outcome: the step's value, or its failure raised."""
        if turn_or_none() is not self._turn:
            raise NotInFlow(f"a future belongs to the flow that made it; wait for it there, not at {calling_line()}")
        row = self._turn.cursor.wait(self._ticket)
        value: Any = outcome_of(self._turn, row, self._ticket.ask.name)
        return value  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        ask = self._ticket.ask
        state = "settled" if self._ticket.answer is not None else "open"
        return f"<Future {ask.kind} {ask.name or ''} {state}>".replace("  ", " ")
