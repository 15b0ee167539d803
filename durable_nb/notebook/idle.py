"""Notices when the kernel has had nothing to do for a while."""

import threading
import time
from collections.abc import Callable


class Idle:
    """Calls `then` once the kernel has been idle for `patience` seconds, again after every cell; no cell begins meanwhile.

    One thread for all cells, which a cell neither starts nor wakes while it waits anyway: that would cost every cell more
    than all the rest of this.
    """

    def __init__(self, patience: Callable[[], float], then: Callable[[], None]) -> None:
        self._patience = patience
        self._then = then
        self._changed = threading.Condition()
        self._is_calling = threading.Lock()
        self._idle_at: float | None = None
        self._is_asleep = False
        self._is_over = False
        self._thread: threading.Thread | None = None

    def begin(self, *ignored: object) -> None:
        """A cell begins, or waits for the call that is under way."""
        with self._changed:
            self._idle_at = None
        with self._is_calling:
            pass

    def end(self, *ignored: object) -> None:
        """It has ended; another one may follow at once."""
        with self._changed:
            self._idle_at = time.monotonic() + self._patience()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="durable-idle", daemon=True)
                self._thread.start()
            elif self._is_asleep:
                self._changed.notify()

    def stop(self) -> None:
        """Never call again."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def _watch(self) -> None:
        while self._wait():
            try:
                self._then()
            finally:
                self._is_calling.release()

    def _wait(self) -> bool:
        """Until the kernel is idle, and no cell can begin; False when there is nothing to wait for any more."""
        with self._changed:
            while not self._is_over:
                if self._idle_at is None:
                    self._is_asleep = True
                    self._changed.wait()
                    self._is_asleep = False
                elif (left := self._idle_at - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    self._idle_at = None
                    self._is_calling.acquire()
                    return True
        return False
