"""Rows of the log to events and back. The stored form is public: explicit names, never module paths.

The columns seq, kind, ref, name and at say what they can; `data` holds the rest as JSON. A kind that is nothing but a
value or a failure stores that alone, so that a plain result in the log reads {"json": 41}.
"""

from typing import Any, NamedTuple, TypeVar

import msgspec

from durable_nb.errors import Corrupt
from durable_nb.history import events as e
from durable_nb.history.failure import Failure
from durable_nb.history.values import Value

_T = TypeVar("_T")


class _Shape(NamedTuple):
    event: type[e.Event]
    name: str | None  # the field that lies in the name column
    alone: str | None  # the field that is the whole of `data`
    body: Any  # what `data` decodes to
    fields: tuple[str, ...]


_ALONE: dict[type[e.Event], str] = {e.Returned: "value", e.Raised: "failure", e.Completed: "value"}


def _shape(event: type[e.Event]) -> _Shape:
    name = "flow" if event is e.Started else "name" if "name" in event.__struct_fields__ else None
    alone = _ALONE.get(event)
    columns = {"seq", "at", "ref", name}
    fields = [field for field in msgspec.structs.fields(event) if field.name not in columns]
    if alone is not None:
        return _Shape(event, name, alone, next(field.type for field in fields if field.name == alone), ())
    required = [(field.name, field.type) for field in fields if field.required]
    optional = [(field.name, field.type, _default(field)) for field in fields if not field.required]
    body = msgspec.defstruct(event.__name__ + "Body", [*required, *optional], frozen=True, omit_defaults=True)
    return _Shape(event, name, None, body, tuple(field.name for field in fields))


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


KINDS: dict[str, type[e.Event]] = {
    "started": e.Started,
    "step": e.StepAsked,
    "timer": e.TimerAsked,
    "signal": e.SignalAsked,
    "child": e.ChildAsked,
    "start": e.StartAsked,
    "watch": e.WatchAsked,
    "look": e.LookAsked,
    "tell": e.TellAsked,
    "set": e.StateSet,
    "unset": e.StateRemoved,
    "note": e.Noted,
    "patched": e.Patched,
    "drop": e.Dropped,
    "received": e.Received,
    "rejected": e.SignalRejected,
    "forked": e.Forked,
    "cancelling": e.Cancelling,
    "continued": e.Continued,
    "returned": e.Returned,
    "raised": e.Raised,
    "fired": e.Fired,
    "attempt": e.AttemptStarted,
    "attempt_failed": e.AttemptFailed,
    "interrupted": e.AttemptInterrupted,
    "paused": e.Paused,
    "resumed": e.Resumed,
    "parked": e.Parked,
    "retried": e.Retried,
    "code_changed": e.CodeChanged,
    "completed": e.Completed,
    "failed": e.RunFailed,
    "cancelled": e.RunCancelled,
}
_SHAPES = {kind: _shape(event) for kind, event in KINDS.items()}
_KIND_OF = {event: kind for kind, event in KINDS.items()}
_encode = msgspec.json.Encoder().encode
_decoders = {kind: msgspec.json.Decoder(shape.body) for kind, shape in _SHAPES.items()}
_values = msgspec.json.Decoder(Value)
_failures = msgspec.json.Decoder(Failure)


def event_of(row: e.Row) -> e.AnyEvent:
    """The typed event of a row; Corrupt, naming the row, when it cannot be read."""
    shape = _SHAPES.get(row.kind)
    if shape is None:
        raise Corrupt(f"event {row.seq} has the unknown kind {row.kind!r}; it may come from a newer durable_nb")
    fields: dict[str, Any] = {"seq": row.seq, "at": row.at}
    if shape.name is not None:
        fields[shape.name] = row.name
    if "ref" in shape.event.__struct_fields__:
        fields["ref"] = row.ref
    body = _decoded(row, _decoders[row.kind])
    if shape.alone is not None:
        fields[shape.alone] = body
    else:
        fields.update((name, getattr(body, name)) for name in shape.fields)
    return shape.event(**fields)  # type: ignore[return-value]


def row_of(event: e.AnyEvent) -> e.Row:
    """The row that stores an event."""
    kind = _KIND_OF[type(event)]
    shape = _SHAPES[kind]
    name = getattr(event, shape.name) if shape.name is not None else None
    if shape.alone is not None:
        body = getattr(event, shape.alone)
    else:
        body = shape.body(**{field: getattr(event, field) for field in shape.fields})
    return e.Row(event.seq, kind, getattr(event, "ref", None), name, _encode(body), event.at)


def value_of(row: e.Row) -> Value:
    """The value of a `returned` or `completed` row."""
    return _decoded(row, _values)


def failure_of(row: e.Row) -> Failure:
    """The failure of a `raised`, `attempt_failed` or `failed` row."""
    if row.kind == "raised":
        return _decoded(row, _failures)
    event = event_of(row)
    if not isinstance(event, e.AttemptFailed | e.RunFailed):
        raise Corrupt(f"event {row.seq} ({row.kind}) carries no failure")
    return event.failure


def encode_value(value: Value) -> bytes:
    return _encode(value)


def decode_value(data: bytes) -> Value:
    try:
        return _values.decode(data)
    except msgspec.MsgspecError as cause:
        raise Corrupt(f"a stored value cannot be read: {cause}") from cause


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a run ended, as it lies in the run's own row: the event that ended it and what came of it (cancelled: nothing)."""

    seq: int
    value: Value | None = None
    failure: Failure | None = None


_endings = msgspec.json.Decoder(Ended)


def ended_of(row: e.Row) -> bytes:
    """The outcome of a run, from the row that ended it."""
    event = event_of(row)
    if isinstance(event, e.Completed):
        return _encode(Ended(row.seq, value=event.value))
    if isinstance(event, e.RunFailed):
        return _encode(Ended(row.seq, failure=event.failure))
    if isinstance(event, e.RunCancelled):
        return _encode(Ended(row.seq))
    raise Corrupt(f"event {row.seq} ({row.kind}) does not end a run")


def decode_ended(data: bytes) -> Ended:
    try:
        return _endings.decode(data)
    except msgspec.MsgspecError as cause:
        raise Corrupt(f"the outcome of the run cannot be read: {cause}") from cause


def encode_failure(failure: Failure) -> bytes:
    return _encode(failure)


def _decoded(row: e.Row, decoder: "msgspec.json.Decoder[_T]") -> _T:
    try:
        return decoder.decode(row.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as cause:
        raise Corrupt(f"event {row.seq} ({row.kind}) cannot be read: {cause}") from cause


def text_of(data: bytes) -> str:
    """A text that stands alone, as the reason of a cancel does; anything else is none."""
    try:
        return msgspec.json.decode(data, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
