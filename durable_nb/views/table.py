"""A history as a table: one row per event, with what happened in a few words and as plain data."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, assert_never

import msgspec

from durable_nb.durations import as_datetime
from durable_nb.errors import Corrupt
from durable_nb.history import events as e, wire
from durable_nb.history.failure import Failure
from durable_nb.history.values import Value
from durable_nb.views.values import arguments_form, arguments_text, failure_form, value_form, value_text

_IN_COLUMNS = frozenset({"seq", "at", "ref", "name", "mark"})


class EventRow(NamedTuple):
    """One line of a history. `name` is the flow or step concerned, of an answer the step it answers."""

    seq: int
    at: float
    kind: str
    ref: int | None
    name: str | None
    what: str
    data: dict[str, Any]


def table(rows: Iterable[e.Row]) -> Iterator[EventRow]:
    """A line for each row, as they come; one that cannot be read says so in its line and stops nothing."""
    names: dict[int, str | None] = {}
    for row in rows:
        if row.kind in e.ASKS:
            names[row.seq] = row.name
        name = row.name if row.ref is None else names.get(row.ref)
        try:
            event = wire.event_of(row)
            what, data = _what(event), _data(event)
        except (Corrupt, msgspec.MsgspecError) as broken:
            what, data = f"cannot be read: {broken}", {}
        yield EventRow(row.seq, row.at, row.kind, row.ref, name, what, data)


def readable(rows: Iterable[e.Row]) -> list[e.Row]:
    """The rows that can be read: one bad row must not hide the others."""
    return [row for row in rows if _is_readable(row)]


def _is_readable(row: e.Row) -> bool:
    try:
        wire.event_of(row)
    except Corrupt:
        return False
    return True


def clock_text(at: float) -> str:
    """'2026-11-20 14:02:11.250', UTC."""
    return as_datetime(at).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _what(event: e.AnyEvent) -> str:
    match event:
        case e.Started() | e.StepAsked() | e.ChildAsked() | e.StartAsked():
            return _asked(event)
        case e.StateSet() | e.Noted():
            return value_text(event.value)
        case e.TimerAsked():
            return f"until {clock_text(event.due)}"
        case e.Returned() | e.Completed():
            return value_text(event.value)
        case e.Raised():
            return event.failure.sentence
        case e.RunFailed():
            return event.failure.sentence + (f" ({event.failure.where})" if event.failure.where else "")
        case e.Fired():
            return "the timer is due"
        case e.Received():
            return f"{value_text(event.value)}, sent by {event.sender}"
        case e.SignalRejected():
            return f"{value_text(event.value)}, sent by {event.sender}, is refused: {event.sentence}"
        case e.AttemptStarted():
            return f"attempt {event.attempt} begins"
        case e.AttemptFailed():
            again = clock_text(event.retry_at)
            return f"attempt {event.attempt} failed with {event.failure.sentence}; the next one begins {again}"
        case e.AttemptInterrupted():
            return f"attempt {event.attempt} was interrupted"
        case e.Paused() | e.Resumed() | e.RunCancelled():
            return event.sentence
        case e.Parked():
            return f"{event.reason}: {event.sentence}"
        case e.Retried():
            return f"goes on from event {event.cut}; what came after it is set aside"
        case e.CodeChanged():
            return f"goes on with the code {event.code[:12]}"
        case e.Forked():
            return f"forked from run {event.origin!r} after its event {event.at_event}"
        case e.Cancelling():
            return f"{event.sender} wants the run to end" + (f": {event.reason}" if event.reason else "")
        case e.SignalAsked() | e.WatchAsked() | e.LookAsked() | e.TellAsked() | e.StateRemoved():
            return _about(event)
        case e.Patched() | e.Dropped() | e.Continued():
            return _SAID[type(event)]
        case _:
            assert_never(event)


_SAID: dict[type[e.Event], str] = {
    e.Patched: "the run has the newer code here",
    e.Dropped: "given up",
    e.Continued: "goes on as a new execution",
}


def _about(event: e.SignalAsked | e.WatchAsked | e.LookAsked | e.TellAsked | e.StateRemoved) -> str:
    match event:
        case e.SignalAsked():
            return "waits its turn at the mailbox"
        case e.WatchAsked():
            return f"waits for the end of run {event.run!r}"
        case e.LookAsked():
            return f"looks at the state of run {event.run!r}"
        case e.TellAsked():
            mailbox = f", mailbox `{event.mailbox}`" if event.mailbox else ""
            return f"to run {event.run!r}{mailbox}" + (f": {value_text(event.value)}" if event.value else "")
        case e.StateRemoved():
            return "removed"


def _asked(event: e.Started | e.StepAsked | e.ChildAsked | e.StartAsked) -> str:
    text = f"({arguments_text(event.arguments)})"
    if isinstance(event, e.ChildAsked | e.StartAsked) and event.id is not None:
        text += f" as run {event.id!r}"
    if isinstance(event, e.StepAsked):
        text += " on a worker" if event.elsewhere else ""
        text += f", not before {clock_text(event.due)}" if event.due is not None else ""
    return text


def _form(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: value_form(one) if isinstance(one, Value) else one for name, one in part.items()}
    return msgspec.json.decode(part) if isinstance(part, msgspec.Raw) else part


def _data(event: e.AnyEvent) -> dict[str, Any]:
    """What the columns do not say."""
    found: dict[str, Any] = {}
    for field in event.__struct_fields__:
        part = getattr(event, field)
        if field in _IN_COLUMNS or (field == "flow" and isinstance(event, e.Started)):
            continue
        if isinstance(part, Value):
            found[field] = arguments_form(part) if field == "arguments" else value_form(part)
        else:
            found[field] = failure_form(part) if isinstance(part, Failure) else _form(part)
    return found
