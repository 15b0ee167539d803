"""What tasks are to a flow: generators, contexts, names, factories, and what is left of them at the end."""

import asyncio
import contextlib
import contextvars
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.engine.scripted import Program, asked, dropped, live, step, story_of


async def two_steps(name: str) -> str:
    first = await step(f"{name}1", name)
    return first + str(await step(f"{name}2", name))


def test_async_generators_are_closed_in_their_order_when_the_flow_ends() -> None:
    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield await step(name, number)
        finally:
            await step(f"close {name}")

    async def program() -> Any:
        seen = [number async for number in numbers("all")]
        for name in ("a", "b"):
            async for number in numbers(name):
                seen.append(number)
                break
        return seen

    result, rows = story_of(program)
    assert result == [0, 1, 2, 0, 0]
    assert asked(rows)[3:] == ["close all", "a", "b", "close a", "close b"]


def test_a_failing_generator_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await step(f"close {name}")

    async def program() -> Any:
        generators = [numbers("a!"), numbers("b")]
        return [await anext(one) for one in generators]

    result, rows = story_of(program)
    assert result == [1, 1]
    assert asked(rows) == ["close a!", "close b"]
    assert "closing of asynchronous generator" in caplog.text


def test_async_with_of_a_generator() -> None:
    @contextlib.asynccontextmanager
    async def held(name: str) -> AsyncIterator[str]:
        await step(f"take {name}")
        try:
            yield name
        finally:
            await step(f"give {name}")

    async def program() -> Any:
        async with held("a") as a, held("b") as b:
            return [a, b, await step("use")]

    assert asked(story_of(program)[1]) == ["take a", "take b", "use", "give b", "give a"]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


def test_contextvars_belong_to_their_task() -> None:
    async def work(name: str) -> list[str]:
        variable.set(name)
        await step(name)
        return [variable.get(), await inner()]

    async def inner() -> str:
        await step("inner")
        return variable.get()

    async def program() -> Any:
        found = await asyncio.gather(work("a"), work("b"))
        return [*found, variable.get()]

    assert story_of(program)[0] == [["a", "a"], ["b", "b"], "none"]


def test_tasks_know_themselves_and_have_the_same_names_in_every_replay() -> None:
    async def work() -> Any:
        await step("a")
        task = asyncio.current_task()
        assert task in asyncio.all_tasks()
        assert asyncio.get_running_loop() is asyncio.get_event_loop()
        assert asyncio.get_running_loop().is_running()
        return await step("name", task.get_name())

    async def program() -> Any:
        return await asyncio.gather(work(), work(), asyncio.create_task(work(), name="mine"))

    assert story_of(program)[0] == ["Task-3", "Task-4", "mine"]


def test_debug_mode() -> None:
    async def program() -> Any:
        asyncio.get_running_loop().set_debug(True)
        assert asyncio.get_running_loop().get_debug()
        async with asyncio.timeout(9):
            return await asyncio.gather(two_steps("a"), two_steps("b"), asyncio.sleep(1))

    assert story_of(program)[0] == ["aa", "bb", None]


def test_what_is_left_when_the_flow_returns_is_cancelled_in_order_and_may_clean_up() -> None:
    async def work(name: str) -> None:
        try:
            await step(name)
        finally:
            await asyncio.wait_for(step(f"undo {name}"), 5)

    async def program() -> Any:
        for name in ("a", "b"):
            asyncio.create_task(work(name))  # noqa: RUF006 - the loop holds its tasks
        await step("mine")
        return "done"

    result, rows = story_of(program, {"a": 9.0, "b": 9.0})
    assert result == "done"
    assert [name for name in asked(rows) if name != "timer"] == ["mine", "a", "b", "undo a", "undo b"]
    assert dropped(rows)[:2] == ["a", "b"]


def test_a_task_that_is_never_quiet_does_not_outlive_the_flow() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def program() -> Any:
        task = asyncio.create_task(spin())
        await asyncio.sleep(0)
        return task.done()

    assert story_of(program)[0] is False


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks_are_numbered() -> None:
    async def quick(number: int) -> int:
        return number

    async def program() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        assert loop.get_task_factory() is asyncio.eager_task_factory
        done = asyncio.create_task(quick(1))
        assert done.done()
        waiting = {asyncio.create_task(step(f"s{number}", number)) for number in range(9)}
        assert all(type(one) is type(asyncio.current_task()) for one in waiting)
        finished, _ = await asyncio.wait(waiting)
        return [await step("saw", one.result()) for one in finished]

    assert sorted(story_of(program)[0]) == list(range(9))


def test_a_task_factory_that_keeps_the_class_works() -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        kind = type(asyncio.current_task())
        loop.set_task_factory(lambda loop, coro, **options: kind(coro, loop=loop, **options))
        return [await asyncio.create_task(step("a", 1), name="mine"), await asyncio.gather(step("b", 2))]

    assert story_of(program)[0] == [1, [2]]


def failing_beside() -> Program:
    async def fail() -> None:
        raise LookupError("beside")

    async def program() -> Any:
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        del task
        gc.collect()
        await step("a")

    return program


def test_an_error_that_nobody_takes_is_logged_once_and_not_in_replays(caplog: pytest.LogCaptureFixture) -> None:
    _, rows = live(failing_beside())
    assert caplog.text.count("Task exception was never retrieved") == 1
    caplog.clear()
    assert live(failing_beside(), prefix=rows)[1] == rows
    assert caplog.text == ""


def test_the_flows_own_exception_handler_is_called_in_replays_too() -> None:
    async def program() -> Any:
        seen: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(str(context["exception"])))
        assert loop.get_exception_handler() is not None
        loop.call_soon(lambda: 1 / 0)
        await step("a")
        return seen

    assert story_of(program)[0] == ["division by zero"]
