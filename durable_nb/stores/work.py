"""Steps for workers: claimed within the limits of their queues, finished, put off; and when anything is due next."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

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

    def claim_work(
        self,
        owner: int,
        now: float,
        limit: int,
        begun: Callable[[WorkRecord], NewMail],
        tags: Collection[str] = (),
    ) -> list[WorkRecord]:
        who = Claimant(owner, tags)
        due = next_due(self._database.read, who, now)
        if due is None or due > now:
            return []

        def work(connection: Connection) -> list[WorkRecord]:
            def ask(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
                return connection.execute(sql, parameters).fetchall()

            return [_claimed(connection, each, owner, now, begun) for each in chosen(ask, who, now, limit)]

        return self._database.transact(work)

    def finish_work(self, work: WorkRecord, mail: NewMail, now: float) -> bool:
        def finish(connection: Connection) -> bool:
            _leave(connection, work, now)
            attempt = (work.run, work.ask, work.attempt, work.owner)
            if not connection.execute(SQL["finish_work"], attempt).rowcount:
                return False
            return put_mail(connection, work.run, mail, now) > 0

        return self._database.transact(finish)

    def postpone_work(self, work: WorkRecord, due: float, mail: NewMail, now: float) -> bool:
        def postpone(connection: Connection) -> bool:
            _leave(connection, work, now)
            attempt = (work.run, work.ask, work.attempt, work.owner, due)
            if not connection.execute(SQL["postpone_work"], attempt).rowcount:
                return False
            return put_mail(connection, work.run, mail, now) > 0

        return self._database.transact(postpone)

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


def _claimed(
    connection: Connection, work: WorkRecord, owner: int, now: float, begun: Callable[[WorkRecord], NewMail]
) -> WorkRecord:
    """The next attempt of work that is due, told to its run."""
    if work.attempt == 1 and connection.execute(SQL["is_first_untold"], (work.run, work.ask)).fetchone():
        put_mail(connection, work.run, begun(work._replace(crashes=0)), now)
    claimed = work._replace(owner=owner, attempt=work.attempt + 1)
    mail = begun(claimed)
    if mail.wakes:
        put_mail(connection, work.run, mail, now)
        connection.execute(SQL["drop_work"], (work.run, work.ask))
        return claimed._replace(owner=None)
    put_mail(connection, work.run, mail, _enter(connection, claimed, now) if work.queue else now)
    connection.execute(SQL["claim_work"], (work.run, work.ask, owner))
    if work.session:
        connection.execute(SQL["forget_sessions"], (now, IDLE))
        connection.execute(SQL["hold_session"], (work.session, owner, now))
    return claimed


def _enter(connection: Connection, work: WorkRecord, now: float) -> float:
    """The attempt takes its place in its queue; when it begins: never before the one that was let in last."""
    ((n, rate_count, last),) = connection.execute(SQL["admit"], (work.queue,)).fetchall()
    at = now if last is None or last > now + AHEAD else max(now, last)
    attempt = (work.queue, n, work.queue_key, at, work.owner, work.run, work.ask, work.attempt)
    connection.execute(SQL["put_admission"], attempt)
    connection.execute(SQL["forget_admissions"], (work.queue, n - max(_REMEMBERED, rate_count)))
    return at


def _leave(connection: Connection, work: WorkRecord, now: float) -> None:
    """The body of the attempt has ended: its place is free, whatever has become of the work meanwhile."""
    if work.queue:
        connection.execute(SQL["end_admission"], (work.queue, work.owner, work.run, work.ask, work.attempt))
    if work.session:
        connection.execute(SQL["see_session"], (work.session, work.owner, now))
