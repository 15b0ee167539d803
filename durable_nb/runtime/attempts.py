"""A step in place: its attempts, one after another, on the thread of the flow."""

import random
import time
from typing import TYPE_CHECKING, Any

from durable_nb.codec.digest import digest
from durable_nb.codec.values import plain_json
from durable_nb.durations import spoken
from durable_nb.engine.turn import place
from durable_nb.errors import DurableError
from durable_nb.flows.place import StepPlace
from durable_nb.flows.policy import next_attempt_at
from durable_nb.flows.step import Use
from durable_nb.flows.values import LARGE
from durable_nb.history import events as e, wire
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row
from durable_nb.history.summary import Asked, asks
from durable_nb.runtime.options import CRASHES

if TYPE_CHECKING:
    from durable_nb.runtime.carry import Carry

_SCALARS = frozenset({int, str, float, bool, type(None)})


def attempt_here(carry: "Carry", row: Row, ask: Ask, is_fresh: bool) -> Row | None:
    """Run attempts until one answers; the answer waits for the next commit. None when the turn ends here."""
    use: Use = ask.body
    if is_fresh and not use.step.options_.delay:
        asked = None
        number = 1
    else:
        asked = _so_far(carry, row)
        begun = _begin_next(carry, use, asked)
        if begun is None:
            return None
        number = begun
    while True:
        answer = _attempt(carry, row, use, number)
        if answer is not None or carry.ending is not None:
            return answer
        asked = _so_far(carry, row)
        begun = _begin_next(carry, use, asked)
        if begun is None:
            return None
        number = begun


def _so_far(carry: "Carry", row: Row) -> Asked:
    """What the log knows of the ask: its attempts, and what a person has done since."""
    found = [one for one in carry.log if one.seq == row.seq or one.ref == row.seq or one.kind in ("retried", "resumed")]
    return asks(found)[row.seq]


def _begin_next(carry: "Carry", use: Use, asked: Asked) -> int | None:
    """Wait until the next attempt may begin, and commit that it has; None when the turn ends here."""
    at = asked.retry_at if asked.retry_at is not None else (asked.due if not asked.attempts else None)
    since = time.monotonic()
    while at is not None and at > carry.runtime.now():
        if not carry.may_wait(at, since):
            carry.wake_at = at
            return None
    if asked.crashes >= CRASHES:
        carry.park(
            "crashes",
            f"step `{use.step.name}` was begun {asked.crashes} times in a row and never ended, as if it killed its "
            f"process; try isolate=True, then run.resume()",
            asked.seq,
        )
        return None
    number = len(asked.attempts) + 1
    data = wire.row_of(e.AttemptStarted(seq=0, at=0, ref=asked.seq, attempt=number)).data
    carry.commit([carry.new_row("attempt", asked.seq, None, data)])
    return None if carry.ending is not None else number


def _attempt(carry: "Carry", row: Row, use: Use, number: int) -> Row | None:
    """One attempt. Its answer, or None when another attempt follows or the turn ends."""
    record = carry.record
    here = StepPlace(record.id, record.uid, record.execution, row.seq, use.step.name, number, carry.recall)
    here.sink = carry.sink
    before = _look(use)
    token = place.set(here)
    try:
        carry.step_since = time.monotonic()
        carry.interrupts.leave_engine()
        value = use.step.perform(use.args, use.kwargs)
        carry.interrupts.enter_engine()
    except KeyboardInterrupt:
        carry.interrupts.enter_engine()
        _interrupted(carry, row, use, number)
        return None
    except BaseException as error:  # noqa: BLE001 - whatever a body raises is an outcome
        carry.interrupts.enter_engine()
        answer = _failed(carry, row, use, number, error)
    else:
        answer = _returned(carry, row, use, number, value)
    finally:
        carry.step_since = 0.0
        place.reset(token)
    if before is not None and _look(use) != before:
        _park_changed(carry, row, use)
        return None
    return answer


def _returned(carry: "Carry", row: Row, use: Use, number: int, value: Any) -> Row | None:
    codec_name = use.step.options_.codec
    json = plain_json(value) if codec_name is None else None
    if json is not None and len(json) < LARGE:
        return carry.hold(carry.new_row("returned", row.seq, None, b'{"json":' + json + b"}"))
    try:
        kept = carry.runtime.values.keep(value, f"the result of step `{use.step.name}`", codec_name)
    except DurableError as error:
        return _failed(carry, row, use, number, error)
    answer = carry.hold(carry.new_row("returned", row.seq, None, wire.encode_value(kept)))
    if kept.payload is not None and carry.turn is not None:
        carry.turn.handed[answer.seq] = value
        carry.reader.hand_over(value, use.step.name)
    return answer


def _failed(carry: "Carry", row: Row, use: Use, number: int, error: BaseException) -> Row | None:
    """The failure as the outcome, or None after it was logged that another attempt follows."""
    failure = carry.runtime.values.failure(error)
    now = carry.runtime.now()
    retry = use.step.options_.retry
    if retry.max_attempts > 1:
        failed = _so_far(carry, row).failed_attempts + 1
        at = next_attempt_at(retry, error, failed, row.at, now, random.random)
        if at is not None:
            event = e.AttemptFailed(seq=0, at=now, ref=row.seq, attempt=number, failure=failure, retry_at=at)
            carry.commit([carry.new_row("attempt_failed", row.seq, None, wire.row_of(event).data)])
            return None
    return carry.hold(carry.new_row("raised", row.seq, None, wire.encode_failure(failure)))


def _interrupted(carry: "Carry", row: Row, use: Use, number: int) -> None:
    data = wire.row_of(e.AttemptInterrupted(seq=0, at=0, ref=row.seq, attempt=number)).data
    carry.commit([carry.new_row("interrupted", row.seq, None, data)])
    begun = spoken(max(0.0, carry.runtime.now() - row.at))
    sentence = f"interrupted in step `{use.step.name}` (asked {begun} ago); resume() repeats that step"
    carry.was_interrupted = True
    carry.pause(sentence)


def _look(use: Use) -> object:
    """What the arguments look like, to see afterwards whether the body has changed them; cheap for scalars."""
    values = use.named.values()
    if all(value.__class__ in _SCALARS for value in values):
        return None
    json = plain_json(use.named)
    return json if json is not None else tuple(digest(value) for value in values)


def _park_changed(carry: "Carry", row: Row, use: Use) -> None:
    carry.park(
        "argument_changed",
        f"step `{use.step.name}` has changed one of its arguments ({', '.join(use.named)}) in place; a replay, which does "
        "not run it again, would not see the change. Its outcome is safe; let it return what it changed, then run.resume()",
        row.seq,
    )
