"""Ctrl-C and commits: an exception out of a signal handler must not land between a lock and its release."""

import _signal  # type: ignore[import-not-found]  # without the enums of signal: 1 µs instead of 13, at every commit
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGINT = int(signal.SIGINT)


class Shield:
    """While it is entered on the main thread, SIGINT is only noted; afterwards it is delivered as if it came then."""

    def __init__(self) -> None:
        self.was_interrupted = False
        self._before: Any = None

    def __enter__(self) -> "Shield":
        self._before = _signal.signal(_SIGINT, self._note)
        return self

    @property
    def wants_out(self) -> bool:
        """Interrupted, and by a handler that is known to raise: what has not begun need not begin."""
        return self.was_interrupted and self._before is signal.default_int_handler

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.was_interrupted = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _signal.signal(_SIGINT, self._before)
        if self.was_interrupted and not isinstance(error, KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def is_exposed() -> bool:
    """Whether SIGINT may raise in this thread right now.

    A handler that is a method of something with `spares_commits` true says that it does not raise inside a commit.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return False
    handler = _signal.getsignal(_SIGINT)
    return callable(handler) and not getattr(getattr(handler, "__self__", None), "spares_commits", False)
