"""Schedules: kept, and fired by one process each time."""

from collections.abc import Iterable, Sequence
from typing import Any

from durable_nb.stores.births import create
from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import NewRun, ScheduleRecord

SQL = statements("schedules")


class Schedules:
    """The verbs of schedules."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_schedule(self, schedule: ScheduleRecord) -> None:
        self._database.one(SQL["put_schedule"], schedule)

    def drop_schedule(self, id: str) -> bool:
        return bool(self._database.one(SQL["drop_schedule"], (id,)))

    def schedules(self) -> list[ScheduleRecord]:
        return _records(self._database.read(SQL["schedules"]))

    def due_schedules(self, now: float) -> list[ScheduleRecord]:
        return _records(self._database.read(SQL["due_schedules"], (now,)))

    def fire(self, due: ScheduleRecord, after: ScheduleRecord, starts: Sequence[NewRun]) -> bool:
        def work(connection: Connection) -> bool:
            if _records(connection.execute(SQL["schedule"], (due.id,))) != [due]:
                return False
            for new in starts:
                create(connection, new)  # an id that is in use is that of a tick which came to a run already
            connection.execute(SQL["put_schedule"], after)
            return True

        return self._database.transact(work)


def _records(rows: Iterable[Sequence[Any]]) -> list[ScheduleRecord]:
    return [record._replace(paused=bool(record.paused)) for record in map(ScheduleRecord._make, rows)]
