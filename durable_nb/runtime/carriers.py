"""Threads that carry runs: claim what is due, and carry it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from durable_nb.errors import LogError
from durable_nb.history.events import Row
from durable_nb.runtime.carrying import Carrying
from durable_nb.runtime.options import PATIENCE
from durable_nb.runtime.output import background
from durable_nb.runtime.scheduler import Timetable
from durable_nb.runtime.shared import Shared
from durable_nb.stores.shapes import RunRecord

_logger = logging.getLogger("durable_nb.carriers")
_BATCH = 16  # runs claimed at once; what waits here can still be taken over when this process dies


class Carriers:
    """A bounded number of threads in flow code; a step that takes long lends its place to another thread."""

    def __init__(self, shared: Shared, carrying: Carrying, limit: int, most: int) -> None:
        self._shared = shared
        self._timetable = Timetable(shared)
        self._carrying = carrying
        self._limit = limit
        self._most = limit + most if limit else 0
        self._local: deque[tuple[RunRecord, Sequence[Row]]] = deque()  # with its history, where that is known
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._is_dirty = False
        self._is_stopping = False

    def nudge(self) -> None:
        """Something may be due; while that is held back, who holds it rings when it ends."""
        if not self._limit or self._shared.is_held:
            return
        with self._lock:
            self._is_dirty = True
            self._call_for_a_thread()

    def has_room(self) -> bool:
        """Whether a run that starts now would be carried soon; then it may be born leased and skip the claim.

        Not before what is due already: whatever was woken goes first.
        """
        with self._lock:
            return bool(self._limit) and len(self._local) < _BATCH and not self._is_dirty and not self._is_stopping

    def give(self, record: RunRecord, log: Sequence[Row]) -> None:
        """Carry this run, which is leased by us already."""
        with self._lock:
            self._local.append((record, log))
            self._call_for_a_thread()

    def claim(self, limit: int) -> list[RunRecord]:
        """Lease runs that are due, unless this process may or should not carry any."""
        shared = self._shared
        if shared.is_stopping or shared.is_held or not shared.values.is_trusted:
            return []
        self._timetable.fire()
        return shared.store.claim(shared.owner, shared.now(), limit)

    def stop(self, deadline: float) -> None:
        """No new turns; wait for the threads until the (monotonic) deadline."""
        with self._lock:
            self._is_stopping = True
            self._news.notify_all()
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def has_backlog(self) -> bool:
        return bool(self._local) or self._is_dirty

    def relieve(self) -> None:
        """Let another thread begin when runs wait and steps that take long have lent their places."""
        with self._lock:
            if self.has_backlog and not self._idle and not self._is_stopping and self._may_begin():
                self._begin_thread()

    def is_crowded(self) -> bool:
        """Whether the calling thread is one of these, and runs wait for one."""
        return self.has_backlog and not self._idle and threading.current_thread() in self._threads

    def _call_for_a_thread(self) -> None:
        """One that is idle, a new one, or the first whose run only waits in place."""
        if self._idle:
            self._news.notify()
        elif self._may_begin():
            self._begin_thread()
        else:
            for lease in list(self._carrying.leases.values()):
                lease.nudge.set()

    def _may_begin(self) -> bool:
        return len(self._threads) - self._lent() < self._limit and len(self._threads) < self._most

    def _lent(self) -> int:
        """How many threads are in a step that has taken long: their places are free for others."""
        before = time.monotonic() - PATIENCE
        return sum(1 for lease in list(self._carrying.leases.values()) if 0 < lease.step_since < before)

    def _begin_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"durable-carrier-{len(self._threads) + 1}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        try:
            while True:
                found = self._next()
                if found is None:
                    return
                self._carry(*found)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _carry(self, record: RunRecord, log: Sequence[Row]) -> None:
        try:
            self._carrying.carry(record, background(), log)
        except Exception:
            _logger.exception("carrying run %r failed; it is tried again", record.id)
            self._carrying.strand(record)

    def _next(self) -> tuple[RunRecord, Sequence[Row]] | None:
        """The next run to carry; waits for one; None when it is time to end."""
        while True:
            with self._lock:
                if self._is_stopping:
                    return None
                if self._local:
                    return self._local.popleft()
                if not self._is_dirty:
                    self._idle += 1
                    self._news.wait()
                    self._idle -= 1
                    continue
                self._is_dirty = False
            found = self._claimed()
            with self._lock:
                self._local.extend((record, ()) for record in found)
                if len(found) == _BATCH:
                    self._is_dirty = True
                if len(self._local) > 1 and self._idle:
                    self._news.notify()
                elif len(self._local) > 1 and self._may_begin():
                    self._begin_thread()

    def _claimed(self) -> list[RunRecord]:
        try:
            return self.claim(_BATCH)
        except LogError as error:
            _logger.warning("no run could be claimed, it is tried again in a second: %s", error)
            self._shared.on_due(self._shared.now() + 1.0)
            return []
