"""The lease of one run: what is known under it, and every way to write under it.

Commits ride on each other: the answer of step k is written with the ask of step k+1, and alone when no ask follows at
once. A number is given to a row when the code sees it, so the order of the log is the order of revealing.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from durable_nb.engine.cursor import Suspended
from durable_nb.engine.turn import Turn
from durable_nb.errors import LogError
from durable_nb.history import wire
from durable_nb.history.events import Row
from durable_nb.history.summary import effective
from durable_nb.history.values import payloads
from durable_nb.runtime.interrupt import Interrupts
from durable_nb.runtime.options import LONG, PATIENCE
from durable_nb.runtime.output import Echo, Sink, position, show_rest
from durable_nb.runtime.reader import Reader
from durable_nb.runtime.shared import Shared
from durable_nb.stores.protocol import Commit, MailArrived, Release, RunRecord

_logger = logging.getLogger("durable_nb.lease")


class Ending(msgspec.Struct, frozen=True):
    """Why the port closed the turn, when it was not just to wait."""

    status: str  # paused, parked, lost, broken, stopping
    reason: str = ""
    sentence: str = ""
    ask: int | None = None
    error: BaseException | None = None


class Lease:
    """A run in the hands of this process."""

    def __init__(self, shared: Shared, record: RunRecord, echo: Echo, log: Sequence[Row]) -> None:
        self.shared = shared
        self.record = record
        self.log = list(log)
        self.rows = effective(self.log)
        self.head = self.log[-1].seq if self.log else 0
        self.mail_known = record.mail
        self.mail_seen = 0  # the mark at the last look into the inbox
        self.mail_taken = 0  # the newest mail that is in the history
        self.is_lost = False
        self.was_told = False  # there may be mail above the mark
        self.turn: Turn | None = None
        self.waits: Row | None = None  # the ask that the code waits for
        self.ending: Ending | None = None
        self.broken: LogError | None = None
        self.was_interrupted = False
        self.error: BaseException | None = None  # what the flow's code raised, for the caller on this thread
        self.wake_at: float | None = None
        self.pending: Row | None = None
        self.pending_since = 0.0
        self.step_since = 0.0  # monotonic time at which a step in place began, 0 when none runs
        self.lock = threading.Lock()
        self.nudge = threading.Event()
        self.interrupts = Interrupts()
        self.sink = Sink(shared.now, echo)
        self.reader = Reader(shared.values, shared.now, self.park)
        if record.mail:
            self.look_for_orders()  # no commit will tell of what came before the claim

    # writing

    def append(self, row: Row) -> None:
        """Write the pending answer and one plain row: `commit` at the price of a step."""
        with self.lock:
            pending = self.pending
            if pending is None or b'"codec":' not in pending.data:  # else it may refer to payloads
                rows = [row] if pending is None else [pending, row]
                mark = self.shared.store.append(self.record.key, self.record.lease, self.mail_known, rows)
                self.pending = None
                self.log += rows
                self.head = row.seq
                if mark == self.mail_known:
                    return
                self.mail_known = mark
                self.look_for_orders()
                return
        self.commit([row])

    def commit(self, rows: Sequence[Row], **more: Any) -> list[Row]:
        """Write the pending answer and these rows, under the lock; returns the rows as they lie in the log now."""
        uid = self.record.uid
        rows = [self.shared.values.mark_row(row, uid) for row in rows]
        with self.lock:
            whole = [self.pending, *rows] if self.pending is not None else rows
            refers = [(row.seq, name) for row in whole for name in _payloads_of(row)]
            commit = Commit(
                self.record.key, self.record.lease, self.mail_known, whole, self.shared.now(), payloads=refers, **more
            )
            mark = self.shared.store.commit(commit)
            self.pending = None
            self.log.extend(whole)
        if rows:
            self.head = rows[-1].seq
            self._warn_if_long(len(rows))
        if mark > self.mail_known:
            self.mail_known = mark
            self.look_for_orders()
        return rows

    def _warn_if_long(self, added: int) -> None:
        if self.head >= LONG > self.head - added:
            _logger.warning("run %r has %d events; every wake-up replays them all", self.record.id, self.head)

    def new_row(self, kind: str, ref: int | None, name: str | None, data: bytes, ahead: int = 1) -> Row:
        return Row(self.head + ahead, kind, ref, name, data, self.shared.now())

    def hold(self, row: Row) -> Row:
        """Keep an answer for the next commit; the flusher writes it if none comes."""
        row = self.shared.values.mark_row(row, self.record.uid)
        with self.lock:
            self.pending = row
            self.pending_since = time.monotonic()
            self.head = row.seq
        self.shared.on_answer()
        return row

    def flush(self, older_than: float = 0.0) -> None:
        """Commit the pending answer alone, if it has waited that long."""
        with self.lock:
            row = self.pending
            if row is None or time.monotonic() - self.pending_since < older_than:
                return
            refers = [(row.seq, name) for name in _payloads_of(row)]
            commit = Commit(self.record.key, self.record.lease, self.mail_known, [row], row.at, payloads=refers)
            self.shared.store.commit(commit)  # new mail, if any, is found with the next commit
            self.pending = None
            self.log.append(row)

    def release(self, rows: Sequence[Row], release: Release, **more: Any) -> None:
        """Write what is left and give the lease back; MailArrived when the code would wait although it has mail."""
        while True:
            try:
                self.commit(rows, release=release, **more)
                break
            except MailArrived:
                if release.status == "waiting":
                    self.flush()  # or the answer that was to ride were lost with this turn, and its step would run again
                    self.flush_output()
                    raise
                # What does not wait needs no mail: a late answer must not undo a pause or an end.
                self.mail_known = self.shared.newest_mail(self.record.key)
        if release.ready_at is not None:
            self.shared.on_due(release.ready_at)
        show_rest(self.sink)
        self.flush_output()

    def recall(self, ask: int) -> int:
        """How far earlier attempts of the ask have come."""
        self.flush_output()  # what the attempt before has told may still wait to be written
        return position(self.shared.store.output(self.record.key), ask)

    def flush_output(self) -> None:
        pieces = self.sink.take()
        if pieces:
            self.shared.store.put_output(self.record.key, pieces)

    def arguments(self) -> dict[str, Any]:
        """The arguments the run was started with."""
        return self.shared.values.started_with(self.log, self.record.uid, self.record.flow)

    def raise_broken(self) -> None:
        """Raise what kept the turn from being written, if anything did."""
        if self.ending is not None and self.ending.error is not None:
            raise self.ending.error

    def close_turn(self) -> None:
        """Instead of the flow's code, when that cannot run."""
        assert self.turn is not None
        self.turn.cursor.close(Suspended())

    def park(self, reason: str, sentence: str, ask: int | None = None) -> None:
        """The turn ends here and the run waits for a person."""
        self.ending = Ending("parked", reason, sentence, ask)

    def pause(self, sentence: str) -> None:
        """The turn ends here and the run goes on when somebody resumes it."""
        self.ending = Ending("paused", sentence=sentence)

    # waiting

    def tell(self) -> None:
        """There may be mail for the run. Only a commit moves the mark, or it would hide an order from the next one."""
        self.was_told = True
        self.nudge.set()

    def look_for_orders(self) -> None:
        """Mail that must not wait for a wait: pause."""
        for mail in self.shared.store.mail(self.record.key, self.mail_taken):
            if mail.kind == "pause":
                self.pause(f"paused by {mail.sender}")

    def may_wait(self, until: float | None, since: float) -> bool:
        """Wait a little in place for news or a time; False when it is time to give the thread back."""
        left = PATIENCE - (time.monotonic() - since)
        if until is not None:
            left = min(left, self.shared.clock.real_wait(until - self.shared.now()))
            if until <= self.shared.now():
                return True
        if left <= 0 or not self.shared.is_patient:
            return False
        self.nudge.wait(left)
        self.nudge.clear()
        return self.ending is None and not self.is_stopped()

    def is_stopped(self) -> bool:
        """Whether the turn is to end here; closing the app ends every turn."""
        if self.shared.is_stopping and self.ending is None:
            self.ending = Ending("stopping")
        return self.ending is not None


def _payloads_of(row: Row) -> list[str]:
    """The payloads a row refers to, each once."""
    if b'"payload":' not in row.data:
        return []
    event = wire.event_of(row)
    found: dict[str, None] = {}
    for field in ("value", "arguments"):
        value = getattr(event, field, None)
        if value is not None:
            found.update(dict.fromkeys(payloads(value)))
    failure = getattr(event, "failure", None)
    if failure is not None and failure.error is not None:
        found.update(dict.fromkeys(payloads(failure.error)))
    return list(found)
