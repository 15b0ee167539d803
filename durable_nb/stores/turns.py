"""Runs and their turns: start, claim, commit, let go."""

from collections.abc import Sequence
from typing import Any

from durable_nb.errors import LogFull, LogReadOnly
from durable_nb.history.events import Row
from durable_nb.stores.births import create
from durable_nb.stores.commits import apply, give_past
from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection, sqlite
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import Commit, NewRun, Past, RunRecord

SQL = statements("turns")
_RECORDS = statements("records")

_HIGHEST = 2**63 - 1
_APPEND = {1: SQL["append_1"], 2: SQL["append_2"], 3: SQL["append_3"]}


class Turns:
    """The verbs of carriers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, new: NewRun) -> tuple[RunRecord, bool]:
        def work(connection: Connection) -> tuple[RunRecord, bool]:
            created = create(connection, new)
            if created is not None:
                return created, True
            (found,) = connection.execute(_RECORDS["run"], (new.id,)).fetchall()
            record = RunRecord._make(found)
            # The same uid means that this very call has been committed before and is tried again.
            return record, record.uid == new.uid

        return self._database.transact(work)

    def start_many(self, news: Sequence[NewRun]) -> list[bool]:
        def work(connection: Connection) -> list[bool]:
            return [create(connection, new) is not None or _is_same(connection, new) for new in news]

        return self._database.transact(work)

    def start_with_past(self, new: NewRun, past: Past) -> tuple[RunRecord, bool]:
        def work(connection: Connection) -> tuple[RunRecord, bool]:
            created = create(connection, new)
            if created is not None:
                give_past(connection, created.key, past)
            (found,) = connection.execute(_RECORDS["run"], (new.id,)).fetchall()
            record = RunRecord._make(found)
            return record, record.uid == new.uid

        return self._database.transact(work)

    def claim(self, owner: int, now: float, limit: int) -> list[RunRecord]:
        if not self._database.read(SQL["is_due"], (now,))[0][0]:
            return []

        def work(connection: Connection) -> list[RunRecord]:
            due = _due(connection, now, limit)
            connection.executemany(SQL["lease"], [(record.key, owner, now) for record in due])
            return [
                record._replace(lease=record.lease + 1, owner=owner, status="running", ready_at=None, updated_at=now)
                for record in due
            ]

        return self._database.transact(work)

    def claim_run(self, key: int, owner: int, now: float) -> RunRecord | None:
        return self._taken(SQL["claim_run"], (key, owner, now))

    def seize(self, key: int, owner: int) -> RunRecord | None:
        return self._taken(SQL["seize"], (key, owner))

    def wrest(self, key: int, owner: int) -> RunRecord | None:
        return self._taken(SQL["wrest"], (key, owner))

    def _taken(self, sql: str, parameters: tuple[Any, ...]) -> RunRecord | None:
        found = self._database.transact(lambda connection: connection.execute(sql, parameters).fetchall())
        return RunRecord._make(found[0]) if found else None

    def give_back(self, run: int, lease: int, now: float) -> bool:
        try:
            self._database.one(SQL["give_back"], (run, lease, now))
        except (LogFull, LogReadOnly):
            return False
        return True

    def commit(self, commit: Commit) -> int:
        return self._database.transact(lambda connection: apply(connection, commit))

    def commit_all(self, commits: Sequence[Commit]) -> None:
        def work(connection: Connection) -> None:
            for commit in commits:
                apply(connection, commit)

        self._database.transact(work)

    def append(self, run: int, lease: int, mail: int, rows: Sequence[Row]) -> int:
        parameters: list[Any] = [run, lease, mail]
        for row in rows:
            parameters += row
        try:
            if self._database.one(_APPEND[len(rows)], parameters):
                return mail
        except sqlite.IntegrityError:
            pass  # the rows are there already: it is tried again, or two write one row
        return self.commit(Commit(run, lease, mail, rows, rows[-1].at))

    def history(self, run: int, after: int = 0) -> list[Row]:
        return list(map(Row._make, self._database.read(SQL["history"], (run, after))))


def _due(connection: Connection, now: float, limit: int) -> list[RunRecord]:
    """Runs that may be claimed: by priority, and of those without one the woken before the new."""
    due: list[RunRecord] = []
    priority = _HIGHEST
    while len(due) < limit:
        (below,) = connection.execute(SQL["next_run_priority"], (priority,)).fetchone()
        if priority > 0 and (below is None or below < 0):
            due += map(RunRecord._make, connection.execute(SQL["due"], (now, limit - len(due))))
        if below is None or len(due) == limit:
            return due
        priority = below
        due += map(RunRecord._make, connection.execute(SQL["due_with_priority"], (now, limit - len(due), priority)))
    return due


def _is_same(connection: Connection, new: NewRun) -> bool:
    """Whether the run is there because this very call was committed before and is tried again."""
    (found,) = connection.execute(_RECORDS["run"], (new.id,)).fetchall()
    return RunRecord._make(found).uid == new.uid
