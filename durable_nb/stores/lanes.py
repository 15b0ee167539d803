"""Which free steps a process may begin now: lanes of queue and tag, their limits, whose turn it is, who holds a session.

Everything is read anew within the claim's transaction, so that no limit is exceeded however many processes claim.
"""

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import Limits, WorkRecord

SQL = statements("work")
ANY = "any"  # the tag of a process that takes every step
IDLE = 300.0  # seconds after which a session without a step may go to another process
AHEAD = 60.0  # seconds by which others may be ahead of our time; what is further ahead is from before a change of clock
_FIRST = 2**63 - 1

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


class Claimant(NamedTuple):
    """Who asks, and for whose steps it cares. `owner` None = somebody who will never claim."""

    owner: int | None
    tags: Collection[str] = ()


class Room(NamedTuple):
    """What the limits of a queue leave: places, how many steps may begin now, and from when on its rate allows the next."""

    places: float
    by_rate: float
    again_at: float


_ALL = Room(float("inf"), float("inf"), 0.0)
_NONE = Room(0, 0, 0.0)


def room(ask: Ask, queue: str, owner: int | None, now: float) -> Room:
    """What a queue leaves to this process (None: to a new one). A queue that nobody has defined lets nothing in."""
    if not queue:
        return _ALL
    found = ask(SQL["limits"], (queue,))
    if not found:
        return _NONE
    limits = Limits._make(found[0])
    ((running, own, begun, again_at),) = ask(SQL["queue_use"], (queue, owner, now, AHEAD, (limits.rate_count or 1) - 1))
    places = min(_left(limits.concurrency, running), _left(limits.per_worker, own))
    return Room(places, _left(limits.rate_count, begun), again_at or 0.0)


def next_due(ask: Ask, who: Claimant, now: float) -> float | None:
    """When this process may begin a step next, as far as time alone decides it."""
    dues = []
    for queue, tags in _lanes(ask, who):
        left = room(ask, queue, who.owner, now)
        if left.places > 0:
            dues += [max(due, left.again_at) for tag in tags for due in _lane_due(ask, queue, tag, who)]
    return min(dues, default=None)


def chosen(ask: Ask, who: Claimant, now: float, limit: int) -> list[WorkRecord]:
    """The steps to begin now: by priority, then as long as they are due, in a queue with keys each key in its turn."""
    picked = []
    for queue, tags in _lanes(ask, who):
        left = room(ask, queue, who.owner, now)
        count = int(min(limit, left.places, left.by_rate))
        if count > 0:
            picked.append(_in_queue(ask, queue, tags, who, now, count))
    merged = heapq.merge(*picked, key=lambda work: (-work.priority, work.due, work.run, work.ask))
    return list(merged)[:limit]


def _left(limit: int | None, taken: int) -> float:
    return float("inf") if limit is None else limit - taken


def _lanes(ask: Ask, who: Claimant) -> Iterator[tuple[str, list[str]]]:
    """What is in no queue, each queue with free work, and those tags that the process takes."""
    queue: str | None = ""
    while queue is not None:
        yield queue, ["", *(_all_tags(ask, queue) if ANY in who.tags else who.tags)]
        queue = ask(SQL["next_queue"], (queue,))[0][0]


def _all_tags(ask: Ask, queue: str) -> Iterator[str]:
    """The tags of free work in a queue: one look at the index for each, however much work has it."""
    tag: str | None = ""
    while (tag := ask(SQL["next_tag"], (queue, tag))[0][0]) is not None:
        yield tag


def _lane_due(ask: Ask, queue: str, tag: str, who: Claimant) -> list[float]:
    found = ask(SQL["lane_due"], (queue, tag)) + ask(SQL["lane_due_bound"], (queue, tag, who.owner, IDLE))
    return [float(due) for (due,) in found if due is not None and due != float("inf")]


def _in_queue(ask: Ask, queue: str, tags: list[str], who: Claimant, now: float, count: int) -> list[WorkRecord]:
    found: list[tuple[WorkRecord, int]] = []
    for tag in tags:
        found += _in_lane(ask, queue, tag, who, now, count)
    found.sort(key=lambda each: (-each[0].priority, each[0].due, each[0].run, each[0].ask))
    taken: dict[tuple[int, str], int] = {}
    ranked = []
    for work, turn in found:
        place = taken[work.priority, work.queue_key] = taken.get((work.priority, work.queue_key), 0) + 1
        ranked.append(((-work.priority, place, turn, work.due, work.run, work.ask), work))
    if len({work.queue_key for work, _ in found}) > 1:
        ranked.sort(key=lambda each: each[0])
    return [work for _, work in ranked[:count]]


def _in_lane(ask: Ask, queue: str, tag: str, who: Claimant, now: float, count: int) -> list[tuple[WorkRecord, int]]:
    """Enough work of a lane, with the number of the last turn of its key; keys that had none for long come first."""
    found: list[tuple[WorkRecord, int]] = []
    priority = _FIRST
    while len(found) < count:
        ((below,),) = ask(SQL["next_priority"], (queue, tag, priority))
        if below is None:
            break
        priority = below
        keys = ask(SQL["lane_keys"], (queue, tag, priority))
        lane = (queue, tag, priority)
        first = _of_keys(ask, lane, keys, who, now, count, 1) if len(keys) >= count else []
        found += first if len(first) == count else _of_keys(ask, lane, keys, who, now, count, count)
    return found


def _of_keys(
    ask: Ask, lane: tuple[str, str, int], keys: list[tuple[Any, ...]], who: Claimant, now: float, count: int, most: int
) -> list[tuple[WorkRecord, int]]:
    """Work of the first `count` keys that have any, at most so much of each."""
    found: list[tuple[WorkRecord, int]] = []
    having = 0
    for key, turn in keys:
        rows = ask(SQL["lane_work"], (*lane, key, now, who.owner, IDLE, most))
        found += [(WorkRecord._make(row), turn) for row in rows]
        having += bool(rows)
        if having == count:
            break
    return found
