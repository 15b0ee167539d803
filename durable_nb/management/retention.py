"""Old runs go when somebody has said so: at once with `prune`, or by and by with `connect(retention=…)`."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from durable_nb.durations import Duration, seconds
from durable_nb.errors import BadOption
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import RunRecord

ENDED = ("completed", "failed", "cancelled")
EVERY = 3600.0  # seconds between two looks of the runtime
_BATCH = 100  # runs, with all below them, in one transaction
_AT_ONCE = 500  # runs that the runtime removes before it looks after other things again
_ALL = 2**31

Rules = Mapping[str, float]  # seconds that runs of a status are kept
NOTHING: Rules = MappingProxyType({})


class Pruned(NamedTuple):
    """What went, or would go: the runs, and how many that includes with all below them."""

    ids: tuple[str, ...]
    runs: int


def checked_rules(retention: Duration | Mapping[str, Duration] | None) -> Rules:
    """The rules as seconds by status; a duration alone is for every ended run."""
    if retention is None:
        return {}
    if not isinstance(retention, Mapping):
        return dict.fromkeys(ENDED, seconds(retention))
    for status in retention:
        if status not in ENDED:
            raise BadOption(
                f"retention of {status!r} runs: only those that have ended can be pruned, {', '.join(ENDED)}"
            )
    return {status: seconds(kept) for status, kept in retention.items()}


def prune(
    store: Store,
    now: float,
    flow: str | None = None,
    status: str | None = None,
    older_than: Duration | None = None,
    keep: int | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Remove ended runs with all below them; their ids answer that they were here.

    Of each flow the `keep` that ended last stay. So do runs of which something lives, or a run that lives was forked.
    """
    if older_than is None and keep is None:
        raise BadOption("prune which runs? say older_than= (how long ago they ended), keep= (how many stay), or both")
    if status is not None and status not in ENDED:
        raise BadOption(f"status={status!r}: only ended runs are pruned, {', '.join(ENDED)}")
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 0):
        raise BadOption(f"keep={keep!r}: a number of runs")
    before = None if older_than is None else now - seconds(older_than)
    if dry_run:
        found = [family for key in store.ended(flow, status, before, keep or 0, _ALL) if (family := store.tree(key))]
        return Pruned(tuple(family[0].id for family in found), sum(map(len, found)))
    ids: list[str] = []
    runs = 0
    for gone in _removed(store, now, flow, status, before, keep or 0):
        ids.append(gone[0].id)
        runs += len(gone)
    return Pruned(tuple(ids), runs)


def _removed(
    store: Store, now: float, flow: str | None, status: str | None, before: float | None, keep: int
) -> Iterator[list[RunRecord]]:
    """Family after family, batch after batch, until none is left that may go."""
    refused: set[int] = set()
    while True:
        found = store.ended(flow, status, before, keep, _BATCH + len(refused))
        keys = [key for key in found if key not in refused]
        if not keys:
            return
        families = {key: store.tree(key) for key in keys}
        if store.expire(keys, now):
            # One of them has begun to live again; the others go without it.
            for key in keys:
                if store.expire([key], now):
                    refused.add(key)
        yield from (family for key, family in families.items() if key not in refused and family)


class Retention:
    """What the runtime does about it: at its start, and every hour."""

    def __init__(self, store: Store, rules: Rules, now: Callable[[], float]) -> None:
        self._store = store
        self._rules = rules
        self._now = now
        self._next = 0.0

    def look(self) -> bool:
        """Remove some of what has been kept long enough; the rest with the next look. False: nobody can go on by it."""
        now = self._now()
        if not self._rules or now < self._next:
            return False
        self._next = now + EVERY
        for status, kept in self._rules.items():
            keys = self._store.ended(None, status, now - kept, 0, _AT_ONCE)
            for start in range(0, len(keys), _BATCH):
                batch = keys[start : start + _BATCH]
                if self._store.expire(batch, now):
                    for key in batch:
                        self._store.expire([key], now)
            if len(keys) == _AT_ONCE:
                self._next = now
        return False
