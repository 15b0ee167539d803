"""From an answer in the log to what the flow's code gets: a value, or an exception raised."""

from typing import Any

import msgspec

from durable_nb.engine.turn import Turn
from durable_nb.errors import StepFailed
from durable_nb.history import wire
from durable_nb.history.events import Row

_decode = msgspec.json.Decoder().decode
_PLAIN = b'{"json":'


def outcome_of(turn: Turn, row: Row, name: str | None) -> Any:
    """The value of a `returned` row, None for a fired timer; a `raised` row raises."""
    data = row[4]
    if row[1] == "returned":
        if data.startswith(_PLAIN) and b'"$"' not in data:
            return _decode(data[8:-1])
        if row.seq in turn.handed:
            return turn.handed.pop(row.seq)
        return turn.reader.take(wire.value_of(row), turn.run_uid, row.seq, row.kind, f"the result of step `{name}`")
    if row[1] == "fired":
        return None
    error = turn.reader.error(wire.failure_of(row), turn.run_uid, row.seq, row.kind, StepFailed)
    turn.raised[row.seq] = error
    raise error
