"""The lease of one run: what is known under it, and every way to write under it.

Commits ride on each other: the answer of step k is written with the ask of step k+1, and alone when no ask follows at
once. A number is given to a row when the code sees it, so the order of the log is the order of revealing.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from durable_nb.engine.cursor import Suspended
from durable_nb.engine.turn import Turn
from durable_nb.errors import LogError
from durable_nb.flows.place import StepPlace
from durable_nb.history import wire
from durable_nb.history.events import ENDINGS, Cancelling, Row, Started
from durable_nb.history.summary import effective, started_of
from durable_nb.history.values import Value, payloads
from durable_nb.runtime.inbox import Inbox
from durable_nb.runtime.interrupt import Interrupts
from durable_nb.runtime.options import LONG, PATIENCE
from durable_nb.runtime.output import Echo, Sink, position, show_rest
from durable_nb.runtime.reader import Reader
from durable_nb.runtime.shared import Shared
from durable_nb.stores.protocol import MailArrived
from durable_nb.stores.shapes import Commit, Mail, Release, RunRecord

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
        self.inbox = Inbox()
        self.is_cancelling = any(row.kind == "cancelling" for row in self.rows)
        self.grace_until: float | None = _grace(self.rows) if self.is_cancelling else None
        self.is_lost = False
        self.has_ended = False
        self.was_told = False  # there may be mail above the mark
        self.turn: Turn | None = None
        self.waits: Sequence[Row] = ()  # the asks that the code waits for
        self.ending: Ending | None = None
        self.broken: LogError | None = None
        self.was_interrupted = False
        self.error: BaseException | None = None  # what the flow's code raised, for the caller on this thread
        self.wake_at: float | None = None
        self.pending: list[Row] = []  # rows that the code has seen and no commit has written yet
        self.pending_mail: list[int] = []  # what of them was in the inbox
        self.pending_freed: list[tuple[str, str]] = []  # keys of signals that were rejected among them
        self.pending_work: list[Mail] = []  # answers of steps in this process among them: their work is done with
        self.answers: deque[Mail] = deque()  # of steps in this process, which need no inbox
        self._answers_since = 0.0
        self._takes_answers = True
        self.pending_since = 0.0
        self.here: StepPlace | None = None  # of the step that runs in place now
        self.step_since = 0.0  # monotonic time at which a step in place began, 0 when none runs
        self.lock = threading.Lock()
        self.nudge = threading.Event()
        self.interrupts = Interrupts()
        self.sink = Sink(shared.now, echo)
        self.reader = Reader(shared.values, shared.now, self.park)
        if record.mail:
            self.look()  # no commit will tell of what came before the claim

    def renew(self, record: RunRecord) -> "Lease":
        """The same run, leased again, and nobody has written to its history since: everything known stays."""
        self.record, self.mail_known = record, record.mail
        self.waits, self.wake_at, self.ending = (), None, None
        self.was_interrupted, self.error, self.broken = False, None, None
        self.interrupts = Interrupts()
        self._takes_answers = True
        if record.mail > self.inbox.read_to:
            self.look()
        return self

    # writing

    def append(self, row: Row) -> None:
        """Write the pending answer and one plain row: `commit` at the price of a step."""
        with self.lock:
            pending = self.pending
            is_plain = len(pending) <= 1 and not self.pending_mail and not self.pending_work
            if is_plain and not (pending and b'"codec":' in pending[0].data):
                rows = [*pending, row]  # no payloads, no mail, no work that is done with
                mark = self.shared.store.append(self.record.key, self.record.lease, self.mail_known, rows)
                self.pending = []
                self.log += rows
                self.head = row.seq
                if mark == self.mail_known:
                    return
                self.mail_known = mark
                self.look()
                return
        self.commit([row])

    def commit(self, rows: Sequence[Row], **more: Any) -> list[Row]:
        """Write what is pending and these rows, under the lock; returns the rows as they lie in the log now."""
        uid = self.record.uid
        rows = [self.shared.values.mark_row(row, uid) for row in rows]
        with self.lock:
            mark = self._write([*self.pending, *rows], **more)
        if rows:
            self.head = rows[-1].seq
            self._warn_if_long(len(rows))
        if mark > self.mail_known:
            self.mail_known = mark
            self.look()
        return rows

    def _write(self, whole: Sequence[Row], **more: Any) -> int:
        """One commit, with the mail that pending rows have come from."""
        refers = [(row.seq, name) for row in whole for name in payloads_of(row)]
        taken = [*self.pending_mail, *more.pop("taken", ())]
        dropped = [*(answer.ask for answer in self.pending_work if answer.ask), *more.pop("dropped", ())]
        commit = Commit(
            self.record.key, self.record.lease, self.mail_known, whole, self.shared.now(), taken=taken,
            dropped=dropped, payloads=refers, freed=self.pending_freed, **more,
        )  # fmt: skip
        mark = self.shared.store.commit(commit)
        self.pending, self.pending_mail, self.pending_freed, self.pending_work = [], [], [], []
        self.log.extend(whole)
        return mark

    def _warn_if_long(self, added: int) -> None:
        if self.head >= LONG > self.head - added:
            _logger.warning("run %r has %d events; every wake-up replays them all", self.record.id, self.head)

    def new_row(self, kind: str, ref: int | None, name: str | None, data: bytes, ahead: int = 1) -> Row:
        return Row(self.head + ahead, kind, ref, name, data, self.shared.now())

    def hold(self, row: Row, mail: Mail | None = None) -> Row:
        """Keep a row that the code sees now for the next commit; the flusher writes it if none comes."""
        row = self.shared.values.mark_row(row, self.record.uid)
        with self.lock:
            if not self.pending:
                self.pending_since = time.monotonic()
            self.pending.append(row)
            if mail is not None and mail.seq:
                self.pending_mail.append(mail.seq)
                if row.kind == "rejected" and mail.key is not None:
                    self.pending_freed.append((mail.name or "", mail.key))
            elif mail is not None:
                self.pending_work.append(mail)
            self.head = row.seq
        if row.kind == "cancelling":
            self.is_cancelling = True
        self.shared.on_answer()
        return row

    def deliver(self, answer: Mail) -> bool:
        """An answer from a step of this process; False when it has to go through the inbox."""
        with self.lock:
            if not self._takes_answers:
                return False
            if not self.answers:
                self._answers_since = time.monotonic()
            self.answers.append(answer)
        self.nudge.set()
        self.shared.on_answer()
        return True

    def next_answer(self) -> Mail | None:
        with self.lock:
            return self.answers.popleft() if self.answers else None

    def old_answers(self, older_than: float) -> list[Mail]:
        """Answers that the flow has not taken for so long that they need the inbox: it may compute for hours."""
        with self.lock:
            if not self.answers or time.monotonic() - self._answers_since < older_than:
                return []
            left = list(self.answers)
            self.answers.clear()
        return left

    def leftovers(self) -> list[Mail]:
        """Answers of steps in this process that no commit has written: they have to go through the inbox after all."""
        with self.lock:
            self._takes_answers = False
            left = [*self.pending_work, *self.answers]
            self.pending_work = []
            self.answers.clear()
        return left

    def discard(self, mail: Mail) -> None:
        """Mail that has no place in the history goes with the next commit."""
        with self.lock:
            self.pending_mail.append(mail.seq)

    def flush(self, older_than: float = 0.0) -> None:
        """Commit what is pending, if it has waited that long."""
        with self.lock:
            if self.pending and time.monotonic() - self.pending_since >= older_than:
                self._write(self.pending)  # new mail, if any, is found with the next commit

    def release(self, rows: Sequence[Row], release: Release, **more: Any) -> None:
        """Write what is left and give the lease back; MailArrived when the code would wait although it has mail."""
        while True:
            try:
                with self.lock:
                    self._takes_answers = bool(self.answers) and release.status == "waiting"
                if self._takes_answers:
                    raise MailArrived
                self.commit(rows, release=release, **more)
                self.has_ended = release.status in ENDINGS
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
        if "messages" in more or "starts" in more or (self.has_ended and self._is_watched()):
            self.shared.on_due(self.shared.now())  # others have mail by this commit, and no other process tells us so
        show_rest(self.sink)
        self.flush_output()

    def _is_watched(self) -> bool:
        return self.record.parent is not None or self.record.id in self.shared.watched

    def recall(self, ask: int) -> int:
        """How far earlier attempts of the ask have come."""
        self.flush_output()  # what the attempt before has told may still wait to be written
        return position(self.shared.store.output(self.record.key), ask)

    def flush_output(self) -> None:
        pieces = self.sink.take()
        if pieces:
            self.shared.store.put_output(self.record.key, pieces)

    @property
    def started(self) -> Started:
        """How this execution began."""
        return started_of(self.log)

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

    def look(self) -> None:
        """Read the mail that has come. Orders must not wait for a wait."""
        self.was_told = False
        known = self.mail_known  # mail up to here may be gone: somebody who held the run before has taken it
        self.inbox.add(self.shared.store.mail(self.record.key, self.inbox.read_to))
        self.inbox.read_to = max(self.inbox.read_to, known)
        self.follow_orders()

    def follow_orders(self) -> None:
        for order in self.inbox.orders:
            self.pause(f"paused by {order.sender}")

    def take_signal(self, value: Value, mail: Mail) -> Any:
        """The value of a signal, as its sender marked it."""
        what = f"the signal `{mail.name}` of {mail.sender}"
        return self.shared.values.take(value, self.record.id, 0, "signal", what)

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


def _grace(rows: Sequence[Row]) -> float | None:
    """Until when a flow that is being cancelled may clean up."""
    row = next(row for row in rows if row.kind == "cancelling")
    event = wire.event_of(row)
    return event.until if isinstance(event, Cancelling) else None


def payloads_of(row: Row) -> list[str]:
    """The payloads a row refers to, each once."""
    if b'"payload":' not in row.data:
        return []
    event = wire.event_of(row)
    found: dict[str, None] = {}
    for kept in (getattr(event, "state", None) or {}).values():
        found.update(dict.fromkeys(payloads(kept)))
    for field in ("value", "arguments"):
        value = getattr(event, field, None)
        if value is not None:
            found.update(dict.fromkeys(payloads(value)))
    failure = getattr(event, "failure", None)
    if failure is not None and failure.error is not None:
        found.update(dict.fromkeys(payloads(failure.error)))
    return list(found)
