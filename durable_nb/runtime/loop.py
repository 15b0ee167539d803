"""One event loop on one thread, for the bodies of async steps. Nothing is imported or begun before the first one."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any


class TookTooLong(Exception):
    """The time is over."""


async def _bounded(coroutine: Coroutine[Any, Any, Any], timeout: float | None) -> Any:
    task = asyncio.ensure_future(coroutine)
    done, _ = await asyncio.wait({task}, timeout=timeout)
    if not done:
        task.cancel()
        raise TookTooLong
    return task.result()


class LoopThread:
    """Runs coroutines from other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = asyncio.new_event_loop()  # None once it is stopped
        threading.Thread(target=self._serve, args=(self._loop,), name="durable-loop", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout: float | None) -> Any:
        """Run the coroutine on the loop and wait for it here; TookTooLong after that time, with the coroutine cancelled.

        CancelledError when the loop is stopped: it would never run, and a new loop would never end.
        """
        with self._lock:
            if self._loop is None:
                coroutine.close()
                raise CancelledError
            future = asyncio.run_coroutine_threadsafe(_bounded(coroutine, timeout), self._loop)
        return future.result()

    def stop(self) -> None:
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
