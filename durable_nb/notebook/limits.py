"""How long the body of a cell may run."""

import _thread
import signal
import threading
from types import TracebackType


class Limit:
    """Interrupts the main thread when the time is over; `is_over` tells that it was this, and no person."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._is_left = False
        self.is_over = False

    def __enter__(self) -> "Limit":
        if self._seconds is not None:
            self._timer = threading.Timer(self._seconds, self._ring)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._lock:
            self._is_left = True
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        with self._lock:
            if self._is_left:
                return
            self.is_over = True
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # ends a sleep too
            else:
                _thread.interrupt_main()
