"""Putting an async flow away where it waits: quietly, whatever its clean-up tries."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.engine.scripted import (
    Program,
    asked,
    evict,
    live,
    plain_call,
    step,
    suspended,
)
from tests.engine.test_loop import many_at_once


async def stubborn_cleanup() -> Any:
    lock = asyncio.Lock()

    async def hold(name: str) -> None:
        async with lock:
            try:
                await step(name)
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                await asyncio.sleep(3)

    await asyncio.gather(hold("a"), hold("b"))


async def durable_cleanup() -> Any:
    try:
        await step("a")
    finally:
        await asyncio.wait_for(step("undo"), 5)


async def tasks_in_cleanup() -> Any:
    try:
        await step("a")
    finally:
        await asyncio.gather(step("undo"), step("undo more"))


async def catching_everything() -> Any:
    try:
        await step("a")
    except BaseException:
        await step("more")


async def coroutines_for_later() -> Any:
    one, several, named = step("one"), [step("two"), step("three")], {"four": step("four")}
    await step("first")
    return [await one, [await each for each in several], await named["four"]]


async def in_a_generator() -> Any:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield await step("number", 2)
        finally:
            await step("close")

    other = numbers()
    await anext(other)
    async for number in numbers():
        await step("a", number)


async def nested_groups() -> Any:
    async with asyncio.TaskGroup() as outer, asyncio.timeout(50):
        outer.create_task(step("a"))
        async with asyncio.TaskGroup() as inner:
            inner.create_task(step("b"))
            await asyncio.shield(asyncio.create_task(step("c")))


@pytest.mark.parametrize(
    "program",
    [
        stubborn_cleanup,
        durable_cleanup,
        tasks_in_cleanup,
        catching_everything,
        coroutines_for_later,
        in_a_generator,
        nested_groups,
        many_at_once,
    ],
)
def test_a_flow_is_put_away_quietly_wherever_it_waits(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, rows = live(program)
        for length in range(1, len(rows)):
            evict(program, rows[:length])
        gc.collect()
    assert caplog.text == ""


def test_tasks_that_never_began_are_put_away() -> None:
    async def program() -> Any:
        asyncio.create_task(step("never"))  # noqa: RUF006
        plain_call("a")

    cursor, loop = suspended(program)
    loop.close()
    loop.close()
    gc.collect()
    assert loop.is_closed()
    assert asked(cursor.rows) == ["a"]


def test_tasks_are_put_away_in_the_order_of_their_creation_in_their_own_context() -> None:
    seen: list[Any] = []

    async def work(name: str) -> None:
        try:
            await step(name)
        finally:
            task = asyncio.current_task()
            seen.append((name, task.get_name() if task else None, asyncio.get_running_loop() is loop))

    async def program() -> Any:
        await asyncio.gather(*[work(f"w{number}") for number in range(20)])

    _, loop = suspended(program)
    loop.close()
    assert seen == [(f"w{number}", f"Task-{number + 2}", True) for number in range(20)]
    assert asyncio._get_running_loop() is None
