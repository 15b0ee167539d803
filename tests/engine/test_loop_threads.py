"""The loop of a flow on threads that have a loop of their own."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

from durable_nb.engine.cursor import Cursor
from durable_nb.history.events import Row
from tests.engine.scripted import (
    STARTED,
    Script,
    go,
    live,
    plain_call,
    step,
    story_of,
    suspended,
)


def test_it_runs_on_a_thread_that_has_a_running_loop() -> None:
    async def program() -> Any:
        assert asyncio.current_task().get_name() == "Task-1"  # type: ignore[union-attr]
        async with asyncio.timeout(9):
            return await asyncio.gather(step("a", 1), step("b", 2))

    async def kernel() -> Any:
        mine, hooks = asyncio.current_task(), sys.get_asyncgen_hooks()
        result, _ = story_of(program)
        assert asyncio.current_task() is mine
        assert sys.get_asyncgen_hooks() == hooks
        await asyncio.sleep(0.001)
        return result

    for debug in (False, True):
        assert asyncio.run(kernel(), debug=debug) == [1, 2]


def test_a_blocking_step_finds_the_thread_without_the_flows_loop() -> None:
    async def body() -> str:
        await asyncio.sleep(0)
        return "ran"

    class Running(Script):
        def answer(self) -> Row:
            said.append(asyncio.run(body()))
            return super().answer()

    said: list[str] = []

    async def blocking() -> Any:
        return plain_call("a", 1)

    async def program() -> Any:
        mine = asyncio.current_task()
        found = await asyncio.gather(blocking(), step("b", 2))
        assert asyncio.current_task() is mine
        return found

    assert go(program, Cursor([STARTED], Running([STARTED])))[0] == [1, 2]
    assert said == ["ran", "ran"]


def test_a_flow_inside_the_step_of_a_flow() -> None:
    class Nested(Script):
        def answer(self) -> Row:
            said.append(live(inner)[0])
            return super().answer()

    said: list[Any] = []

    async def inner() -> Any:
        return await step("inner", "in")

    async def program() -> Any:
        return [plain_call("a", 1), await step("b", 2)]

    assert go(program, Cursor([STARTED], Nested([STARTED])))[0] == [1, 2]
    assert said == ["in", "in"]


def test_it_goes_on_in_another_thread() -> None:
    async def program() -> Any:
        return await asyncio.gather(step("a", 1), step("b", 2))

    cursor, loop = suspended(program)
    cursor.closed = None
    cursor.port.is_patient = True  # type: ignore[attr-defined]
    found: list[Any] = []
    carry: Callable[[], None] = lambda: found.append(loop.go_on())  # noqa: E731
    thread = threading.Thread(target=carry)
    thread.start()
    thread.join()
    assert found == [[1, 2]]
