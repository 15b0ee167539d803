"""Values that move from one run to another: every mark is checked where it comes from and made anew where it goes."""

from typing import Any, NamedTuple

import msgspec

from durable_nb.flows.values import Values
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.failure import Failure
from durable_nb.history.values import ARGUMENTS, Value, inner_values


class Owned(NamedTuple):
    """Whose values: of which log, with whose uid. Without `is_checked` a person has vouched for them."""

    values: Values
    uid: str
    is_checked: bool = True


class Spot(NamedTuple):
    """A place of the log that a mark is made for."""

    uid: str
    seq: int
    kind: str


class Move:
    """From the history of one run to the history of another, which may lie in another log."""

    def __init__(self, source: Owned, target: Owned) -> None:
        self.source = source
        self.target = target

    def value(self, value: Value, old: Spot, new: Spot) -> Value:
        """The value with the mark of its new place; Untrusted when it has not that of its old one."""
        if self.source.is_checked:
            self._check(value, old)
        return self.target.values.mark(value, *new)

    def _check(self, value: Value, spot: Spot) -> None:
        if value.codec != ARGUMENTS:
            self.source.values.check(value, *spot, f"event {spot.seq}" if spot.seq else f"the {spot.kind}")
            return
        for name, inner in inner_values(value).items():
            self._check(inner, spot._replace(kind=f"{spot.kind}.{name}"))

    def own(self, value: Value, kind: str) -> Value:
        """A value that lies beside the run: in its state, or as its note."""
        return self.value(value, Spot(self.source.uid, 0, kind), Spot(self.target.uid, 0, kind))

    def row(self, row: Row, seq: int | None = None) -> Row:
        """The row under the new uid, with another number if one is given."""
        number = row.seq if seq is None else seq
        if b'"codec":' not in row.data:
            return row._replace(seq=number)
        old, new = Spot(self.source.uid, row.seq, row.kind), Spot(self.target.uid, number, row.kind)
        event = wire.event_of(row)
        changed: dict[str, Any] = {"seq": number}
        for name in event.__struct_fields__:
            part = getattr(event, name)
            if isinstance(part, Value):
                changed[name] = self.value(part, old, new)
            elif isinstance(part, Failure) and part.error is not None:
                changed[name] = msgspec.structs.replace(part, error=self.value(part.error, old, new))
        if isinstance(event, e.Started):
            changed["state"] = {key: self.own(kept, "state") for key, kept in event.state.items()}
        return wire.row_of(msgspec.structs.replace(event, **changed))
