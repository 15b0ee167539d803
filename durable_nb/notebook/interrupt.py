"""Ctrl-C (■) while a durable cell awaits, and while its outcome is stored."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from durable_nb.notebook.cut import in_one_line
from durable_nb.stores.interrupts import Shield, is_exposed


class Awaiting:
    """Entered in a coroutine: a Ctrl-C interrupts what the coroutine runs, and what it awaits.

    The kernel's own way does not wake a sleeping loop, and in blocking code it waits for the end. Blocking code of a
    task beside this one is left to its end here too: an exception there would stop the kernel's loop.
    """

    def __init__(self) -> None:
        self._frame: FrameType | None = None
        self._before: Any = None
        self._is_installed = False
        self._is_pressed = False
        self._cancels = 0

    def __enter__(self) -> "Awaiting":
        self._frame = sys._getframe(1)
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        if is_exposed():
            self._before = signal.signal(signal.SIGINT, self._handle)
            self._is_installed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._is_installed:
            signal.signal(signal.SIGINT, self._before)
            self._is_installed = False
        self._frame = None  # a frame refers to all that the cell has touched
        for _ in range(self._cancels):
            assert self._task is not None
            self._task.uncancel()
        if self._is_pressed and error is None and not self._cancels:
            raise KeyboardInterrupt  # at the last moment, when there was nothing left to cancel
        if self._cancels and isinstance(error, asyncio.CancelledError):
            raise KeyboardInterrupt().with_traceback(tb) from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame is self._frame:
                raise KeyboardInterrupt
            frame = frame.f_back
        self._is_pressed = True
        self._loop.call_soon_threadsafe(self._cancel)  # from the same thread too, or the loop sleeps on

    def _cancel(self) -> None:
        if self._is_installed and self._task is not None:
            self._cancels += 1
            self._task.cancel()


@contextmanager
def held_back(what: str) -> Iterator[None]:
    """Let no Ctrl-C in while this is done; afterwards it is answered with `what`, a sentence on what was done."""
    if not is_exposed():
        yield
        return
    shield = Shield()
    failure: BaseException | None = None
    with suppress(KeyboardInterrupt), shield:  # the shield's own answer says nothing about what was done
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - it counts for more than the Ctrl-C
            failure = error
    if failure is not None:
        raise failure
    if shield.was_interrupted:
        raise in_one_line(KeyboardInterrupt(what))
