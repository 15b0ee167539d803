"""Async flows of the crash matrix: asyncio as it is, and every await survives a kill."""

import asyncio
from typing import Any

from durable_nb import flow, race, signal, state, timer
from tests.scenarios.drives import Drive, carried, told
from tests.scenarios.language import confirm, resumed
from tests.scenarios.shop import add, fail, fetch


@flow(name="matrix.resumed_in_async")
async def resumed_in_async() -> Any:
    return await confirm.when_signalled()


@flow(name="matrix.async_gather")
async def async_gather() -> Any:
    return await asyncio.gather(fetch(1), fetch(2), asyncio.sleep(0.01, "slept"))


@flow(name="matrix.async_group")
async def async_group() -> Any:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(napping(n)) for n in range(2)]
    return [task.result() for task in made]


async def napping(n: int) -> Any:
    await asyncio.sleep(0.005)
    return await fetch(n)


@flow(name="matrix.async_group_fails")
async def async_group_fails() -> Any:
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(3600))
            tasks.create_task(failing())
    except ExceptionGroup as errors:
        return [str(error) for error in errors.exceptions]


async def failing() -> None:
    await asyncio.sleep(0.005)
    await fail.spawn("in the group")


@flow(name="matrix.async_wait_for")
async def async_wait_for() -> Any:
    try:
        await asyncio.wait_for(signal("never"), 0.01)
    except TimeoutError:
        return [await asyncio.wait_for(fetch(1), 3600)]


@flow(name="matrix.async_queue")
async def async_queue() -> Any:
    items: asyncio.Queue[Any] = asyncio.Queue(1)

    async def produce() -> None:
        for n in (1, 2, None):
            await items.put(n if n is None else await fetch(n))

    maker, found = asyncio.create_task(produce()), []
    while (item := await items.get()) is not None:
        found.append(item)
    await maker
    return found


@flow(name="matrix.async_sequences")
async def async_sequences() -> Any:
    async def sequence(first: int) -> Any:
        return [await fetch(first), await fetch(first + 1)]

    return await asyncio.gather(sequence(1), sequence(11))


@flow(name="matrix.async_sleep")
async def async_sleep() -> Any:
    await asyncio.sleep(0.01)
    return add(1)


@flow(name="matrix.async_signals")
async def async_signals() -> Any:
    found = await asyncio.gather(signal("a"), signal("b"))
    won = await race(signal("c"), timer(3600))
    return [found, won.index, won.value, state.setdefault("seen", 3)]


@flow(name="matrix.async_task_cancelled")
async def async_task_cancelled() -> Any:
    task = asyncio.create_task(napping_long())
    done, _ = await asyncio.wait([task], timeout=0.01)
    task.cancel()
    return [len(done), await asyncio.gather(task, return_exceptions=True) != [], await fetch(1)]


async def napping_long() -> None:
    try:
        await timer(3600)
    except asyncio.CancelledError:
        await fetch(9)
        raise


ALONE = (
    async_gather, async_group, async_group_fails, async_wait_for, async_queue, async_sequences, async_sleep,
    async_task_cancelled,
)  # fmt: skip
ASYNCHRONY: dict[str, Drive] = {
    **{made.function.__name__: carried(made) for made in ALONE},
    "async_signals": told(async_signals, ("b", 1), ("a", 2), ("c", 3)),
    "resumed_in_async": resumed(resumed_in_async),
}  # fmt: skip
