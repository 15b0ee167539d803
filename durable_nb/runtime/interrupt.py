"""Ctrl-C while the main thread carries a run: it reaches the user's code and never lands inside a commit."""

import _signal  # type: ignore[import-not-found]  # without the enums of signal: 1 µs instead of 13, for every run
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGINT = int(signal.SIGINT)


class Interrupts:
    """Installed for a whole carry. `enter_engine`/`leave_engine` mark what may not be interrupted."""

    def __init__(self) -> None:
        self.in_user_code = False
        self.is_pressed = False
        self._before: Any = None
        self._is_installed = False

    @property
    def spares_commits(self) -> bool:
        """Read by the store: this handler does not raise in the middle of a commit of ours; in a step's body it may."""
        return not self.in_user_code

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = _signal.getsignal(_SIGINT)
            if callable(self._before):
                _signal.signal(_SIGINT, self._handle)
                self._is_installed = True
                self._take_from(self._before)
        return self

    def _take_from(self, before: Any) -> None:
        """Within another one of these (`App.carry` holds one from before the lease on), a Ctrl-C moves inwards."""
        outer = getattr(before, "__self__", None)
        if isinstance(outer, Interrupts) and outer.is_pressed:
            self.is_pressed, outer.is_pressed = True, False

    def _hand_back(self, before: Any) -> None:
        """And outwards, when no code of the run has come that it could have reached."""
        outer = getattr(before, "__self__", None)
        if isinstance(outer, Interrupts) and self.is_pressed:
            outer.is_pressed, self.is_pressed = True, False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.in_user_code = False
        if self._is_installed:
            _signal.signal(_SIGINT, self._before)
            self._is_installed = False
            self._hand_back(self._before)

    def leave_engine(self) -> None:
        """User code goes on; a Ctrl-C that came meanwhile reaches it now."""
        self.in_user_code = True
        if self.is_pressed:
            self.is_pressed = False
            self.in_user_code = False
            raise KeyboardInterrupt

    def enter_engine(self) -> None:
        self.in_user_code = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.in_user_code:
            self.in_user_code = False  # one interrupt, one KeyboardInterrupt; cleaning up is not interrupted
            raise KeyboardInterrupt
        self.is_pressed = True
