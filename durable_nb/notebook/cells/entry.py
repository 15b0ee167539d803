"""One time that a cell was begun, and what came of it, folded from the rows of the book."""

from typing import NamedTuple

from durable_nb.errors import Corrupt
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.failure import Failure
from durable_nb.notebook.cells.asked import Asked, asked_of


class Entry(NamedTuple):
    """One time that a cell was begun, and what came of it."""

    seq: int
    cell: str
    at: float
    row: Row
    attempts: int = 1
    attempt_at: float = 0.0
    answer: Row | None = None
    was_interrupted: bool = False
    is_dropped: bool = False
    code: str = ""  # digest of the cell's code; "" for a row that cannot be read

    @property
    def asked(self) -> Asked:
        return asked_of(self.row)

    @property
    def due(self) -> float | None:
        """When a delayed cell may begin."""
        event = wire.event_of(self.row)
        return event.due if isinstance(event, e.StepAsked) else None

    @property
    def is_saved(self) -> bool:
        return self.answer is not None and self.answer.kind == "returned" and self.code != ""

    @property
    def failure(self) -> Failure | None:
        return wire.failure_of(self.answer) if self.answer is not None and self.answer.kind == "raised" else None


def begun(row: Row) -> Entry:
    """The entry of a cell that begins. A row that cannot be read spoils no other: it has no code, and is no outcome."""
    try:
        code = asked_of(row).code
    except Corrupt:
        code = ""
    return Entry(row.seq, row.name or "", row.at, row, attempt_at=row.at, code=code)


def after(entry: Entry, row: Row) -> Entry:
    match row.kind:
        case "returned" | "raised":
            return entry._replace(answer=row)
        case "attempt":
            return entry._replace(attempts=entry.attempts + 1, attempt_at=row.at, was_interrupted=False)
        case "interrupted":
            return entry._replace(was_interrupted=True)
        case "drop":
            return entry._replace(is_dropped=True)
    return entry


def is_like(before: Asked, now: Asked) -> bool:
    """Whether it is the same cell on the same inputs."""
    return before.code == now.code and before.inputs == now.inputs
