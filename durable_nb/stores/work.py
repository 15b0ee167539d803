"""Steps for workers, and when anything is due next."""

from collections.abc import Callable

from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection
from durable_nb.stores.mailing import put_mail
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import NewMail, WorkRecord

SQL = statements("work")


class Work:
    """The verbs of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_work(
        self, owner: int, now: float, limit: int, begun: Callable[[WorkRecord], NewMail]
    ) -> list[WorkRecord]:
        if not self._database.read(SQL["is_work_due"], (now,))[0][0]:
            return []

        def work(connection: Connection) -> list[WorkRecord]:
            due = [WorkRecord._make(each) for each in connection.execute(SQL["due_work"], (now, limit))]
            return [_claimed(connection, each, owner, now, begun) for each in due]

        return self._database.transact(work)

    def finish_work(self, work: WorkRecord, mail: NewMail, now: float) -> bool:
        def finish(connection: Connection) -> bool:
            attempt = (work.run, work.ask, work.attempt, work.owner)
            if not connection.execute(SQL["finish_work"], attempt).rowcount:
                return False
            return put_mail(connection, work.run, mail, now) > 0

        return self._database.transact(finish)

    def postpone_work(self, work: WorkRecord, due: float, mail: NewMail, now: float) -> bool:
        def postpone(connection: Connection) -> bool:
            attempt = (work.run, work.ask, work.attempt, work.owner, due)
            if not connection.execute(SQL["postpone_work"], attempt).rowcount:
                return False
            return put_mail(connection, work.run, mail, now) > 0

        return self._database.transact(postpone)

    def work(self, run: int) -> list[WorkRecord]:
        return [WorkRecord._make(each) for each in self._database.read(SQL["work"], (run,))]

    def next_due(self) -> float | None:
        (due,) = self._database.read(SQL["next_due"])[0]
        return None if due is None else float(due)


def _claimed(
    connection: Connection, work: WorkRecord, owner: int, now: float, begun: Callable[[WorkRecord], NewMail]
) -> WorkRecord:
    """The next attempt of work that is due, told to its run."""
    if work.attempt == 1 and connection.execute(SQL["is_first_untold"], (work.run, work.ask)).fetchone():
        put_mail(connection, work.run, begun(work._replace(crashes=0)), now)
    claimed = work._replace(owner=owner, attempt=work.attempt + 1)
    mail = begun(claimed)
    put_mail(connection, work.run, mail, now)
    if mail.wakes:
        connection.execute(SQL["drop_work"], (work.run, work.ask))
        return claimed._replace(owner=None)
    connection.execute(SQL["claim_work"], (work.run, work.ask, owner))
    return claimed
