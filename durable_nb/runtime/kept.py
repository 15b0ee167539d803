"""Waiting runs whose code stays in memory: they go on where they are, without a replay. The oldest ones are let go."""

import threading
from collections import OrderedDict

from durable_nb.runtime.lease import Lease
from durable_nb.stores.shapes import RunRecord

_MOST = 64


class Kept:
    """Leases of async flows, by run. Whoever leases the run next finds its code here, if nobody wrote in between."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._leases: OrderedDict[int, Lease] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, lease: Lease) -> None:
        """Keep the code of a run that waits; what cannot go on, or is one too many, is closed."""
        if not can_go_on(lease):
            close(lease)
            return
        with self._lock:
            older = self._leases.pop(lease.record.key, None)
            if older is not None and older.record.lease > lease.record.lease:
                older, lease = lease, older  # another thread has had the run since, and was quicker
            self._leases[lease.record.key] = lease
            oldest = self._leases.popitem(last=False)[1] if len(self._leases) > self._most else None
        for one in (older, oldest):
            if one is not None:
                close(one)

    def take(self, record: RunRecord) -> Lease | None:
        """The lease of that run, renewed. The fencing token tells whether somebody else has had the run meanwhile."""
        with self._lock:
            lease = self._leases.pop(record.key, None)
        if lease is None:
            return None
        if lease.record.uid != record.uid or record.lease != lease.record.lease + 1:
            close(lease)
            return None
        lease.renew(record)
        return lease

    def clear(self) -> None:
        with self._lock:
            leases, self._leases = list(self._leases.values()), OrderedDict()
        for lease in leases:
            close(lease)


def can_go_on(lease: Lease) -> bool:
    """Whether the code of the turn stands at a wait, and only waits."""
    turn = lease.turn
    return turn is not None and turn.loop is not None and turn.loop.is_resumable and lease.ending is None


def close(lease: Lease) -> None:
    """Unwind the code of an async flow; its clean-up reaches nothing."""
    if lease.turn is not None and lease.turn.loop is not None:
        lease.turn.loop.close()
