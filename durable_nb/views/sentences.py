"""What a run is doing, in one sentence that ends with what you can do."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from durable_nb.durations import as_datetime, spoken
from durable_nb.history.summary import Asked
from durable_nb.stores.shapes import RunRecord

_CARRY_IT = "open the log in a kernel or with `durable worker`"


class Waits(msgspec.Struct, frozen=True):
    """One of the asks that a run waits for, as its row says."""

    ask: int
    kind: str
    name: str | None = None
    due: float | None = None
    type: dict[str, Any] | None = None


def why(
    record: RunRecord,
    asks: dict[int, Asked],
    now: float,
    owner: str | None = None,
    hindered: Mapping[int, str] = MappingProxyType({}),
) -> str:
    """The sentence for a run, from its row and its asks; `hindered` says of asks what they have to wait for first."""
    name = f"run {record.id!r} of flow `{record.flow}`"
    said = _ended_sentence(record.sentence)
    match record.status:
        case "completed":
            return f"{name} completed after {_took(record)}."
        case "failed":
            return f"{name} failed after {_took(record)}: {said} run.retry() goes on just before the failure."
        case "cancelled":
            return f"{name} was cancelled: {said}"
        case "paused":
            has_more = "resume()" not in said and record.reason != "cells"  # durable cells go on by themselves
            return f"{name} is paused: {said}{' run.resume() goes on.' if has_more else ''}"
        case "parked":
            return f"{name} is parked ({record.reason}): {said} run.resume() tries again."
        case "pending":
            return _pending(name, record, now)
        case "running":
            return _running(name, record, asks, now, owner)
        case _:
            return f"{name} waits {_waits_for(record, asks, now, hindered)}."


def short(record: RunRecord, now: float) -> str:
    """The same for a line of a list, from the row alone: what it waits for, or how it ended."""
    if record.status == "pending":
        later = record.ready_at is not None and record.ready_at > now
        return f"begins {_at(record.ready_at, now)}" if later and record.ready_at is not None else "has not begun"
    if record.status != "waiting":
        first, _, more = (record.sentence or "").strip().partition("\n")
        return first + (" …" if more else "")
    if record.ready_at is not None and record.ready_at <= now:
        return "its next turn"
    waits = waits_of(record)
    return " or ".join(_shortly(one, now) for one in waits[:3]) + (" or more" if waits[3:] else "") or "news"


def _shortly(waits: Waits, now: float) -> str:
    match waits.kind:
        case "step":
            again = f", again {_at(waits.due, now)}" if waits.due is not None and waits.due > now else ""
            return f"step `{waits.name}`{again}"
        case "timer":
            return f"a timer, due {_at(waits.due, now)}" if waits.due is not None else "a timer"
        case "signal":
            return f"the signal `{waits.name}`"
        case "child":
            return f"the child `{waits.name}`"
        case _:
            return f"the end of {_watched(waits)}"


def _pending(name: str, record: RunRecord, now: float) -> str:
    if record.ready_at is not None and record.ready_at > now:
        return f"{name} begins {_at(record.ready_at, now)}."
    return f"{name} has not begun; nobody carries it yet: {_CARRY_IT}."


def _running(name: str, record: RunRecord, asks: dict[int, Asked], now: float, owner: str | None) -> str:
    if record.owner is None:  # whoever carried it has gone
        return (
            f"{name} was being carried by a process that has ended, and goes on when somebody takes it up: {_CARRY_IT}."
        )
    return f"{name} is running{_step_now(asks, now)}{f', carried by {owner}' if owner else ''}."


def _waits_for(record: RunRecord, asks: dict[int, Asked], now: float, hindered: Mapping[int, str]) -> str:
    if record.ready_at is not None and record.ready_at <= now:
        return f"for its next turn, which is due: {_CARRY_IT}, unless one is at it"
    waits = waits_of(record)
    if not waits:
        return "for news"
    first = next((one for one in waits if one.ask in hindered), None)
    if first is not None:
        what = f", to do step `{first.name}`" if first.kind == "step" else ""
        return f"for {hindered[first.ask]}{what}{_more(waits)}"
    first = next((one for one in waits if one.kind == "signal"), waits[0])  # what the reader can do something about
    return _waits_for_one(record, first, asks.get(first.ask), now, _more(waits))


def _more(waits: list[Waits]) -> str:
    return f" or {len(waits) - 1} more" if len(waits) > 1 else ""


def _waits_for_one(record: RunRecord, waits: Waits, asked: Asked | None, now: float, more: str) -> str:
    match waits.kind:
        case "timer":
            return (f"for a timer, due {_at(waits.due, now)}" if waits.due is not None else "for a timer") + more
        case "signal":
            return f'for the signal `{waits.name}`{more}; run.signal("{waits.name}", …) sends it{_rejected(asked)}'
        case "child":
            return f"for its child `{waits.name}`, run {_child_name(record, waits, asked)!r}{more}"
        case "watch":
            return f"for the end of {_watched(waits)}{more}"
    if asked is not None and asked.retry_at is not None:
        last = next((one.failure for one in reversed(asked.attempts) if one.failure is not None), None)
        return (
            f"to try step `{waits.name}` again {_at(asked.retry_at, now)} (attempt {len(asked.attempts) + 1}; "
            f"the last one failed with {last.sentence if last else 'an unknown error'}){more and f', or for{more[3:]}'}"
        )
    if asked is not None and not asked.attempts and waits.due is not None:
        return f"to begin step `{waits.name}`, delayed until {_at(waits.due, now)}{more and f', or for{more[3:]}'}"
    return f"for step `{waits.name}`{more}"


def _watched(waits: Waits) -> str:
    return f"run {waits.name!r}" if waits.name is not None else "another run"


def _rejected(asked: Asked | None) -> str:
    return f"; one was refused: {asked.rejected[-1].sentence}" if asked is not None and asked.rejected else ""


def _child_name(record: RunRecord, waits: Waits, asked: Asked | None) -> str:
    if asked is not None and asked.child is not None:
        return asked.child
    return f"{record.id}/{waits.ask}" if record.execution == 1 else f"{record.id}/{record.execution}.{waits.ask}"


def waits_of(record: RunRecord) -> list[Waits]:
    """What the row says it waits for; nothing when it says nothing that this version understands."""
    try:
        return msgspec.json.decode(record.waits, type=list[Waits]) if record.waits else []
    except msgspec.MsgspecError:
        return []


def _step_now(asks: dict[int, Asked], now: float) -> str:
    open_asks = [
        asked for asked in asks.values() if asked.answer is None and not asked.is_aside and asked.kind == "step"
    ]
    if not open_asks:
        return ""
    asked = open_asks[-1]
    since = asked.attempts[-1].started_at if asked.attempts else asked.at
    return f" step `{asked.name}` for {spoken(max(0.0, now - since))}"


def _ended_sentence(text: str | None) -> str:
    """With one full stop at its end, whoever wrote it."""
    text = (text or "").strip() or "no reason was given"
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _took(record: RunRecord) -> str:
    return spoken(max(0.0, (record.ended_at or record.updated_at) - record.created_at))


def _at(when: float, now: float) -> str:
    clock = as_datetime(when).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"now ({clock})" if when <= now else f"in {spoken(when - now)} ({clock})"
