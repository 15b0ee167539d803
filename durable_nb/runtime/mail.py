"""From the inbox to the history: what mail becomes when the holder of the lease admits it."""

from durable_nb.errors import Corrupt, Untrusted
from durable_nb.history.events import Row
from durable_nb.runtime.lease import Lease
from durable_nb.stores.protocol import Mail


def row_of_mail(lease: Lease, mail: Mail, open: dict[int, Row], seq: int) -> Row | None:
    """The row for a piece of mail, None for what has no place in the history any more (a late answer)."""
    if mail.ask is None or mail.ask not in open:
        return None
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
