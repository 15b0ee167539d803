"""A port that only reveals: to check code against a finished or waiting history without writing anything."""

from collections.abc import Mapping, Sequence

from durable_nb.engine.cursor import Ticket, Wait
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row


class Replayer:
    """Suspends at the end of the log; `asked` keeps what the code wanted there."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []

    def exchange(self, asks: Sequence[Ticket], wait: Wait | None, open: Mapping[int, Ticket]) -> Sequence[Row] | None:
        self.asked.extend(ticket.ask for ticket in asks)
        return None
