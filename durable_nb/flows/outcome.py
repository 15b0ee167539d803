"""From an answer in the log to what the flow's code gets: a value, or an exception raised."""

from typing import Any

import msgspec

from durable_nb.engine.turn import Turn
from durable_nb.errors import Corrupt, StepFailed, UnknownCode, Untrusted
from durable_nb.history import wire
from durable_nb.history.events import Received, Row

_decode = msgspec.json.Decoder().decode
_PLAIN = b'{"json":'


def outcome_of(turn: Turn, row: Row, name: str | None) -> Any:
    """The value of a `returned` row, None for a fired timer; a `raised` row raises."""
    data = row[4]
    if row[1] == "returned":
        if data.startswith(_PLAIN) and b'"$"' not in data:
            try:
                return _decode(data[8:-1])
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                turn.reader.give_up(turn, Corrupt(f"event {row.seq} ({row.kind}) cannot be read: {error}"))
        if row.seq in turn.handed:
            return turn.handed.pop(row.seq)
        try:
            return turn.reader.take(wire.value_of(row), turn.run_uid, row.seq, row.kind, f"the result of step `{name}`")
        except (Corrupt, UnknownCode, Untrusted) as error:
            turn.reader.give_up(turn, error)
    if row[1] == "fired":
        return None
    if row[1] == "received":
        return _received(turn, row)
    raise _error_of(turn, row)


def _received(turn: Turn, row: Row) -> Any:
    try:
        event = wire.event_of(row)
        assert isinstance(event, Received)
        return turn.reader.take(event.value, turn.run_uid, row.seq, row.kind, f"the signal `{event.name}`")
    except (Corrupt, UnknownCode, Untrusted) as error:
        turn.reader.give_up(turn, error)


def _error_of(turn: Turn, row: Row) -> BaseException:
    try:
        failure = wire.failure_of(row)
    except Corrupt as error:
        turn.reader.give_up(turn, error)
    raised: BaseException = turn.reader.error(failure, turn.run_uid, row.seq, row.kind, StepFailed)
    turn.raised[row.seq] = raised
    return raised
