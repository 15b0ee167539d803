"""Where a run's asks go: the port between its code, which only asks, and its log and workers."""

import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from durable_nb.engine.cursor import Ticket, Wait
from durable_nb.errors import Corrupt, LogError, SignalRejected, UnknownCode, Untrusted
from durable_nb.history import calls, events as e, wire
from durable_nb.history.events import ANSWERS, Row
from durable_nb.runtime.asking import Asking
from durable_nb.runtime.attempts import attempt_here, park_crashed, so_far
from durable_nb.runtime.lease import Ending, Lease
from durable_nb.runtime.mail import ended_row, queued_row, received_row, row_of_mail
from durable_nb.runtime.options import GRACE
from durable_nb.runtime.steps import Workers
from durable_nb.stores.protocol import IdTaken, LeaseLost
from durable_nb.stores.shapes import Mail

_OUTCOMES = ("returned", "raised", "crashed", "queued")


class Port:
    """Logs what the code asks, runs steps or has them run, and admits what has come meanwhile."""

    def __init__(self, lease: Lease, workers: Workers) -> None:
        self._lease = lease
        self._workers = workers
        self._fresh: set[int] = set()  # asks of this very turn: their first attempt began with their commit
        self._known: set[int] = set()  # open steps of which is known that somebody does them
        self._is_looked_over = False  # whether what is open has been looked at, where it was copied

    def exchange(self, asks: Sequence[Ticket], wait: Wait | None, open: Mapping[int, Ticket]) -> Sequence[Row] | None:
        lease = self._lease
        lease.interrupts.in_user_code = False
        try:
            rows = self._exchange(asks, wait, open)
        except LeaseLost as lost:
            lease.ending = Ending("lost", error=lost)
            return None
        except Corrupt as error:
            lease.park("corrupt", str(error))
            return None
        except LogError as broken:
            lease.ending = Ending("broken", error=broken)
            return None
        if rows is not None and (wait is not None or any(row.kind in ANSWERS for row in rows)):
            lease.interrupts.leave_engine()  # else the code waits, and no line of it comes before the next exchange
        return rows

    def _exchange(self, asks: Sequence[Ticket], wait: Wait | None, open: Mapping[int, Ticket]) -> Sequence[Row] | None:
        if wait is None:
            return self._log(asks)
        if asks:
            ticket = asks[0]
            if ticket.ask.body.is_direct:
                return self._call(ticket)
            rows = self._log(asks)
            return None if self._lease.is_stopped() else rows
        if self._lease.is_stopped():
            return None
        waiting = wait.tickets[0] if len(wait.tickets) == 1 else None
        if waiting is not None and _is_in_place(waiting):
            return self._call_logged(waiting, wait)
        return self._await(wait, open)

    # steps in place

    def _call(self, ticket: Ticket) -> Sequence[Row] | None:
        """A step with plain arguments that runs right here: what nearly every ask is, and what a step costs."""
        lease, ask = self._lease, ticket.ask
        row = Row(lease.head + 1, "step", None, ask.name, ask.data, lease.shared.now())
        lease.append(row)
        lease.waits = (row,)
        if lease.inbox.cancel is not None and not lease.is_cancelling:
            return [row, self._cancelling(lease.inbox.cancel)]
        if lease.is_stopped():
            return None
        answer = attempt_here(lease, row, ask, True)
        return None if answer is None else (row, answer)

    def _call_logged(self, ticket: Ticket, wait: Wait) -> Sequence[Row] | None:
        """A step that is in the log already, and runs here."""
        row = ticket.row
        assert row is not None
        lease = self._lease
        lease.waits = (row,)
        if lease.inbox.cancel is not None and not lease.is_cancelling:
            wait.see(self._cancelling(lease.inbox.cancel))
            return ()
        answer = attempt_here(lease, row, ticket.ask, row.seq in self._fresh)
        if answer is None:
            return None
        wait.see(answer)
        return ()

    # asks

    def _log(self, tickets: Sequence[Ticket]) -> list[Row]:
        """Write what was asked; an id that somebody takes meanwhile makes it another answer."""
        while True:
            asking = Asking(self._lease, self._workers)
            asking.add(tickets)
            try:
                rows = self._lease.commit(asking.rows, **asking.parts())
                break
            except IdTaken:
                continue
        for mail in asking.returned:
            self._lease.inbox.give_back(mail)
        fresh = [row.seq for row in rows if row.kind == "step"]
        self._fresh.update(fresh)
        self._known.update(fresh)
        by_seq = {row.seq: row for row in rows}
        for seq, ask in asking.begun.items():
            self._workers.submit(self._lease.record, by_seq[seq], ask)
        self._workers.forget(self._lease.record.key, asking.dropped)
        if asking.starts or asking.messages:
            self._lease.shared.on_due(self._lease.shared.now())
        return rows

    def _ensure_work(self, tickets: Sequence[Ticket]) -> None:
        """A step that was begun here and is to run elsewhere now (its options have changed) needs its work row."""
        lease = self._lease
        steps = [one for one in tickets if one.ask.kind == "step" and one.row is not None]
        rows = [one.row for one in steps if one.row is not None and one.row.seq not in self._known]
        self._known.update(row.seq for row in rows)
        rows = [row for row in rows if not self._workers.is_running(lease.record.key, row.seq)]
        if not rows:
            return
        known = {work.ask for work in lease.shared.store.work(lease.record.key)}
        coming = [mail for mail in lease.shared.store.mail(lease.record.key) if mail.ask is not None]
        known |= {mail.ask or 0 for mail in coming if mail.kind in _OUTCOMES}  # the answer is on its way
        asks = {one.row.seq: one.ask for one in steps if one.row is not None}
        work = []
        for row in rows:
            if row.seq not in known:
                asked = so_far(lease, row)
                # Numbers of attempts are never used twice; some may be known to the inbox only.
                told = [mail.attempt or 0 for mail in coming if mail.ask == row.seq]
                begun = max([*told, *(one.number for one in asked.attempts)], default=0)
                due = asked.retry_at if asked.attempts else asked.due
                work.append(self._workers.new_work(row.seq, asks[row.seq])._replace(owner=None, begun=begun, due=due))
        if work:
            lease.commit([], work=work)
            self._workers.look()

    # waiting

    def _await(self, wait: Wait, open: Mapping[int, Ticket]) -> Sequence[Row] | None:
        """Admit due timers and mail, in their order, until the wait is over; None when it takes too long."""
        lease = self._lease
        if not self._is_looked_over:
            self._is_looked_over = True
            if any(row.kind == "forked" for row in lease.log):  # nobody does what was open when it was copied
                self._ensure_work([*open.values()])
        waiting = [one for one in wait.tickets if one.answer is None]  # a replay may have answered some of them by now
        self._ensure_work(waiting)
        lease.waits = [one.row for one in waiting if one.row is not None]
        lease.shared.watched.update(calls.watched(one.ask.data) for one in waiting if one.ask.kind == "watch")
        since = time.monotonic()
        timers = sorted(
            (_due(one.row), seq) for seq, one in open.items() if one.row is not None and one.ask.kind == "timer"
        )
        while True:
            if lease.mail_known > lease.inbox.read_to or lease.was_told:
                lease.look()
            if self._admit(wait, open, timers):
                return ()
            if lease.ending is not None:
                return None
            lease.flush()
            if lease.answers:
                continue
            if lease.mail_known > lease.inbox.read_to or lease.was_told:
                continue  # a commit has told of mail that came after the look; whoever waits now would sleep through it
            due = timers[0][0] if timers else None
            if lease.grace_until is not None:
                due = min(due, lease.grace_until) if due is not None else lease.grace_until
            if self._gives_way(wait) or not lease.may_wait(due, since):
                lease.wake_at = due
                return None

    def _gives_way(self, wait: Wait) -> bool:
        """Whether other runs want this thread, and what its own waits for is no step that is under way here."""
        lease = self._lease
        if not lease.shared.is_crowded():
            return False
        steps = [one.row.seq for one in wait.tickets if one.row is not None and one.ask.kind == "step"]
        return not any(self._workers.is_running(lease.record.key, seq) for seq in steps)

    def _admit(self, wait: Wait, open: Mapping[int, Ticket], timers: list[tuple[float, int]]) -> bool:
        """Show what has come, one by one; True when the wait is over."""
        lease = self._lease
        if lease.inbox.orders:
            lease.follow_orders()
            return False
        now = lease.shared.now()
        if lease.grace_until is not None and now >= lease.grace_until:
            lease.ending = Ending("cancelled", sentence=f"its clean-up took longer than {GRACE:g} s")
            return False
        while timers and timers[0][0] <= now:
            _, seq = timers.pop(0)
            if seq in open and wait.see(lease.hold(lease.new_row("fired", seq, None, b"{}"))):
                return True
        while lease.ending is None and (answer := lease.next_answer()) is not None:
            found = self._row(answer, open)
            if found is not None and wait.see(lease.hold(found, answer)):
                return True
        waiting = _waiting(open) if lease.inbox.has_signals else {}
        while lease.ending is None:
            mail = lease.inbox.oldest(waiting)
            if mail is None:
                return False
            lease.inbox.take(mail)
            row = self._signal_row(mail, waiting) if mail.kind == "signal" else self._row(mail, open)
            if row is None:
                lease.discard(mail)
            elif wait.see(lease.hold(row, mail)):
                return True
        return False

    def _row(self, mail: Mail, open: Mapping[int, Ticket]) -> Row | None:
        """What the mail becomes in the history; None for what has no place there any more (a late answer)."""
        lease = self._lease
        if mail.kind == "cancel":
            return None if lease.is_cancelling else self._cancelling_row(mail)
        ticket = open.get(mail.ask or 0)
        if ticket is None or ticket.row is None:
            return None
        if mail.kind in ("ended", "gone"):
            return ended_row(lease, mail, ticket.row)
        if mail.kind == "queued":
            return queued_row(lease, mail, ticket.row)
        if mail.kind == "crashed":
            park_crashed(lease, ticket.row.name or "", ticket.row.seq)
            return None
        return row_of_mail(lease, mail, lease.head + 1)

    def _signal_row(self, mail: Mail, waiting: dict[str, deque[Ticket]]) -> Row:
        """For the first of those who wait at the mailbox; what does not fit his type is refused, and he waits on."""
        lease, queue = self._lease, waiting[mail.name or ""]
        ticket = queue[0]
        assert ticket.row is not None
        value = wire.decode_value(mail.value)
        try:
            ticket.ask.body.convert(lease.take_signal(value, mail))
        except (SignalRejected, Untrusted, UnknownCode) as cause:
            event = e.SignalRejected(
                seq=lease.head + 1, at=lease.shared.now(), ref=ticket.row.seq, name=mail.name or "", value=value,
                sentence=str(cause), sender=mail.sender, key=mail.key,
            )  # fmt: skip
            return wire.row_of(event)
        queue.popleft()
        if not queue:
            del waiting[mail.name or ""]
        return received_row(lease, mail, ticket.row.seq, value)

    def _cancelling(self, mail: Mail) -> Row:
        self._lease.inbox.take(mail)
        return self._lease.hold(self._cancelling_row(mail), mail)

    def _cancelling_row(self, mail: Mail) -> Row:
        lease = self._lease
        now = lease.shared.now()
        lease.grace_until = now + GRACE
        reason = wire.text_of(mail.value)
        event = e.Cancelling(seq=lease.head + 1, at=now, reason=reason, sender=mail.sender, until=lease.grace_until)
        return wire.row_of(event)


def _waiting(open: Mapping[int, Ticket]) -> dict[str, deque[Ticket]]:
    """Who waits at which mailbox, in the order they came."""
    found: dict[str, deque[Ticket]] = defaultdict(deque)
    for ticket in open.values():
        if ticket.ask.kind == "signal":
            found[ticket.ask.name or ""].append(ticket)
    return found


def _is_in_place(ticket: Ticket) -> bool:
    return (
        ticket.ask.kind == "step"
        and not ticket.ask.body.elsewhere
        and ticket.row is not None
        and b'"elsewhere":true' not in ticket.row.data
    )


def _due(row: Row | None) -> float:
    """When a timer is due; Corrupt, naming the event, when its row cannot be read."""
    assert row is not None
    event = wire.event_of(row)
    assert isinstance(event, e.TimerAsked)
    return event.due
