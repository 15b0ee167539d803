"""Two background threads: one writes answers that wait for company, one looks whether other processes or the clock have news."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from durable_nb.errors import LogError
from durable_nb.runtime.lease import Lease
from durable_nb.runtime.options import FLUSH
from durable_nb.runtime.shared import Shared
from durable_nb.stores.protocol import LeaseLost
from durable_nb.stores.shapes import Mail, RunRecord

_logger = logging.getLogger("durable_nb.wakeups")

# How long after the last news a look is how far from the next, in seconds.
_PACE = ((0.05, 0.001), (1.0, 0.005), (5.0, 0.02), (30.0, 0.1), (float("inf"), 0.25))
_LIVENESS = 1.0
_HEED = 0.5  # with the longest pace it is still less than the second in which steps must be told
_AGAIN, _AGAIN_AT_MOST = 0.005, 0.25  # seconds between looks at what is due and nobody has taken yet
_HEARTBEAT = 10.0
_BACKLOG = 0.02
_IDLE = 5.0


class Flusher:
    """Commits the answer of a finished step when no ask follows at once, so that a kill loses nothing finished.

    What a step beside the flow has handed over goes to the inbox when the flow is too busy to take it.
    """

    def __init__(self, shared: Shared, leases: dict[int, Lease], post: Callable[[RunRecord, list[Mail]], None]) -> None:
        self._shared = shared
        self._leases = leases
        self._post = post
        self._work = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """An answer is waiting."""
        if not self._work.is_set():
            self._work.set()
            if self._thread is None and self._shared.options.carriers:
                self._thread = threading.Thread(target=self._run, name="durable-flusher", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        self._is_stopping = True
        self._work.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._is_stopping:
            self._work.wait()
            time.sleep(FLUSH)
            waiting = self._waiting()
            if not waiting:
                self._work.clear()
                if not self._waiting():
                    continue
                self._work.set()
            for lease in waiting:
                self._flush(lease)

    def _waiting(self) -> list[Lease]:
        return [
            lease for lease in list(self._leases.values()) if (lease.pending or lease.answers) and not lease.is_lost
        ]

    def _flush(self, lease: Lease) -> None:
        try:
            lease.flush(FLUSH)
            self._post(lease.record, lease.old_answers(FLUSH))
        except LeaseLost:
            lease.is_lost = True  # its own thread finds out with its next commit
        except LogError as error:
            _logger.warning("an answer of run %r could not be written yet: %s", lease.record.id, error)
        except Exception:  # the other runs need this thread
            _logger.exception("an answer of run %r could not be written", lease.record.id)


class Duties(Protocol):
    """What the watcher sees to; the runtime does it."""

    def look_round(self) -> None:
        """Another process has committed."""

    def ring(self) -> None:
        """Something is due."""

    def relieve(self) -> bool:
        """Let another thread begin where one is needed; True while runs wait for a thread."""

    def heed(self) -> None:
        """Twice a second: tell the steps that nobody waits for any more."""

    def look_after(self) -> bool:
        """About once a second: free what the dead held; True when anything was freed."""

    def tidy(self, is_idle: bool) -> None:
        """About once a second: keep the log small and its output written."""

    def beat(self) -> None:
        """About every ten seconds: say that this process lives."""


class Watcher:
    """Looks for the commits of other processes, for due times, for dead owners; adapts its pace to what happens."""

    def __init__(self, shared: Shared, duties: Duties) -> None:
        self._shared = shared
        self._duties = duties
        self._has_backlog = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable-watcher", daemon=True)
        self._news_at = time.monotonic()
        self._due: float | None = None
        self._lock = threading.Lock()
        self._early = threading.Event()
        self._check_at = 0.0  # monotonic time of the next look at what is due; infinity when the next due time is known
        self._patience = _AGAIN

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._early.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def note_due(self, at: float) -> None:
        """Something of ours is due then."""
        with self._lock:
            if self._due is None or at < self._due:
                self._due = at
                self._early.set()

    def _run(self) -> None:
        seen = -1
        lively = beat = heeded = 0.0
        while not self._stop.is_set():
            try:
                now = time.monotonic()
                changes = self._shared.store.changes()
                if changes != seen:
                    seen = changes
                    self._news_at = now
                    self._look()
                if now >= self._check_at or self._is_ringing():
                    self._check()
                self._has_backlog = self._duties.relieve()
                if now - heeded >= _HEED:
                    heeded = now
                    self._duties.heed()
                if now - lively >= _LIVENESS:
                    lively = now
                    self._duties.look_after()
                    self._duties.tidy(now - self._news_at > _IDLE)
                if now - beat >= _HEARTBEAT:
                    beat = now
                    self._duties.beat()
            except LogError as error:
                _logger.warning("%s", error)
            except Exception:  # without this thread no run of the process would ever wake again
                _logger.exception("looking for news failed; it is tried again in a second")
                self._early.wait(1.0)
            self._early.wait(self._pace())
            self._early.clear()

    def _look(self) -> None:
        """Somebody has committed: what is due now, and who may have mail?"""
        self._check_at = 0.0
        self._duties.look_round()

    def _is_ringing(self) -> bool:
        """Whether a known due time has come; it is forgotten then, and the check finds the one after it."""
        with self._lock:
            if self._due is None or self._due > self._shared.now():
                return False
            self._due = None
        return True

    def _check(self) -> None:
        """What is due next? What is due already is rung for, and looked at again until somebody has taken it."""
        self._check_at = time.monotonic() + self._patience  # also when the log cannot be read
        due = self._shared.next_due()
        if due is not None and due <= self._shared.now():
            self._patience = min(2 * self._patience, _AGAIN_AT_MOST)
            self._duties.ring()
            return
        self._patience, self._check_at = _AGAIN, math.inf
        if due is not None:
            with self._lock:
                self._due = due if self._due is None else min(due, self._due)

    def _pace(self) -> float:
        quiet = time.monotonic() - self._news_at
        pace = next(pace for since, pace in _PACE if quiet < since)
        with self._lock:
            due = self._due
        pace = min(pace, max(0.0, self._check_at - time.monotonic()))
        if self._has_backlog:
            pace = min(pace, _BACKLOG)
        if due is not None:
            pace = min(pace, max(0.0, self._shared.clock.real_wait(due - self._shared.now())))
        return pace
