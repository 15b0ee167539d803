"""What a cell asks for when it begins: its code and its inputs, as plain JSON in the log."""

from typing import Any

import msgspec

from durable_nb.errors import Corrupt
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.values import plain


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """The cell as it was when it began. `inputs` are the plain forms of `inputs.Input`, by name."""

    code: str
    source: str = ""
    inputs: dict[str, Any] = {}
    signals: dict[str, int] = {}  # the asks of the signals it waited for, by name


def row_of(seq: int, at: float, cell: str, asked: Asked, due: float | None = None) -> Row:
    """The row of a cell that begins."""
    return wire.row_of(e.StepAsked(seq=seq, at=at, name=cell, arguments=plain(msgspec.json.encode(asked)), due=due))


def asked_of(row: Row) -> Asked:
    """The other way round; Corrupt when the row is not that of a cell."""
    event = wire.event_of(row)
    if not isinstance(event, e.StepAsked):
        raise Corrupt(f"event {row.seq} ({row.kind}) is no durable cell")
    try:
        return msgspec.json.decode(event.arguments.json, type=Asked)
    except msgspec.MsgspecError as cause:
        raise Corrupt(f"the durable cell of event {row.seq} cannot be read: {cause}") from cause
