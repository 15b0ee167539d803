"""A run in the hands of this process: the port between its code and its log.

Commits ride on each other: the answer of step k is written with the ask of step k+1, and alone when no ask follows at
once. A number is given to a row when the code sees it, so the order of the log is the order of revealing.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from durable_nb.engine.cursor import Suspended, Ticket
from durable_nb.engine.turn import Turn
from durable_nb.errors import Corrupt, LogError
from durable_nb.history import wire
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row, TimerAsked
from durable_nb.history.summary import effective
from durable_nb.history.values import payloads
from durable_nb.runtime.attempts import attempt_here
from durable_nb.runtime.interrupt import Interrupts
from durable_nb.runtime.mail import row_of_mail
from durable_nb.runtime.options import LONG, PATIENCE
from durable_nb.runtime.output import Echo, Sink, position, show_rest
from durable_nb.runtime.reader import Reader
from durable_nb.stores.protocol import Commit, LeaseLost, MailArrived, NewWork, Release, RunRecord

if TYPE_CHECKING:
    from durable_nb.runtime.runtime import Runtime

_logger = logging.getLogger("durable_nb.carry")


class Ending(msgspec.Struct, frozen=True):
    """Why the port closed the turn, when it was not just to wait."""

    status: str  # paused, parked, lost, broken, stopping
    reason: str = ""
    sentence: str = ""
    ask: int | None = None
    error: BaseException | None = None


class Carry:
    """The lease of one run and everything known under it."""

    def __init__(self, runtime: "Runtime", record: RunRecord, echo: Echo) -> None:
        self.runtime = runtime
        self.record = record
        self.log = runtime.store.history(record.key)
        self.rows = effective(self.log)
        self.head = self.log[-1].seq if self.log else 0
        self.mail_known = record.mail
        self.mail_taken = 0
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
        self.sink = Sink(runtime.now, echo)
        self.reader = Reader(runtime.values, runtime.now, self.park)
        if record.mail:
            self.look_for_orders()  # no commit will tell of what came before the claim

    # the port

    def exchange(
        self, asks: Sequence[Ask], waiting: Sequence[Ticket], open: Mapping[int, Ticket]
    ) -> Sequence[Row] | None:
        self.interrupts.in_user_code = False
        try:
            if len(asks) == 1 and asks[0].kind == "step" and asks[0].body.is_direct and waiting:
                rows = self._call(asks[0])
            else:
                rows = self._exchange(asks, waiting, open)
        except LeaseLost as lost:
            self.ending = Ending("lost", error=lost)
            return None
        except Corrupt as error:
            self.park("corrupt", str(error))
            return None
        except LogError as broken:
            self.ending = Ending("broken", error=broken)
            return None
        if rows is not None:
            self.interrupts.leave_engine()
        return rows

    def _call(self, ask: Ask) -> Sequence[Row] | None:
        """A step with plain arguments that runs right here: what nearly every ask is, and what a step costs."""
        row = Row(self.head + 1, "step", None, ask.name, ask.data, self.runtime.now())
        with self.lock:
            pending = self.pending
            if pending is not None and b'"codec":' in pending.data:
                rows = None  # it may refer to payloads
            else:
                rows = [row] if pending is None else [pending, row]
                mark = self.runtime.store.append(self.record.key, self.record.lease, self.mail_known, rows)
                self.pending = None
                self.log += rows
                self.head = row.seq
        if rows is None:
            self.commit([row])
        elif mark > self.mail_known:
            self.mail_known = mark
            self.look_for_orders()
        self.waits = row
        if self.ending is not None or self._is_stopped():
            return None
        answer = attempt_here(self, row, ask, True)
        return None if answer is None else (row, answer)

    def _exchange(
        self, asks: Sequence[Ask], waiting: Sequence[Ticket], open: Mapping[int, Ticket]
    ) -> Sequence[Row] | None:
        rows = self._log(asks) if asks else []
        if self.ending is not None or self._is_stopped():
            return None
        if not waiting:
            return rows
        ticket = waiting[0]
        row = ticket.row or next(row for ask, row in zip(asks, rows, strict=True) if ask is ticket.ask)
        is_fresh = ticket.row is None
        self.waits = row
        if row.kind == "step" and not ticket.ask.body.elsewhere and b'"elsewhere":true' not in row.data:
            answer = attempt_here(self, row, ticket.ask, is_fresh)
            return None if answer is None else [*rows, answer]
        logged = {one.seq: one for one in rows} | {seq: one.row for seq, one in open.items() if one.row is not None}
        if row.kind == "step" and not is_fresh:
            self._ensure_work(row, ticket.ask)
        more = self._await(row.seq, logged)
        return None if more is None else [*rows, *more]

    # writing

    def commit(self, rows: Sequence[Row], **more: Any) -> list[Row]:
        """Write the pending answer and these rows, under the lock; returns the rows as they lie in the log now."""
        uid = self.record.uid
        rows = [self.runtime.values.mark_row(row, uid) for row in rows]
        with self.lock:
            whole = [self.pending, *rows] if self.pending is not None else rows
            refers = [(row.seq, name) for row in whole for name in _payloads_of(row)]
            commit = Commit(
                self.record.key, self.record.lease, self.mail_known, whole, self.runtime.now(), payloads=refers, **more
            )
            mark = self.runtime.store.commit(commit)
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
        return Row(self.head + ahead, kind, ref, name, data, self.runtime.now())

    def hold(self, row: Row) -> Row:
        """Keep an answer for the next commit; the flusher writes it if none comes."""
        row = self.runtime.values.mark_row(row, self.record.uid)
        with self.lock:
            self.pending = row
            self.pending_since = time.monotonic()
            self.head = row.seq
        self.runtime.flusher.wake()
        return row

    def flush(self, older_than: float = 0.0) -> None:
        """Commit the pending answer alone, if it has waited that long."""
        with self.lock:
            row = self.pending
            if row is None or time.monotonic() - self.pending_since < older_than:
                return
            refers = [(row.seq, name) for name in _payloads_of(row)]
            commit = Commit(self.record.key, self.record.lease, self.mail_known, [row], row.at, payloads=refers)
            self.runtime.store.commit(commit)  # new mail, if any, is found with the next commit
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
                    self.flush()  # or the answer that was to ride were lost with this carry, and its step would run again
                    self.flush_output()
                    raise
                # What does not wait needs no mail: a late answer must not undo a pause or an end.
                self.mail_known = self.runtime.mark(self.record.key)
        if release.ready_at is not None:
            self.runtime.note_due(release.ready_at)
        show_rest(self.sink)
        self.flush_output()

    def recall(self, ask: int) -> int:
        """How far earlier attempts of the ask have come."""
        return position(self.runtime.store.output(self.record.key), ask)

    def flush_output(self) -> None:
        pieces = self.sink.take()
        if pieces:
            self.runtime.store.put_output(self.record.key, pieces)

    def arguments(self) -> dict[str, Any]:
        """The arguments the run was started with."""
        return self.runtime.values.started_with(self.log, self.record.uid, self.record.flow)

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
        for mail in self.runtime.store.mail(self.record.key, self.mail_taken):
            if mail.kind == "pause":
                self.pause(f"paused by {mail.sender}")

    def may_wait(self, until: float | None, since: float) -> bool:
        """Wait a little in place for news or a time; False when it is time to give the thread back."""
        left = PATIENCE - (time.monotonic() - since)
        if until is not None:
            left = min(left, self.runtime.clock.real_wait(until - self.runtime.now()))
            if until <= self.runtime.now():
                return True
        if left <= 0 or not self.runtime.is_patient:
            return False
        self.nudge.wait(left)
        self.nudge.clear()
        return self.ending is None and not self._is_stopped()

    def _is_stopped(self) -> bool:
        if self.runtime.is_stopping and self.ending is None:
            self.ending = Ending("stopping")
        return self.ending is not None

    def _log(self, asks: Sequence[Ask]) -> list[Row]:
        rows: list[Row] = []
        work: list[NewWork] = []
        at = self.runtime.now()
        for number, ask in enumerate(asks, self.head + 1):
            rows.append(Row(number, ask.kind, None, ask.name, ask.data, at))
            if ask.kind == "step" and ask.body.elsewhere:
                work.append(self.runtime.workers.new_work(number, ask))
        if not work:
            return self.commit(rows)
        rows = self.commit(rows, work=work)
        for ask, row in zip(asks, rows, strict=True):
            if ask.kind == "step" and ask.body.elsewhere:
                self.runtime.workers.submit(self, row, ask)
        return rows

    def _ensure_work(self, row: Row, ask: Ask) -> None:
        """A step that was begun here and is to run elsewhere now (its options have changed) needs its work row."""
        if self.runtime.workers.is_running(self.record.key, row.seq):
            return
        if all(work.ask != row.seq for work in self.runtime.store.work(self.record.key)):
            if any(mail.ask == row.seq for mail in self.runtime.store.mail(self.record.key)):
                return  # its answer is on the way
            self.commit([], work=[self.runtime.workers.new_work(row.seq, ask)._replace(owner=None)])
            self.runtime.workers.look()

    def _await(self, seq: int, logged: dict[int, Row]) -> list[Row] | None:
        """Admit due timers and mail, in their order, up to the awaited answer; None when it takes too long."""
        since = time.monotonic()
        timers = sorted((_due(row), one) for one, row in logged.items() if row.kind == "timer")
        due = next((due for due, one in timers if one == seq), None)
        rows: list[Row] = []
        while True:
            rows += self._admit(seq, timers, logged)
            if rows and rows[-1].ref == seq:
                return rows
            self.flush()
            if self.ending is not None or not self.may_wait(due, since):
                self.wake_at = due
                return None

    def _admit(self, seq: int, timers: list[tuple[float, int]], logged: dict[int, Row]) -> list[Row]:
        rows: list[Row] = []
        now = self.runtime.now()
        while timers and timers[0][0] <= now and (not rows or rows[-1].ref != seq):
            _, timer = timers.pop(0)
            rows.append(self.new_row("fired", timer, None, b"{}", len(rows) + 1))
        consumed = 0
        if (not rows or rows[-1].ref != seq) and (self.was_told or self.mail_known > self.mail_taken):
            self.was_told = False
            for mail in self.runtime.store.mail(self.record.key, self.mail_taken):
                if mail.kind == "pause":
                    self.pause(f"paused by {mail.sender}")
                    break
                consumed = mail.seq
                row = row_of_mail(self, mail, logged, self.head + len(rows) + 1)
                if row is not None:
                    rows.append(row)
                    if row.ref == seq and row.kind in ("returned", "raised"):
                        break
        if rows or consumed:
            rows = self.commit(rows, consumed=consumed)
            self.mail_taken = max(self.mail_taken, consumed)
        return rows


def _due(row: Row) -> float:
    """When a timer is due; Corrupt, naming the event, when its row cannot be read."""
    event = wire.event_of(row)
    assert isinstance(event, TimerAsked)
    return event.due


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
