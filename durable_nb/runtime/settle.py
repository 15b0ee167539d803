"""The end of a turn: what its outcome becomes in the log, in the commit that gives the lease back."""

from typing import Any

import msgspec

from durable_nb.codec.values import plain_json
from durable_nb.engine import turn as t
from durable_nb.errors import DurableError
from durable_nb.history import events as e, wire
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row
from durable_nb.history.values import plain
from durable_nb.runtime.lease import Lease
from durable_nb.stores.protocol import Release


def settle(lease: Lease, outcome: t.Outcome) -> None:
    """Write the end of the turn. MailArrived when the run must go another round first."""
    match outcome:
        case t.Returned(value, unsent):
            _completed(lease, value, unsent)
        case t.Raised(error, answer, unsent):
            _failed(lease, error, answer, unsent)
        case t.Interrupted():
            lease.was_interrupted = True
            _paused(lease, "interrupted in the flow's own code; resume() goes on from the last finished step")
        case t.Mismatched(found):
            _parked(lease, "mismatch", found.report, found.seq)
        case t.Swallowed(line):
            _parked(
                lease,
                "swallowed",
                f"the flow caught the suspension of its wait at {line} and went on; let BaseException pass there "
                "(`except Exception`, no return in finally)",
                None,
            )
        case t.Waiting():
            _waiting(lease)


def _waiting(lease: Lease) -> None:
    ending = lease.ending
    if ending is None:
        release = Release("waiting", lease.wake_at, waits=_waits(lease))
        lease.release([], release)
    elif ending.status == "paused":
        _paused(lease, ending.sentence)
    elif ending.status == "parked":
        _parked(lease, ending.reason, ending.sentence, ending.ask)
    elif ending.status == "stopping":
        lease.release([], Release("waiting", lease.shared.now(), waits=_waits(lease)))


def _completed(lease: Lease, value: Any, unsent: list[Ask]) -> None:
    what = f"the result of flow `{lease.record.flow}`"
    try:
        json = plain_json(value)
        kept = plain(json) if json is not None and len(json) < 65536 else lease.shared.values.keep(value, what)
    except DurableError as error:
        _failed(lease, error, None, unsent)
        return
    rows = _asked(lease, unsent)
    number, at = lease.head + len(rows) + 1, lease.shared.now()
    if json is not None and kept.is_plain:
        # What nearly every flow returns, put together as it lies in the log.
        data = b'{"json":' + json + b"}"
        outcome = b'{"seq":%d,"value":%b}' % (number, data)
        lease.release(
            [*rows, Row(number, "completed", None, None, data, at)], Release("completed", None, outcome=outcome)
        )
        return
    _end(lease, [*rows, wire.row_of(e.Completed(seq=number, at=at, value=kept))], "completed", None, None)


def _failed(lease: Lease, error: BaseException, answer: int | None, unsent: list[Ask]) -> None:
    rows = _asked(lease, unsent)
    number = lease.head + len(rows) + 1
    failure = lease.shared.values.failure(error)
    event = e.RunFailed(seq=number, at=lease.shared.now(), failure=failure, cut=number if answer is None else answer)
    lease.error = error
    _end(lease, [*rows, wire.row_of(event)], "failed", failure.type, failure.sentence[:2000])


def _end(lease: Lease, rows: list[Row], status: str, reason: str | None, sentence: str | None) -> None:
    last = lease.shared.values.mark_row(rows[-1], lease.record.uid)
    release = Release(status, None, reason=reason, sentence=sentence, outcome=wire.ended_of(last))
    lease.release([*rows[:-1], last], release)


def _asked(lease: Lease, unsent: list[Ask]) -> list[Row]:
    """Asks that were begun and never waited for: in the history, so that a replay finds them, but nobody runs them."""
    at = lease.shared.now()
    return [Row(number, ask.kind, None, ask.name, ask.data, at) for number, ask in enumerate(unsent, lease.head + 1)]


def _paused(lease: Lease, sentence: str) -> None:
    row = wire.row_of(e.Paused(seq=lease.head + 1, at=lease.shared.now(), sentence=sentence))
    lease.release(
        [row], Release("paused", None, reason="paused", sentence=sentence, waits=_waits(lease)), **_orders(lease)
    )


def _parked(lease: Lease, reason: str, sentence: str, ask: int | None) -> None:
    event = e.Parked(seq=lease.head + 1, at=lease.shared.now(), reason=reason, sentence=sentence, ask=ask)
    lease.release([wire.row_of(event)], Release("parked", None, reason=reason, sentence=sentence, waits=_waits(lease)))


def _orders(lease: Lease) -> dict[str, Any]:
    """A pause takes the mail that ordered it with it, or it would pause again after every resume."""
    orders = [mail.seq for mail in lease.shared.store.mail(lease.record.key) if mail.kind == "pause"]
    return {"taken": orders} if orders else {}


class Waits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run waits for, as it lies in its row."""

    ask: int
    kind: str
    name: str | None = None
    due: float | None = None


def _waits(lease: Lease) -> str | None:
    row = lease.waits
    if row is None:
        return None
    return msgspec.json.encode(Waits(row.seq, row.kind, row.name, lease.wake_at)).decode()
