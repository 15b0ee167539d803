"""Notices when the kernel has had nothing to do for a while."""

import threading
from collections.abc import Callable


class Idle:
    """Calls `then` once the kernel has been idle for `patience` seconds, again after every cell."""

    def __init__(self, patience: float, then: Callable[[], None]) -> None:
        self._patience = patience
        self._then = then
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def begin(self, *ignored: object) -> None:
        """A cell begins."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def end(self, *ignored: object) -> None:
        """It has ended; another one may follow at once."""
        self.begin()
        with self._lock:
            self._timer = timer = threading.Timer(self._patience, self._ring)
            timer.daemon = True
            timer.start()

    def _ring(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # a cell has begun meanwhile
            self._timer = None
        self._then()
