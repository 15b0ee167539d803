"""Where a run's asks go: the port between its code, which only asks, and its log and workers."""

import time
from collections.abc import Mapping, Sequence

from durable_nb.engine.cursor import Ticket
from durable_nb.errors import Corrupt, LogError
from durable_nb.history import wire
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row, TimerAsked
from durable_nb.runtime.attempts import attempt_here, park_crashed, so_far
from durable_nb.runtime.lease import Ending, Lease
from durable_nb.runtime.mail import row_of_mail
from durable_nb.runtime.steps import Workers
from durable_nb.stores.protocol import LeaseLost, NewWork


class Port:
    """Logs what the code asks, runs steps or has them run, and admits what has come meanwhile."""

    def __init__(self, lease: Lease, workers: Workers) -> None:
        self._lease = lease
        self._workers = workers

    def exchange(
        self, asks: Sequence[Ask], waiting: Sequence[Ticket], open: Mapping[int, Ticket]
    ) -> Sequence[Row] | None:
        lease = self._lease
        lease.interrupts.in_user_code = False
        try:
            if len(asks) == 1 and asks[0].kind == "step" and asks[0].body.is_direct and waiting:
                rows = self._call(asks[0])
            else:
                rows = self._exchange(asks, waiting, open)
        except LeaseLost as lost:
            self._lease.ending = Ending("lost", error=lost)
            return None
        except Corrupt as error:
            self._lease.park("corrupt", str(error))
            return None
        except LogError as broken:
            self._lease.ending = Ending("broken", error=broken)
            return None
        if rows is not None:
            self._lease.interrupts.leave_engine()
        return rows

    def _call(self, ask: Ask) -> Sequence[Row] | None:
        """A step with plain arguments that runs right here: what nearly every ask is, and what a step costs."""
        lease = self._lease
        row = Row(lease.head + 1, "step", None, ask.name, ask.data, lease.shared.now())
        lease.append(row)
        lease.waits = row
        if lease.is_stopped():
            return None
        answer = attempt_here(lease, row, ask, True)
        return None if answer is None else (row, answer)

    def _exchange(
        self, asks: Sequence[Ask], waiting: Sequence[Ticket], open: Mapping[int, Ticket]
    ) -> Sequence[Row] | None:
        rows = self._log(asks) if asks else []
        if self._lease.is_stopped():
            return None
        if not waiting:
            return rows
        ticket = waiting[0]
        row = ticket.row or next(row for ask, row in zip(asks, rows, strict=True) if ask is ticket.ask)
        is_fresh = ticket.row is None
        self._lease.waits = row
        if row.kind == "step" and not ticket.ask.body.elsewhere and b'"elsewhere":true' not in row.data:
            answer = attempt_here(self._lease, row, ticket.ask, is_fresh)
            return None if answer is None else [*rows, answer]
        logged = {one.seq: one for one in rows} | {seq: one.row for seq, one in open.items() if one.row is not None}
        if row.kind == "step" and not is_fresh:
            self._ensure_work(row, ticket.ask)
        more = self._await(row.seq, logged)
        return None if more is None else [*rows, *more]

    def _log(self, asks: Sequence[Ask]) -> list[Row]:
        rows: list[Row] = []
        work: list[NewWork] = []
        at = self._lease.shared.now()
        for number, ask in enumerate(asks, self._lease.head + 1):
            rows.append(Row(number, ask.kind, None, ask.name, ask.data, at))
            if ask.kind == "step" and ask.body.large:
                self._lease.shared.values.put_large(ask.body.large)
            if ask.kind == "step" and ask.body.elsewhere:
                work.append(self._workers.new_work(number, ask))
        if not work:
            return self._lease.commit(rows)
        rows = self._lease.commit(rows, work=work)
        for ask, row in zip(asks, rows, strict=True):
            if ask.kind == "step" and ask.body.elsewhere:
                self._workers.submit(self._lease.record, row, ask)
        return rows

    def _ensure_work(self, row: Row, ask: Ask) -> None:
        """A step that was begun here and is to run elsewhere now (its options have changed) needs its work row."""
        if self._workers.is_running(self._lease.record.key, row.seq):
            return
        if all(work.ask != row.seq for work in self._lease.shared.store.work(self._lease.record.key)):
            coming = [mail for mail in self._lease.shared.store.mail(self._lease.record.key) if mail.ask == row.seq]
            if any(mail.kind in ("returned", "raised", "crashed") for mail in coming):
                return  # its answer is on the way
            # Numbers of attempts are never used twice; some may be known to the inbox only.
            told = [mail.attempt or 0 for mail in coming] + [one.number for one in so_far(self._lease, row).attempts]
            begun = max(told, default=0)
            self._lease.commit([], work=[self._workers.new_work(row.seq, ask)._replace(owner=None, begun=begun)])
            self._workers.look()

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
            self._lease.flush()
            if self._lease.ending is None and self._lease.mail_known > self._lease.mail_seen:
                continue  # a commit has told of mail that came after the look; whoever waits now would sleep through it
            if self._lease.ending is not None or not self._lease.may_wait(due, since):
                self._lease.wake_at = due
                return None

    def _admit(self, seq: int, timers: list[tuple[float, int]], logged: dict[int, Row]) -> list[Row]:
        rows: list[Row] = []
        now = self._lease.shared.now()
        while timers and timers[0][0] <= now and (not rows or rows[-1].ref != seq):
            _, timer = timers.pop(0)
            rows.append(self._lease.new_row("fired", timer, None, b"{}", len(rows) + 1))
        consumed = 0
        if (not rows or rows[-1].ref != seq) and (
            self._lease.was_told or self._lease.mail_known > self._lease.mail_taken
        ):
            self._lease.was_told = False
            self._lease.mail_seen = self._lease.mail_known
            for mail in self._lease.shared.store.mail(self._lease.record.key, self._lease.mail_taken):
                if mail.kind == "pause":
                    self._lease.pause(f"paused by {mail.sender}")
                    break
                consumed = mail.seq
                if mail.kind == "crashed" and mail.ask in logged:
                    park_crashed(self._lease, logged[mail.ask].name or "", mail.ask)
                    break
                row = row_of_mail(self._lease, mail, logged, self._lease.head + len(rows) + 1)
                if row is not None:
                    rows.append(row)
                    if row.ref == seq and row.kind in ("returned", "raised"):
                        break
        if rows or consumed:
            rows = self._lease.commit(rows, consumed=consumed)
            self._lease.mail_taken = max(self._lease.mail_taken, consumed)
        return rows


def _due(row: Row) -> float:
    """When a timer is due; Corrupt, naming the event, when its row cannot be read."""
    event = wire.event_of(row)
    assert isinstance(event, TimerAsked)
    return event.due
