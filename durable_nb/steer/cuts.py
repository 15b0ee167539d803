"""Where a run goes on that has failed or was cancelled: what lies from the cut on is set aside."""

from collections.abc import Sequence

from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import effective
from durable_nb.runtime.births import child_id
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import RunRecord

AT_ONCE = frozenset({"look", "tell", "start"})  # asks that have their answer in the commit that makes them


def cut_of(store: Store, record: RunRecord, rows: Sequence[Row]) -> int:
    """The cut of an ended execution: the answer or the line that carried the failure, or the order to end.

    An ask that was refused at once is cut too, so that it is made again: nobody would answer it a second time.
    """
    event = wire.event_of(rows[-1])
    if not isinstance(event, e.RunFailed):
        return next(row.seq for row in effective(rows) if row.kind in ("cancelling", "cancelled"))
    ask = next((row for row in rows if row.seq == event.cut - 1), None)
    answer = next(row for row in rows if row.seq == event.cut)
    if ask is None or answer.ref != ask.seq:
        return event.cut
    is_refused = ask.kind in AT_ONCE or (ask.kind == "child" and not _is_begun(store, record, ask))
    return ask.seq if is_refused else event.cut


def _is_begun(store: Store, record: RunRecord, ask: Row) -> bool:
    """Whether the child is there, and is this run's own."""
    event = wire.event_of(ask)
    id = event.id if isinstance(event, e.ChildAsked) else None
    child = store.run(id or child_id(record, ask.seq))
    return child is not None and (child.parent, child.parent_ask) == (record.key, ask.seq)
