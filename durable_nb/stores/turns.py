"""Runs and their turns: start, claim, commit, mail."""

from collections.abc import Sequence
from typing import Any

from durable_nb.errors import LogError, LogFull, LogReadOnly
from durable_nb.history.events import Row
from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection, sqlite
from durable_nb.stores.protocol import Commit, LeaseLost, Mail, MailArrived, NewMail, NewRun, Release, RunRecord
from durable_nb.stores.queries import statements

SQL = statements("turns")
_WORK = statements("work")
_RECORDS = statements("records")

_APPEND = {1: SQL["append_1"], 2: SQL["append_2"], 3: SQL["append_3"]}
_ENDED = frozenset({"completed", "failed", "cancelled"})


class Turns:
    """The verbs of carriers, and of those who write to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, new: NewRun) -> tuple[RunRecord, bool]:
        def work(connection: Connection) -> tuple[RunRecord, bool]:
            inserted = connection.execute(SQL["start"], _run_columns(new))
            if inserted.rowcount:
                key = int(inserted.lastrowid or 0)
                connection.execute(SQL["append"], (key, *new.started))
                _refer(connection, key, [(new.started.seq, digest) for digest in new.payloads])
                return _started(new, key), True
            (found,) = connection.execute(_RECORDS["run"], (new.id,)).fetchall()
            record = RunRecord._make(found)
            # The same uid means that this very call has been committed before and is tried again.
            return record, record.uid == new.uid

        return self._database.transact(work)

    def claim(self, owner: int, now: float, limit: int) -> list[RunRecord]:
        if not self._database.read(SQL["is_due"], (now,))[0][0]:
            return []

        def work(connection: Connection) -> list[RunRecord]:
            due = [RunRecord._make(each) for each in connection.execute(SQL["due"], (now, limit))]
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
        return self._database.transact(lambda connection: _apply(connection, commit))

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

    def mail(self, run: int, after: int = 0) -> list[Mail]:
        return [Mail._make(each) for each in self._database.read(SQL["mail"], (run, after))]

    def tell(self, run: int, mail: NewMail, now: float) -> bool:
        return self._database.transact(lambda connection: put_mail(connection, run, mail, now))


def put_mail(connection: Connection, run: int, mail: NewMail, now: float) -> bool:
    """Put mail and raise the run's mark; False when the run is gone or ended."""
    columns = {"run": run, "kind": mail.kind, "ask": mail.ask, "attempt": mail.attempt, "name": mail.name}
    columns |= {"mail_key": mail.key, "value": mail.value, "sender": mail.sender, "now": now}
    put = connection.execute(SQL["tell"], columns).fetchall()
    if not put:
        return False
    connection.execute(SQL["raise_mail"], (run, put[0][0], now, mail.wakes))
    return True


def _started(new: NewRun, key: int) -> RunRecord:
    """The row of a run that was created just now, without reading it."""
    columns = _run_columns(new)
    at = columns.pop("at")
    return RunRecord(
        key=key, execution=1, reason=None, sentence=None, waits=None, outcome=None,
        created_at=at, updated_at=at, ended_at=None, mail=0, **columns,
    )  # fmt: skip


def _run_columns(new: NewRun) -> dict[str, Any]:
    is_owned = new.owner is not None
    return {
        "id": new.id,
        "uid": new.uid,
        "flow": new.flow,
        "version": new.version,
        "status": "running" if is_owned else "pending",
        "code": new.code,
        "arguments": new.arguments,
        "at": new.started.at,
        "ready_at": None if is_owned else new.ready_at,
        "lease": int(is_owned),
        "owner": new.owner,
    }


def _apply(connection: Connection, commit: Commit) -> int:
    """Write a turn inside a transaction; the run's mail mark."""
    run, release = commit.run, commit.release
    if release is not None and _let_go(connection, commit, release):
        mail = commit.mail
    else:
        found = connection.execute(SQL["fence"], (run,)).fetchone()
        if found is None:
            raise LeaseLost("the run was deleted meanwhile; nothing was written")
        lease, owner, mail = found
        if lease != commit.lease or owner is None:
            if _is_done(connection, commit, is_free=lease == commit.lease):
                return int(mail)
            raise LeaseLost
        if release is not None:
            raise MailArrived
    try:
        connection.executemany(SQL["append"], [(run, *row) for row in commit.rows])
    except sqlite.IntegrityError as error:
        if _is_done(connection, commit, is_free=False):
            return int(mail)
        raise LogError(
            f"rows of run {run} are there already with other content: two carriers hold lease {commit.lease}"
        ) from error
    _apply_rest(connection, commit)
    return int(mail)


def _apply_rest(connection: Connection, commit: Commit) -> None:
    run, at = commit.run, commit.at
    if commit.consumed:
        connection.execute(SQL["consume"], (run, commit.consumed))
    if commit.orders:
        connection.executemany(SQL["follow"], [(run, seq) for seq in commit.orders])
    if commit.work:
        added = [
            (
                run,
                new.ask,
                new.begun + int(new.owner is not None),
                new.begun,
                new.owner is not None,
                at if new.due is None else new.due,
                new.owner,
                new.name,
                new.data,
            )
            for new in commit.work
        ]
        connection.executemany(_WORK["add_work"], added)
    if commit.dropped:
        connection.executemany(_WORK["drop_work"], [(run, ask) for ask in commit.dropped])
    if commit.forgives:
        connection.execute(_WORK["forgive_work"], (run,))
    _refer(connection, run, commit.payloads)
    if commit.code is not None:
        connection.execute(SQL["pin"], (run, commit.code))
    if commit.release is not None and commit.release.status in _ENDED:
        if commit.mail:
            connection.execute(SQL["drop_mail"], (run,))
        connection.execute(SQL["drop_all_work"], (run,))


def _let_go(connection: Connection, commit: Commit, release: Release) -> bool:
    """Give the lease back, if it is held and no mail has come: the check and the change in one statement."""
    columns = {"run": commit.run, "lease": commit.lease, "mail": commit.mail, "at": commit.at, **release._asdict()}
    return bool(connection.execute(SQL["release"], columns).rowcount)


def _is_done(connection: Connection, commit: Commit, is_free: bool) -> bool:
    """Whether this commit was made before: its rows are there, or, without rows, the lease it gives back is free."""
    if not commit.rows:
        return commit.release is not None and is_free
    return all(connection.execute(SQL["row"], (commit.run, row.seq)).fetchone() == tuple(row) for row in commit.rows)


def _refer(connection: Connection, run: int, payloads: Sequence[tuple[int, str]]) -> None:
    for seq, digest in payloads:
        if not connection.execute(_RECORDS["refer"], (run, seq, digest)).rowcount:
            raise LogError(f"payload {digest} is not in the log; it has to be put before it is referred to")
        connection.execute(_RECORDS["referred"], (digest,))
