"""The end of a turn: what its outcome becomes in the log, in the commit that gives the lease back."""

from typing import Any

import msgspec

from durable_nb.codec.values import plain_json
from durable_nb.engine import turn as t
from durable_nb.engine.cursor import Ticket
from durable_nb.errors import Corrupt, DurableError
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.values import plain
from durable_nb.runtime.asking import Asking
from durable_nb.runtime.lease import Lease
from durable_nb.stores.shapes import Execution, Release


def settle(lease: Lease, outcome: t.Outcome) -> None:
    """Write the end of the turn. MailArrived when the run must go another round first."""
    match outcome:
        case t.Returned(value, unsent):
            _completed(lease, value, unsent)
        case t.Raised(error, answer, unsent):
            _failed(lease, error, answer, unsent)
        case t.CancelledRun(reason, unsent):
            _cancelled(lease, reason, unsent)
        case t.Continued(args, kwargs, unsent):
            _continued(lease, args, kwargs, unsent)
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
    elif ending.status == "cancelled":
        _cancelled(lease, ending.sentence, [], is_cut_off=True)
    elif ending.status == "stopping":
        lease.release([], Release("waiting", lease.shared.now(), waits=_waits(lease)))


def _completed(lease: Lease, value: Any, unsent: list[Ticket]) -> None:
    what = f"the result of flow `{lease.record.flow}`"
    try:
        json = plain_json(value)
        kept = plain(json) if json is not None and len(json) < 65536 else lease.shared.values.keep(value, what)
    except DurableError as error:
        _failed(lease, error, None, unsent)
        return
    rows, parts = _last_words(lease, unsent)
    number, at = lease.head + len(rows) + 1, lease.shared.now()
    if json is not None and kept.is_plain:
        # What nearly every flow returns, put together as it lies in the log.
        data = b'{"json":' + json + b"}"
        outcome = b'{"seq":%d,"value":%b}' % (number, data)
        row = Row(number, "completed", None, None, data, at)
        lease.release([*rows, row], Release("completed", None, outcome=outcome), **parts)
        return
    _end(lease, [*rows, wire.row_of(e.Completed(seq=number, at=at, value=kept))], Release("completed", None), parts)


def _failed(lease: Lease, error: BaseException, answer: int | None, unsent: list[Ticket]) -> None:
    rows, parts = _last_words(lease, unsent)
    number = lease.head + len(rows) + 1
    failure = lease.shared.values.failure(error)
    event = e.RunFailed(seq=number, at=lease.shared.now(), failure=failure, cut=number if answer is None else answer)
    lease.error = error
    release = Release("failed", None, reason=failure.type, sentence=failure.sentence[:2000])
    _end(lease, [*rows, wire.row_of(event)], release, parts)


def _cancelled(lease: Lease, reason: str, unsent: list[Ticket], is_cut_off: bool = False) -> None:
    rows, parts = _last_words(lease, unsent)
    sentence = reason or "no reason was given"
    seq, at = lease.head + len(rows) + 1, lease.shared.now()
    event = e.RunCancelled(seq=seq, at=at, sentence=sentence, is_cut_off=is_cut_off)
    _end(lease, [*rows, wire.row_of(event)], Release("cancelled", None, reason="cancelled", sentence=sentence), parts)


def _continued(lease: Lease, args: tuple[Any, ...], kwargs: dict[str, Any], unsent: list[Ticket]) -> None:
    """The next execution: newest code, given arguments, the state as it is; what is open is closed as at an end."""
    shared, record = lease.shared, lease.record
    try:
        flow = shared.definitions.newest_flow(record)
        named = flow.arguments.named(args, kwargs)
        arguments = shared.values.keep_arguments(named, f"flow `{flow.name}`")
        code = shared.definitions.pin(flow)
    except DurableError as error:
        _failed(lease, error, None, unsent)
        return
    rows, parts = _last_words(lease, unsent, is_last=False)
    base, at = lease.head + len(rows) + 1, shared.now()
    version = flow.options_.version
    state = lease.turn.state if lease.turn is not None else {}
    started = e.Started(
        seq=base + 1, at=at, flow=record.flow, code=code, mark="", arguments=arguments, version=version, state=state
    )
    rows += [wire.row_of(e.Continued(seq=base, at=at)), wire.row_of(started)]
    parts["next"] = Execution(base, code, version)
    lease.release(rows, Release("waiting", at), **parts)


def _end(lease: Lease, rows: list[Row], release: Release, parts: dict[str, Any]) -> None:
    last = lease.shared.values.mark_row(rows[-1], lease.record.uid)
    lease.release([*rows[:-1], last], release._replace(outcome=wire.ended_of(last)), **parts)


def _last_words(lease: Lease, unsent: list[Ticket], is_last: bool = True) -> tuple[list[Row], dict[str, Any]]:
    """What the flow asked and never waited for: in the history, so that a replay finds it, but nobody does it.

    Whatever is still open is given up.
    """
    turn = lease.turn
    if not unsent and (turn is None or not (turn.cursor.open or turn.cursor.dropped or turn.taken)):
        return [], {}
    asking = Asking(lease, None)
    asking.add(unsent)
    if turn is not None:
        for seq, ticket in turn.cursor.open.items():
            asking.release(ticket, seq, "has ended")
        for seq, breadcrumb in turn.cursor.dropped.items():
            asking.release(breadcrumb.ask.body, seq)
        if not is_last:
            for ticket in turn.taken.values():
                asking.release(ticket, 0)
    return asking.rows, asking.parts()


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
    orders = [mail.seq for mail in lease.inbox.orders]
    return {"taken": orders} if orders else {}


class Waits(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the asks a run waits for, as it lies in its row."""

    ask: int
    kind: str
    name: str | None = None
    due: float | None = None
    type: msgspec.Raw = e.ANYTHING


_SHOWN = 20  # of the asks a run waits for at once, those its row names


def _waits(lease: Lease) -> str | None:
    if not lease.waits:
        return None
    return msgspec.json.encode([_wait(lease, row) for row in lease.waits[:_SHOWN]]).decode()


def _wait(lease: Lease, row: Row) -> Waits:
    try:
        event = wire.event_of(row)
    except Corrupt:  # the run is parked for it; its row names the ask nevertheless
        return Waits(row.seq, row.kind, row.name)
    due = event.due if isinstance(event, e.TimerAsked | e.StepAsked) else None
    if isinstance(event, e.StepAsked) and not event.elsewhere:
        due = lease.wake_at
    expected = event.type if isinstance(event, e.SignalAsked) else e.ANYTHING
    name = event.run if isinstance(event, e.WatchAsked) else row.name
    return Waits(row.seq, row.kind, name, due, expected)
