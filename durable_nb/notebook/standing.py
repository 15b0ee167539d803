"""What a log holds for somebody who opens it: runs to resume, signals to send, cells to restore."""

from collections.abc import Iterable
from typing import NamedTuple

from durable_nb.app import App
from durable_nb.client import CELLS
from durable_nb.durations import spoken
from durable_nb.notebook.cells.book import Book
from durable_nb.stores.shapes import Query, RunRecord
from durable_nb.views.sentences import waits_of

_MOST = 1000  # runs that are looked at one by one; a log with more says "1000+"


class Standing(NamedTuple):
    """`seconds` is what the restorable cells took when they ran."""

    resumable: int
    needed: dict[str, int]  # signal -> how many runs wait for it
    stopped: int  # paused or parked: they wait for a person
    cells: int
    seconds: float

    @property
    def sentence(self) -> str:
        """One line; empty for a new log."""
        parts = []
        if self.resumable:
            parts.append(f"{_counted(self.resumable, 'run')} to resume")
        parts += [
            f"{_some(count)} wait{'s' if count == 1 else ''} for `{name}`"
            for name, count in sorted(self.needed.items())
        ]
        if self.stopped:
            parts.append(f"{_some(self.stopped)} paused or parked")
        if self.cells:
            saving = f", saving {spoken(self.seconds)}" if self.seconds >= 1 else ""
            parts.append(f"{_counted(self.cells, 'cell')} restorable{saving}")
        return " · ".join(parts)


def standing(app: App, book: Book) -> Standing:
    """What stands in the log right now."""
    book.look()
    waiting, now = _runs(app, "waiting"), app.now()
    needed: dict[str, int] = {}
    resumable = len(_runs(app, "pending")) + len(_runs(app, "running"))
    for run in waiting:
        names = {one.name for one in waits_of(run) if one.kind == "signal" and one.name}
        if names and (run.ready_at is None or run.ready_at > now):  # with a timeout it has a time of its own
            for name in names:
                needed[name] = needed.get(name, 0) + 1
        else:
            resumable += 1
    for name in book.open_waits():
        needed[name] = needed.get(name, 0) + 1
    stopped = len(_runs(app, "paused")) + len(_runs(app, "parked"))
    newest = [found[0] for cell in book.cells() if (found := book.saved(cell, 1))]
    took = sum(entry.answer.at - entry.attempt_at for entry in newest if entry.answer is not None)
    return Standing(resumable, needed, stopped, len(newest), took)


def _runs(app: App, status: str) -> list[RunRecord]:
    return list(_carried(app.store.find(Query(status=status, limit=_MOST))))


def _carried(records: Iterable[RunRecord]) -> Iterable[RunRecord]:
    """Without the run of the durable cells, which nobody carries."""
    return (record for record in records if record.flow != CELLS)


def _some(count: int) -> str:
    return f"{count}+" if count >= _MOST else str(count)


def _counted(count: int, noun: str) -> str:
    return f"{_some(count)} {noun}{'s' if count != 1 else ''}"
