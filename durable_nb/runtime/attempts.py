"""A step in place: its attempts, one after another, on the thread of the flow."""

import random
import time
from typing import Any

from durable_nb.codec.digest import digest
from durable_nb.codec.values import plain_json
from durable_nb.durations import spoken
from durable_nb.engine.turn import place
from durable_nb.errors import DurableError
from durable_nb.flows.payloads import LARGE
from durable_nb.flows.place import StepPlace
from durable_nb.flows.policy import next_attempt_at
from durable_nb.flows.step import Use
from durable_nb.history import events as e, wire
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row
from durable_nb.history.summary import Asked, asks
from durable_nb.runtime.lease import Lease
from durable_nb.runtime.options import CRASHES

_FORGIVING = ("retried", "resumed", "forked")
_SCALARS = frozenset({int, str, float, bool, type(None)})


def attempt_here(lease: Lease, row: Row, ask: Ask, is_fresh: bool) -> Row | None:
    """Run attempts until one answers; the answer waits for the next commit. None when the turn ends here."""
    use: Use = ask.body
    if is_fresh and not use.step.options_.delay:
        asked = None
        number = 1
    else:
        asked = so_far(lease, row)
        begun = _begin_next(lease, use, asked)
        if begun is None:
            return None
        number = begun
    while True:
        answer = _attempt(lease, row, use, number)
        if answer is not None or lease.ending is not None:
            return answer
        asked = so_far(lease, row)
        begun = _begin_next(lease, use, asked)
        if begun is None:
            return None
        number = begun


def so_far(lease: Lease, row: Row) -> Asked:
    """What the log knows of the ask: its attempts, and what a person has done since."""
    found = [one for one in lease.log if one.seq == row.seq or one.ref == row.seq or one.kind in _FORGIVING]
    return asks(found)[row.seq]


def _begin_next(lease: Lease, use: Use, asked: Asked) -> int | None:
    """Wait until the next attempt may begin, and commit that it has; None when the turn ends here."""
    at = asked.retry_at if asked.retry_at is not None else (asked.due if not asked.attempts else None)
    since = time.monotonic()
    while at is not None and at > lease.shared.now():
        if not lease.may_wait(at, since):
            lease.wake_at = at
            return None
    if asked.crashes >= CRASHES:
        park_crashed(lease, use.step.name, asked.seq)
        return None
    number = len(asked.attempts) + 1
    data = wire.row_of(e.AttemptStarted(seq=0, at=0, ref=asked.seq, attempt=number)).data
    lease.commit([lease.new_row("attempt", asked.seq, None, data)])
    return None if lease.ending is not None else number


def park_crashed(lease: Lease, name: str, ask: int) -> None:
    lease.park(
        "crashes",
        f"step `{name}` was begun {CRASHES} times in a row and never ended, as if it killed its process; "
        "try isolate=True, then run.resume()",
        ask,
    )


def _attempt(lease: Lease, row: Row, use: Use, number: int) -> Row | None:
    """One attempt. Its answer, or None when another attempt follows or the turn ends."""
    record = lease.record
    here = StepPlace(record.id, record.uid, record.execution, row.seq, use.step.name, number, lease.recall)
    here.sink = lease.sink
    lease.here = here
    before = _look(use)
    token = place.set(here)
    try:
        lease.step_since = time.monotonic()
        lease.interrupts.leave_engine()
        value = use.step.perform(use.args, use.kwargs)
        lease.interrupts.enter_engine()
    except KeyboardInterrupt:
        lease.interrupts.enter_engine()
        _interrupted(lease, row, use, number)
        return None
    except BaseException as error:  # noqa: BLE001 - whatever a body raises is an outcome
        lease.interrupts.enter_engine()
        answer = _failed(lease, row, use, number, error)
    else:
        answer = _returned(lease, row, use, number, value)
    finally:
        lease.step_since, lease.here = 0.0, None
        place.reset(token)
    if before is not None and _look(use) != before:
        _park_changed(lease, row, use)
        return None
    return answer


def _returned(lease: Lease, row: Row, use: Use, number: int, value: Any) -> Row | None:
    codec_name = use.step.options_.codec
    json = plain_json(value) if codec_name is None else None
    if json is not None and len(json) < LARGE:
        return lease.hold(lease.new_row("returned", row.seq, None, b'{"json":' + json + b"}"))
    try:
        kept = lease.shared.values.keep(value, f"the result of step `{use.step.name}`", codec_name)
    except DurableError as error:
        return _failed(lease, row, use, number, error)
    answer = lease.hold(lease.new_row("returned", row.seq, None, wire.encode_value(kept)))
    if kept.payload is not None and lease.turn is not None:
        lease.turn.handed[answer.seq] = value
        lease.reader.hand_over(value, use.step.name)
    return answer


def _failed(lease: Lease, row: Row, use: Use, number: int, error: BaseException) -> Row | None:
    """The failure as the outcome, or None after it was logged that another attempt follows."""
    failure = lease.shared.values.failure(error)
    now = lease.shared.now()
    retry = use.step.options_.retry
    if retry.max_attempts > 1:
        failed = so_far(lease, row).failed_attempts + 1
        at = next_attempt_at(retry, error, failed, row.at, now, random.random)
        if at is not None:
            event = e.AttemptFailed(seq=0, at=now, ref=row.seq, attempt=number, failure=failure, retry_at=at)
            lease.commit([lease.new_row("attempt_failed", row.seq, None, wire.row_of(event).data)])
            return None
    return lease.hold(lease.new_row("raised", row.seq, None, wire.encode_failure(failure)))


def _interrupted(lease: Lease, row: Row, use: Use, number: int) -> None:
    data = wire.row_of(e.AttemptInterrupted(seq=0, at=0, ref=row.seq, attempt=number)).data
    lease.commit([lease.new_row("interrupted", row.seq, None, data)])
    begun = spoken(max(0.0, lease.shared.now() - row.at))
    sentence = f"interrupted in step `{use.step.name}` (asked {begun} ago); resume() repeats that step"
    lease.was_interrupted = True
    lease.pause(sentence)


def _look(use: Use) -> object:
    """What the arguments look like, to see afterwards whether the body has changed them; cheap for scalars."""
    values = use.named.values()
    if all(value.__class__ in _SCALARS for value in values):
        return None
    json = plain_json(use.named)
    return json if json is not None else tuple(digest(value) for value in values)


def _park_changed(lease: Lease, row: Row, use: Use) -> None:
    lease.park(
        "argument_changed",
        f"step `{use.step.name}` has changed one of its arguments ({', '.join(use.named)}) in place; a replay, which does "
        "not run it again, would not see the change. Its outcome is safe; let it return what it changed, then run.resume()",
        row.seq,
    )
