"""The event loop of async steps, at its end."""

from concurrent.futures import CancelledError

import pytest

from durable_nb import App
from durable_nb.errors import LogClosed
from durable_nb.runtime.loop import LoopThread


async def one() -> int:
    return 1


def test_loop_that_was_stopped_runs_nothing_and_begins_no_thread_again() -> None:
    loop = LoopThread()
    assert loop.run(one(), None) == 1
    loop.stop()
    with pytest.raises(CancelledError):
        loop.run(one(), None)


def test_no_loop_is_begun_after_the_workers_were_stopped(durable_app: App) -> None:
    assert durable_app.runtime is not None
    errands = durable_app.runtime.workers._errands
    errands.stop()
    with pytest.raises(LogClosed):
        errands._begin_loop()
