"""From the inbox to the history: what mail becomes when the holder of the lease admits it."""

from durable_nb.errors import AlreadyQueued, Corrupt, RunCancelled, RunFailed, Untrusted
from durable_nb.flows.remarks import Move, Owned, Spot
from durable_nb.flows.values import Values
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.values import Value
from durable_nb.runtime.lease import Lease
from durable_nb.stores.shapes import Mail, RunRecord


def row_of_mail(lease: Lease, mail: Mail, seq: int) -> Row | None:
    """The row for mail of a worker to an open ask."""
    if mail.kind in ("returned", "raised", "attempt", "attempt_failed"):
        return remark(lease, Row(seq, mail.kind, mail.ask, None, mail.value, mail.sent_at))
    return None


def remark(lease: Lease, row: Row) -> Row:
    """Give a value that a worker signed for its ask the mark of its place in the history."""
    if b'"codec":' not in row.data or row.ref is None:
        return row
    values, uid = lease.shared.values, lease.record.uid
    try:
        values.check_row(row._replace(seq=-row.ref), uid)
    except Untrusted as cause:
        raise Corrupt(f"mail for ask {row.ref} of run {lease.record.id!r} was not written by your key") from cause
    return values.mark_row(row, uid)


def received_row(lease: Lease, mail: Mail, ask: int, value: Value) -> Row:
    """The row of a signal that a wait has taken."""
    event = e.Received(
        seq=lease.head + 1, at=lease.shared.now(), ref=ask, name=mail.name or "", value=value, mail=mail.seq,
        sender=mail.sender, sent_at=mail.sent_at, key=mail.key,
    )  # fmt: skip
    return wire.row_of(event)


def mail_again(values: Values, record: RunRecord, event: e.Received) -> Mail:
    """A signal that was received and goes back to its mailbox, as it lay there."""
    move = Move(Owned(values, record.uid), Owned(values, record.id))
    value = move.value(event.value, Spot(record.uid, event.seq, "received"), Spot(record.id, 0, "signal"))
    data = wire.encode_value(value)
    return Mail(event.mail, "signal", None, None, event.name, event.key, data, event.sender, event.sent_at)


def ended_row(lease: Lease, mail: Mail, asked: Row) -> Row:
    """What came of another run, for the ask that waits for its end."""
    shared = lease.shared
    record = shared.store.run(mail.name or "") if mail.kind == "ended" else None
    if record is None or record.outcome is None:
        return _raised(lease, asked, RunFailed(f"run {mail.name!r} was deleted"))
    ended = wire.decode_ended(record.outcome)
    if record.status == "cancelled":
        return _raised(lease, asked, RunCancelled(f"run {record.id!r} was cancelled: {record.sentence}"))
    if ended.value is not None:
        shared.values.check(ended.value, record.uid, ended.seq, "completed", f"the result of run {record.id!r}")
        return lease.new_row("returned", asked.seq, None, wire.encode_value(ended.value))
    assert ended.failure is not None
    if ended.failure.error is not None:
        what = f"the failure of run {record.id!r}"
        shared.values.check(ended.failure.error, record.uid, ended.seq, "failed", what)
    return lease.new_row("raised", asked.seq, None, wire.encode_failure(ended.failure))


def queued_row(lease: Lease, mail: Mail, asked: Row) -> Row:
    """Another step has the key in its queue."""
    event = wire.event_of(asked)
    assert isinstance(event, e.StepAsked)
    whose = f"run {holder!r}" if (holder := wire.text_of(mail.value)) else "a run that is deleted"
    sentence = f"`{asked.name}` is in queue `{event.queue}` already, for {whose}; ask again when that has ended"
    return _raised(lease, asked, AlreadyQueued(sentence))


def _raised(lease: Lease, asked: Row, error: Exception) -> Row:
    return lease.new_row("raised", asked.seq, None, wire.encode_failure(lease.shared.values.failure(error)))
