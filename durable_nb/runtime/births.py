"""New runs: what a start writes, and what it means when the id is taken."""

from typing import TYPE_CHECKING, Any, Protocol

from durable_nb.errors import DurableError, RunConflict
from durable_nb.flows.children import Begin
from durable_nb.history import events as e, wire
from durable_nb.history.calls import argument_difference
from durable_nb.history.values import Value, payloads
from durable_nb.stores.shapes import NewRun, RunRecord

if TYPE_CHECKING:
    from durable_nb.flows.values import Values
    from durable_nb.runtime.definitions import Definitions


class Nursery(Protocol):
    """What a birth needs of an open log."""

    values: "Values"
    definitions: "Definitions"


def child_id(record: RunRecord, ask: int) -> str:
    """The name of a child that was given none: its parent's, the execution where it is not the first, and the ask."""
    return child_name(record.id, record.execution, ask)


def child_name(id: str, execution: int, ask: int) -> str:
    """The same for a run that has no row yet."""
    return f"{id}/{ask}" if execution == 1 else f"{id}/{execution}.{ask}"


def new_run(log: Nursery, begin: Begin, id: str, uid: str, now: float) -> NewRun:
    """The run as it will lie in the log; its code and large arguments are there when this returns."""
    flow, options = begin.flow, begin.options
    arguments = kept_arguments(log, begin)
    code = log.definitions.pin(flow)
    event = e.Started(seq=1, at=now, flow=flow.name, code=code, mark="", arguments=arguments, version=options.version)
    return NewRun(
        id=id,
        uid=uid,
        flow=flow.name,
        version=options.version,
        code=code,
        arguments=wire.encode_value(arguments),
        started=log.values.mark_row(wire.row_of(event), uid),
        ready_at=now + options.delay,
        owner=None,
        payloads=tuple(sorted(set(payloads(arguments)))),
        priority=options.priority or 0,
    )


def kept_arguments(log: Nursery, begin: Begin) -> Value:
    """The stored form of the arguments."""
    named: dict[str, Any] = begin.flow.arguments.named(begin.args, begin.kwargs)
    return log.values.keep_arguments(named, f"flow `{begin.flow.name}`")


def conflict(log: Nursery, begin: Begin, known: RunRecord | NewRun, is_child: bool) -> DurableError | None:
    """Why the run that has the id is not the one that is wanted; None when it is."""
    status = known.status if isinstance(known, RunRecord) else "pending"
    policy = "reject" if is_child and begin.options.on_conflict == "match" else begin.options.on_conflict
    if known.flow != begin.flow.name:
        return RunConflict(f"the id {known.id!r} belongs to a run of flow `{known.flow}`, not of `{begin.flow.name}`")
    if policy == "attach":
        return None
    if policy == "reject":
        return RunConflict(f"run {known.id!r} of flow `{known.flow}` exists already; it is {status}")
    found = argument_difference(kept_arguments(log, begin), wire.decode_value(known.arguments))
    if found is None:
        return None
    return RunConflict(
        f"run {known.id!r} of flow `{known.flow}` exists with other arguments: {found}. Use another id, or "
        f'on_conflict="attach" or "replace"'
    )
