"""The end of a turn: what its outcome becomes in the log, in the commit that gives the lease back."""

from typing import TYPE_CHECKING, Any

import msgspec

from durable_nb.codec.values import plain_json
from durable_nb.engine import turn as t
from durable_nb.errors import DurableError
from durable_nb.history import events as e, wire
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row
from durable_nb.history.values import plain
from durable_nb.stores.protocol import Release

if TYPE_CHECKING:
    from durable_nb.runtime.carry import Carry


def settle(carry: "Carry", outcome: t.Outcome) -> None:
    """Write the end of the turn. MailArrived when the run must go another round first."""
    match outcome:
        case t.Returned(value, unsent):
            _completed(carry, value, unsent)
        case t.Raised(error, answer, unsent):
            _failed(carry, error, answer, unsent)
        case t.Interrupted():
            carry.was_interrupted = True
            _paused(carry, "interrupted in the flow's own code; resume() goes on from the last finished step")
        case t.Mismatched(found):
            _parked(carry, "mismatch", found.report, found.seq)
        case t.Swallowed(line):
            _parked(
                carry,
                "swallowed",
                f"the flow caught the suspension of its wait at {line} and went on; let BaseException pass there "
                "(`except Exception`, no return in finally)",
                None,
            )
        case t.Waiting():
            _waiting(carry)


def _waiting(carry: "Carry") -> None:
    ending = carry.ending
    if ending is None:
        release = Release("waiting", carry.wake_at, waits=_waits(carry))
        carry.release([], release)
    elif ending.status == "paused":
        _paused(carry, ending.sentence)
    elif ending.status == "parked":
        _parked(carry, ending.reason, ending.sentence, ending.ask)
    elif ending.status == "stopping":
        carry.release([], Release("waiting", carry.runtime.now(), waits=_waits(carry)))


def _completed(carry: "Carry", value: Any, unsent: list[Ask]) -> None:
    what = f"the result of flow `{carry.record.flow}`"
    try:
        json = plain_json(value)
        kept = plain(json) if json is not None and len(json) < 65536 else carry.runtime.values.keep(value, what)
    except DurableError as error:
        _failed(carry, error, None, unsent)
        return
    rows = _asked(carry, unsent)
    number = carry.head + len(rows) + 1
    event = e.Completed(seq=number, at=carry.runtime.now(), value=kept)
    _end(carry, [*rows, wire.row_of(event)], "completed", None, None)


def _failed(carry: "Carry", error: BaseException, answer: int | None, unsent: list[Ask]) -> None:
    rows = _asked(carry, unsent)
    number = carry.head + len(rows) + 1
    failure = carry.runtime.values.failure(error)
    event = e.RunFailed(seq=number, at=carry.runtime.now(), failure=failure, cut=number if answer is None else answer)
    carry.error = error
    _end(carry, [*rows, wire.row_of(event)], "failed", failure.type, failure.sentence[:2000])


def _end(carry: "Carry", rows: list[Row], status: str, reason: str | None, sentence: str | None) -> None:
    last = carry.runtime.values.mark_row(rows[-1], carry.record.uid)
    release = Release(status, None, reason=reason, sentence=sentence, outcome=wire.ended_of(last))
    carry.release([*rows[:-1], last], release)


def _asked(carry: "Carry", unsent: list[Ask]) -> list[Row]:
    """Asks that were begun and never waited for: in the history, so that a replay finds them, but nobody runs them."""
    at = carry.runtime.now()
    return [Row(number, ask.kind, None, ask.name, ask.data, at) for number, ask in enumerate(unsent, carry.head + 1)]


def _paused(carry: "Carry", sentence: str) -> None:
    row = wire.row_of(e.Paused(seq=carry.head + 1, at=carry.runtime.now(), sentence=sentence))
    carry.release(
        [row], Release("paused", None, reason="paused", sentence=sentence, waits=_waits(carry)), **_orders(carry)
    )


def _parked(carry: "Carry", reason: str, sentence: str, ask: int | None) -> None:
    event = e.Parked(seq=carry.head + 1, at=carry.runtime.now(), reason=reason, sentence=sentence, ask=ask)
    carry.release([wire.row_of(event)], Release("parked", None, reason=reason, sentence=sentence, waits=_waits(carry)))


def _orders(carry: "Carry") -> dict[str, Any]:
    """A pause takes the mail that ordered it with it, or it would pause again after every resume."""
    orders = [mail.seq for mail in carry.runtime.store.mail(carry.record.key) if mail.kind == "pause"]
    return {"orders": orders} if orders else {}


class Waits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run waits for, as it lies in its row."""

    ask: int
    kind: str
    name: str | None = None
    due: float | None = None


def _waits(carry: "Carry") -> str | None:
    row = carry.waits
    if row is None:
        return None
    return msgspec.json.encode(Waits(row.seq, row.kind, row.name, carry.wake_at)).decode()
