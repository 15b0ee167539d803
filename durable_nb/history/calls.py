"""What flow code asks for, as it goes to the log, and whether a logged ask is the same one."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from durable_nb.codec import values as codec
from durable_nb.codec.digest import digest
from durable_nb.errors import Corrupt
from durable_nb.history.events import ANYTHING, Row
from durable_nb.history.values import ARGUMENTS, SAFE, Value, inner_values

_NEVER_COMPARED = frozenset({"timer", "signal", "note", "patched", "unset"})
_COMPARED = 64 * 1024  # arguments above this size are compared by nothing but their presence


class StepCall(Struct, frozen=True, omit_defaults=True):
    """A step with its arguments by name. `due`, `elsewhere` and `queue` are policy and never compared."""

    arguments: Value
    due: float | None = None
    elsewhere: bool = False
    tag: str = ""
    session: str = ""
    queue: str = ""


class TimerCall(Struct, frozen=True):
    """A moment to be woken at; never compared, replay takes the logged one."""

    due: float


class SignalCall(Struct, frozen=True, omit_defaults=True):
    """A turn at a mailbox; the JSON schema of what is expected is never compared."""

    type: Raw = ANYTHING


class FlowCall(Struct, frozen=True, omit_defaults=True):
    """Another flow, called or started. Without `id` the child is named after this very ask."""

    arguments: Value
    id: str | None = None
    version: str | None = None


class RunCall(Struct, frozen=True, omit_defaults=True):
    """Something about another run: its end, its state, or a message to it."""

    run: str
    mailbox: str | None = None
    key: str | None = None
    value: Value | None = None


class Held(Struct, frozen=True):
    """A value that the run keeps: in its state, or as its note."""

    value: Value


Call = StepCall | TimerCall | SignalCall | FlowCall | RunCall | Held

_encoder = msgspec.json.Encoder()
_step_decoder = msgspec.json.Decoder(StepCall)


class Ask:
    """One ask of the code. `body` belongs to whoever performs it; the engine never looks inside."""

    __slots__ = ("body", "data", "kind", "name")

    def __init__(self, kind: str, name: str | None, data: bytes, body: Any = None) -> None:
        self.kind = kind
        self.name = name
        self.data = data
        self.body = body

    def __repr__(self) -> str:
        return f"Ask({self.kind} {self.name or ''} {self.data[:80]!r})"


def encode(call: Call) -> bytes:
    return _encoder.encode(call)


def watched(data: bytes) -> str:
    """The run that an ask of the kind `watch` is about."""
    return msgspec.json.decode(data, type=RunCall).run


def plain_step(arguments: bytes, elsewhere: bool = False) -> bytes:
    """The wire form of a step whose arguments are plain JSON (the hot path)."""
    return b'{"arguments":{"json":' + arguments + (b'},"elsewhere":true}' if elsewhere else b"}}")


def difference(ask: Ask, row: Row, check_arguments: bool = True) -> str | None:
    """None when the logged row is this ask, else what differs, in a few words."""
    if row.kind != ask.kind:
        return f"the log has a {row.kind}, the code asks for a {ask.kind}"
    if row.name != ask.name:
        return f"the log has {row.kind} `{row.name}`, the code asks for `{ask.name}`"
    if row.data == ask.data or row.kind in _NEVER_COMPARED:
        return None
    try:
        if row.kind == "step":
            return _step_difference(ask, row, check_arguments)
        if not check_arguments:
            return None
        if row.kind in ("child", "start"):
            return _flow_difference(ask, row)
        if row.kind == "set":
            return argument_difference(_held(ask.data), _held(row.data))
        return _run_difference(ask, row)
    except (msgspec.MsgspecError, UnicodeDecodeError, Corrupt) as error:
        return f"the arguments in the log cannot be read: {error}"


def _step_difference(ask: Ask, row: Row, check_arguments: bool) -> str | None:
    logged, asked = _step_decoder.decode(row.data), _step_decoder.decode(ask.data)
    for what, before, now in (("tag", logged.tag, asked.tag), ("session", logged.session, asked.session)):
        if before != now:
            return f"the {what} was {before!r} and is now {now!r}"
    return argument_difference(asked.arguments, logged.arguments) if check_arguments else None


def _flow_difference(ask: Ask, row: Row) -> str | None:
    logged, asked = (msgspec.json.decode(data, type=FlowCall) for data in (row.data, ask.data))
    if logged.id != asked.id:
        return f"the id was {logged.id!r} and is now {asked.id!r}"
    return argument_difference(asked.arguments, logged.arguments)


def _run_difference(ask: Ask, row: Row) -> str | None:
    logged, asked = (msgspec.json.decode(data, type=RunCall) for data in (row.data, ask.data))
    if (logged.run, logged.mailbox, logged.key) != (asked.run, asked.mailbox, asked.key):
        return f"it was about run {logged.run!r} and is now about {asked.run!r}"
    if logged.value is None or asked.value is None:
        return None
    return argument_difference(asked.value, logged.value)


def _held(data: bytes) -> Value:
    return msgspec.json.decode(data, type=Held).value


def argument_difference(asked: Value, logged: Value) -> str | None:
    """How two sets of arguments differ, None when they are equal or nothing can be concluded."""
    if ARGUMENTS in (asked.codec, logged.codec):
        return _each_difference(_by_name(asked), _by_name(logged))
    if asked.codec != logged.codec:
        return "an argument has another type"
    if asked.codec != SAFE or asked.payload or logged.payload or max(len(asked.json), len(logged.json)) > _COMPARED:
        return None  # bytes of pickles and frames say nothing about equality
    if _same(asked.json, logged.json):
        return None
    return f"the arguments were {_short(logged.json)} and are now {_short(asked.json)}"


def _by_name(value: Value) -> dict[str, Value]:
    if value.codec == ARGUMENTS:
        return inner_values(value)
    return {name: Value(json=json) for name, json in msgspec.json.decode(value.json, type=dict[str, Raw]).items()}


def _each_difference(asked: dict[str, Value], logged: dict[str, Value]) -> str | None:
    if asked.keys() != logged.keys():
        return f"the arguments were {', '.join(logged)} and are now {', '.join(asked)}"
    for name, value in asked.items():
        found = argument_difference(value, logged[name])
        if found is not None:
            return f"argument `{name}`: {found}"
    return None


def _same(one: Raw, other: Raw) -> bool:
    if bytes(one) == bytes(other):
        return True
    first, second = codec.decode(SAFE, bytes(one)), codec.decode(SAFE, bytes(other))
    known = digest(first)
    return known is not None and known == digest(second)


def _short(json: Raw) -> str:
    text = bytes(json).decode("utf-8", "replace")
    return text if len(text) <= 120 else text[:117] + "…"
