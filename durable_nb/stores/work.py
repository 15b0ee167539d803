"""Steps for workers: claimed within the limits of their queues, finished, put off; and when anything is due next."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from durable_nb.errors import LogFull, LogReadOnly
from durable_nb.stores.database import Database
from durable_nb.stores.lanes import AHEAD, IDLE, Claimant, chosen, next_due, room
from durable_nb.stores.library import Connection
from durable_nb.stores.mailing import put_mail
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import Limits, NewMail, WorkRecord

SQL = statements("work")
_REMEMBERED = 1000  # turns of a queue, so that keys that were served lately do not go first


class Work:
    """The verbs of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_work(self, owner: int, now: float, limit: int, tags: Collection[str] = ()) -> list[WorkRecord]:
        who = Claimant(owner, tags)
        due = next_due(self._database.read, who, now)
        if due is None or due > now:
            return []

        def claim(connection: Connection) -> list[WorkRecord]:
            def ask(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
                return connection.execute(sql, parameters).fetchall()

            return [_claimed(connection, each, owner, now) for each in chosen(ask, who, now, limit)]

        return self._database.transact(claim)

    def begin_work(self, work: WorkRecord, now: float, begun: Callable[[WorkRecord], NewMail]) -> WorkRecord | None:
        number = work.attempt + 1

        def begin(connection: Connection) -> WorkRecord | None:
            if not connection.execute(SQL["begin_work"], _attempt(work)).rowcount:
                return None
            at = _enter(connection, work, now)
            for each in range(work.told + 1, number + 1):
                put_mail(connection, work.run, begun(work._replace(attempt=each)), at)
            return work._replace(attempt=number, told=number, is_open=True)

        return self._database.transact(begin)

    def give_back_work(self, work: WorkRecord, now: float) -> bool:
        def give_back(connection: Connection) -> None:
            _leave(connection, work, now)
            connection.execute(SQL["give_back_work"], _attempt(work))

        try:
            self._database.transact(give_back)
        except (LogFull, LogReadOnly):
            return False
        return True

    def finish_work(self, work: WorkRecord, mails: Sequence[NewMail], now: float) -> bool:
        return self._settle(SQL["finish_work"], work, (), mails, now)

    def postpone_work(self, work: WorkRecord, due: float, mails: Sequence[NewMail], now: float) -> bool:
        return self._settle(SQL["postpone_work"], work, (due,), mails, now)

    def _settle(self, sql: str, work: WorkRecord, more: tuple[Any, ...], mails: Sequence[NewMail], now: float) -> bool:
        """Change the work of an attempt that is ours, and tell its run; False when it is not."""

        def settle(connection: Connection) -> bool:
            _leave(connection, work, now)
            if not connection.execute(sql, (*_attempt(work), *more)).rowcount:
                return False
            return all(put_mail(connection, work.run, mail, now) for mail in mails)

        return self._database.transact(settle)

    def leave_queue(self, work: WorkRecord, now: float) -> None:
        self._database.transact(lambda connection: _leave(connection, work, now))

    def work(self, run: int) -> list[WorkRecord]:
        return [WorkRecord._make(each) for each in self._database.read(SQL["work"], (run,))]

    def put_queue(self, name: str, limits: Limits) -> None:
        if self.limits(name) != limits:
            self._database.one(SQL["put_queue"], (name, *limits))

    def limits(self, name: str) -> Limits | None:
        found = self._database.read(SQL["limits"], (name,))
        return Limits._make(found[0]) if found else None

    def has_room(self, queue: str, now: float) -> bool:
        left = room(self._database.read, queue, None, now)
        return left.places > 0 and left.by_rate > 0

    def session_owner(self, name: str) -> int | None:
        found = self._database.read(SQL["session_owner"], (name,))
        return int(found[0][0]) if found else None

    def next_due(self, owner: int | None = None, tags: Collection[str] = (), now: float = float("inf")) -> float | None:
        (of_run,) = self._database.read(SQL["next_due_run"])[0]
        dues = [of_run, next_due(self._database.read, Claimant(owner, tags), now)]
        return min((float(due) for due in dues if due is not None), default=None)


def _claimed(connection: Connection, work: WorkRecord, owner: int, now: float) -> WorkRecord:
    """Work that is ours from now on, with its place in its queue and its session."""
    connection.execute(SQL["claim_work"], (work.run, work.ask, owner))
    claimed = work._replace(owner=owner)
    if work.queue:
        _queue_up(connection, claimed, now)
    if work.session:
        connection.execute(SQL["forget_sessions"], (now, IDLE))
        connection.execute(SQL["hold_session"], (work.session, owner, now))
    return claimed


def _queue_up(connection: Connection, work: WorkRecord, now: float) -> None:
    """The next attempt takes its place in its queue: never before the one that was let in last."""
    ((n, rate_count, last),) = connection.execute(SQL["admit"], (work.queue,)).fetchall()
    at = now if last is None or last > now + AHEAD else max(now, last)
    admitted = (work.queue, n, work.queue_key, at, work.owner, work.run, work.ask, _next(work), work.dedup)
    connection.execute(SQL["put_admission"], admitted)
    connection.execute(SQL["forget_admissions"], (work.queue, n - max(_REMEMBERED, rate_count)))


def _enter(connection: Connection, work: WorkRecord, now: float) -> float:
    """When the attempt begins. The rate of its queue counts from then on: its body may have waited for a thread."""
    if not work.queue:
        return now
    entered = (work.queue, work.owner, work.run, work.ask, _next(work), now)
    found = connection.execute(SQL["enter"], entered).fetchall()
    return float(found[0][0]) if found else now


def _leave(connection: Connection, work: WorkRecord, now: float) -> None:
    """The body of the attempt has ended, or will not begin: its place is free, whatever has become of the work."""
    if work.queue:
        number = work.attempt if work.is_open else _next(work)
        connection.execute(SQL["end_admission"], (work.queue, work.owner, work.run, work.ask, number))
    if work.session:
        connection.execute(SQL["see_session"], (work.session, work.owner, now))


def _attempt(work: WorkRecord) -> tuple[Any, ...]:
    return work.run, work.ask, work.attempt, work.owner


def _next(work: WorkRecord) -> int:
    """The number that the next attempt will have."""
    return work.attempt + 1
