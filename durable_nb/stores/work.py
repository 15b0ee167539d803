"""Steps for workers, and when anything is due next."""

from collections.abc import Callable, Sequence
from typing import Any

from durable_nb.errors import LogFull, LogReadOnly
from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection
from durable_nb.stores.protocol import NewMail, WorkRecord
from durable_nb.stores.queries import statements
from durable_nb.stores.turns import put_mail

SQL = statements("work")


class Work:
    """The verbs of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_work(self, owner: int, now: float, limit: int) -> list[WorkRecord]:
        if not self._database.read(SQL["is_work_due"], (now,))[0][0]:
            return []

        def claim(connection: Connection) -> list[WorkRecord]:
            due = [WorkRecord._make(each) for each in connection.execute(SQL["due_work"], (now, limit))]
            connection.executemany(SQL["claim_work"], [(work.run, work.ask, owner) for work in due])
            return [work._replace(owner=owner) for work in due]

        return self._database.transact(claim)

    def begin_work(self, work: WorkRecord, now: float, begun: Callable[[WorkRecord], NewMail]) -> WorkRecord | None:
        number = work.attempt + 1

        def begin(connection: Connection) -> WorkRecord | None:
            if not connection.execute(SQL["begin_work"], _attempt(work)).rowcount:
                return None
            for each in range(work.told + 1, number + 1):
                put_mail(connection, work.run, begun(work._replace(attempt=each)), now)
            return work._replace(attempt=number, told=number, is_open=True)

        return self._database.transact(begin)

    def give_back_work(self, work: WorkRecord) -> bool:
        try:
            self._database.one(SQL["give_back_work"], _attempt(work))
        except (LogFull, LogReadOnly):
            return False
        return True

    def finish_work(self, work: WorkRecord, mails: Sequence[NewMail], now: float) -> bool:
        return self._settle(SQL["finish_work"], _attempt(work), mails, now)

    def postpone_work(self, work: WorkRecord, due: float, mails: Sequence[NewMail], now: float) -> bool:
        return self._settle(SQL["postpone_work"], (*_attempt(work), due), mails, now)

    def _settle(self, sql: str, attempt: tuple[Any, ...], mails: Sequence[NewMail], now: float) -> bool:
        """Change the work of an attempt that is ours, and tell its run; False when it is not."""

        def settle(connection: Connection) -> bool:
            if not connection.execute(sql, attempt).rowcount:
                return False
            return all(put_mail(connection, attempt[0], mail, now) for mail in mails)

        return self._database.transact(settle)

    def work(self, run: int) -> list[WorkRecord]:
        return [WorkRecord._make(each) for each in self._database.read(SQL["work"], (run,))]

    def next_due(self) -> float | None:
        (due,) = self._database.read(SQL["next_due"])[0]
        return None if due is None else float(due)


def _attempt(work: WorkRecord) -> tuple[Any, ...]:
    return work.run, work.ask, work.attempt, work.owner
