"""A turn is written: all of it or nothing, under the lease."""

from typing import Any

import msgspec

from durable_nb.errors import LogError
from durable_nb.stores.births import create_all, refer
from durable_nb.stores.library import Connection, sqlite
from durable_nb.stores.mailing import ENDED, SQL as MAILING, put_back, put_mail, put_messages
from durable_nb.stores.protocol import LeaseLost, MailArrived
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import Commit, NewMail, NewWork, Past, Release
from durable_nb.stores.watching import end_watches, watch

SQL = statements("turns")
_RECORDS = statements("records")
_WORK = statements("work")


def apply(connection: Connection, commit: Commit) -> int:
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
    mark = _apply_all(connection, commit)
    if release is not None and release.status in ENDED:
        if commit.mail:
            connection.execute(MAILING["drop_mail"], (run, release.status == "failed"))
        connection.execute(SQL["drop_all_work"], (run,))
        end_watches(connection, run, commit.at)
    return max(mark, int(mail))


def give_past(connection: Connection, run: int, past: Past) -> None:
    """Write what a run has that begins in the middle: nobody holds it yet, so nothing is checked."""
    starts = [new._replace(parent=run) for new in past.parts.starts]
    parts = past.parts._replace(run=run, starts=starts)
    connection.execute(SQL["place"], (run, past.execution, past.base, parts.at))
    connection.executemany(SQL["append"], [(run, *row) for row in parts.rows])
    _apply_all(connection, parts)
    connection.executemany(_RECORDS["put_output"], [(run, *piece) for piece in past.output])
    if parts.release is not None:
        connection.execute(SQL["end_at_birth"], {"run": run, "at": parts.at, **parts.release._asdict()})


def _apply_all(connection: Connection, commit: Commit) -> int:
    """All but the rows and the lease; the number of the last mail that the run got."""
    _apply_mail(connection, commit)
    refused = _apply_work(connection, commit)
    refer(connection, commit.run, commit.payloads)
    create_all(connection, commit.starts)
    _apply_own(connection, commit)
    # Mail comes last: a run that writes to itself and lets go is free by now, and woken; what is created here gets its
    # mail too, and who waits for the end of this run has its messages before the news.
    mark = watch(connection, commit.run, commit.watches, commit.at)
    for mail in refused:
        mark = put_mail(connection, commit.run, mail, commit.at)
    return put_messages(connection, commit.messages, commit.at).get(commit.run, mark)


def _apply_mail(connection: Connection, commit: Commit) -> None:
    if commit.consumed:
        connection.execute(MAILING["consume"], (commit.run, commit.consumed))
    if commit.taken:
        connection.executemany(MAILING["take"], [(commit.run, seq) for seq in commit.taken])
    if commit.freed:
        connection.executemany(MAILING["free_key"], [(commit.run, *each) for each in commit.freed])
    if commit.returned:
        put_back(connection, commit.run, commit.returned)


def _apply_work(connection: Connection, commit: Commit) -> list[NewMail]:
    """Add and drop work; the mail for what is not added, because other work in its queue has its key."""
    refused = []
    added = commit.work
    if any(new.dedup for new in added):
        added = []
        for new in commit.work:
            holder = _holder(connection, commit.run, new)
            if holder is None:
                connection.execute(_WORK["add_work"], _work_columns(commit.run, new, commit.at))
            else:
                refused.append(NewMail("queued", new.ask, None, None, None, msgspec.json.encode(holder), "", True))
    if added:
        connection.executemany(_WORK["add_work"], [_work_columns(commit.run, new, commit.at) for new in added])
    if commit.dropped:
        dropped = [(commit.run, ask) for ask in commit.dropped]
        connection.executemany(_WORK["drop_work"], dropped)
        connection.executemany(MAILING["drop_watch"], dropped)
    if commit.forgives:
        connection.execute(_WORK["forgive_work"], (commit.run,))
    return refused


def _holder(connection: Connection, run: int, new: NewWork) -> str | None:
    """The run whose work has the key of this one."""
    found = connection.execute(_WORK["holder"], (new.queue, new.dedup, run, new.ask)).fetchone() if new.dedup else None
    return None if found is None else str(found[0])


def _work_columns(run: int, new: NewWork, at: float) -> tuple[Any, ...]:
    is_begun = new.owner is not None
    attempt = (new.begun + is_begun, new.begun, is_begun)
    lane = (new.queue, new.queue_key, new.tag, new.session, new.priority, new.dedup)
    return run, new.ask, *attempt, at if new.due is None else new.due, new.owner, new.name, new.data, *lane


def _apply_own(connection: Connection, commit: Commit) -> None:
    """What the run itself has: its code, state, note and execution."""
    run = commit.run
    if commit.code is not None:
        connection.execute(SQL["pin"], (run, commit.code))
    for key, value in commit.state:
        if value is None:
            connection.execute(SQL["drop_state"], (run, key))
        else:
            connection.execute(SQL["put_state"], (run, key, value))
    if commit.note is not None:
        connection.execute(SQL["put_note"], (run, commit.note))
    if commit.next is not None:
        connection.execute(SQL["begin_execution"], {"run": run, **commit.next._asdict()})


def _let_go(connection: Connection, commit: Commit, release: Release) -> bool:
    """Give the lease back, if it is held and no mail has come: the check and the change in one statement."""
    columns = {"run": commit.run, "lease": commit.lease, "mail": commit.mail, "at": commit.at, **release._asdict()}
    return bool(connection.execute(SQL["release"], columns).rowcount)


def _is_done(connection: Connection, commit: Commit, is_free: bool) -> bool:
    """Whether this commit was made before: its rows are there, or, without rows, the lease it gives back is free."""
    if not commit.rows:
        return commit.release is not None and is_free
    return all(connection.execute(SQL["row"], (commit.run, row.seq)).fetchone() == tuple(row) for row in commit.rows)
