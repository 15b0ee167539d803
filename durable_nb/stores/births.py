"""How a run comes into the log: by a client's start, or in the commit of the run that asked for it."""

from collections.abc import Sequence
from typing import Any

from durable_nb.errors import LogError
from durable_nb.stores.library import Connection
from durable_nb.stores.mailing import SQL as MAILING, take_early
from durable_nb.stores.protocol import IdTaken
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import NewRun, RunRecord

SQL = statements("turns")
_RECORDS = statements("records")


def create(connection: Connection, new: NewRun) -> RunRecord | None:
    """Insert the run with its first row, its payloads and the signals that came early; None when the id is in use."""
    columns = _columns(new)
    inserted = connection.execute(SQL["start"], columns).fetchall()
    if not inserted:
        return None
    key = int(inserted[0][0])
    connection.execute(SQL["append"], (key, *new.started))
    refer(connection, key, [(new.started.seq, digest) for digest in new.payloads])
    mail = take_early(connection, key, new.id, new.started.at)
    at = columns.pop("at")
    # Without reading the row: it is what was written, and the defaults of the schema.
    return RunRecord(
        key=key, execution=1, reason=None, sentence=None, waits=None, outcome=None,
        created_at=at, updated_at=at, ended_at=None, mail=mail, **columns,
    )  # fmt: skip


def create_all(connection: Connection, starts: Sequence[NewRun]) -> None:
    """Create the runs a commit asks for; IdTaken when somebody else has an id."""
    for new in starts:
        if create(connection, new) is not None:
            continue
        _, uid, _ = connection.execute(MAILING["addressee"], (new.id,)).fetchone()
        if uid != new.uid:
            raise IdTaken(new.id)


def refer(connection: Connection, run: int, payloads: Sequence[tuple[int, str]]) -> None:
    """Say that rows of the run need these payloads."""
    for seq, digest in payloads:
        if not connection.execute(_RECORDS["refer"], (run, seq, digest)).rowcount:
            raise LogError(f"payload {digest} is not in the log; it has to be put before it is referred to")
        connection.execute(_RECORDS["referred"], (digest,))


def _columns(new: NewRun) -> dict[str, Any]:
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
        "parent": new.parent,
        "parent_ask": new.parent_ask,
        "origin": new.origin,
        "priority": new.priority,
    }
