"""Async flows as users write them: asyncio unchanged, and every await survives a crash."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durable_nb import NotInFlow, flow, gather, race, runs, signal, sleep, step, timer
from durable_nb.app import App
from durable_nb.testing import run_to_end, run_until_idle
from tests.scenarios.everywhere import Failed, afail, afetch, echo, ended, everywhere, fits, kinds, told
from tests.scenarios.test_futures import started


@flow(name="async.sequences")
async def sequences() -> Any:
    """Two interleaved sequences of steps."""

    async def sequence(name: str) -> list[Any]:
        return [await afetch(f"{name}{n}") for n in range(3)]

    return await asyncio.gather(sequence("a"), sequence("b"))


@flow(name="async.group")
async def group() -> Any:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(one(n)) for n in range(3)]
    return [task.result() for task in made]


async def one(n: int) -> Any:
    await asyncio.sleep(3 - n)
    return await afetch(n)


@flow(name="async.waits")
async def waits() -> Any:
    tasks = [asyncio.create_task(one(n)) for n in range(3)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    found = sorted(task.result() for task in done)
    for task in pending:
        task.cancel()
    return [found, len(pending), await afetch("after")]


@flow(name="async.as_completed")
async def as_completed() -> Any:
    tasks = [asyncio.create_task(one(n)) for n in range(3)]
    return [await each for each in asyncio.as_completed(tasks)]


@flow(name="async.timeouts")
async def timeouts() -> Any:
    found: list[Any] = []
    try:
        await asyncio.wait_for(signal("never"), 60)
    except TimeoutError:
        found.append("wait_for")
    try:
        async with asyncio.timeout(60):
            await signal("never")
    except TimeoutError:
        found.append("timeout")
    async with asyncio.timeout(60):
        found.append(await afetch("in time"))
    return found


@flow(name="async.queue")
async def queue() -> Any:
    items: asyncio.Queue[Any] = asyncio.Queue(maxsize=2)

    async def produce() -> None:
        for n in range(4):
            await items.put(await afetch(n))
        await items.put(None)

    maker = asyncio.create_task(produce())
    found = []
    while (item := await items.get()) is not None:
        found.append(item)
    await maker
    return found


@flow(name="async.locks")
async def locks() -> Any:
    lock, limit, event, seen = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event(), []

    async def work(n: int) -> None:
        async with limit, lock:
            seen.append(await afetch(n))
        if n == 2:
            event.set()

    tasks = [asyncio.create_task(work(n)) for n in range(4)]
    await event.wait()
    await asyncio.gather(*tasks)
    return seen


@flow(name="async.fails")
async def fails() -> Any:
    try:
        await asyncio.gather(afetch("x"), afail("no"))
    except ValueError as error:
        return str(error)


@flow(name="async.group_fails")
async def group_fails() -> Any:
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one(5))
            tasks.create_task(failing())
    except ExceptionGroup as errors:
        return [str(error) for error in errors.exceptions]


async def failing() -> None:
    await afail("no")


@flow(name="async.shielded")
async def shielded() -> Any:
    inner = asyncio.ensure_future(one(0))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 1)
    except TimeoutError:
        pass
    return await inner


@flow(name="async.ours")
async def ours() -> Any:
    """Our own combinators in an async flow."""
    both = await gather(echo.spawn(1), echo.spawn(2))
    won = await race(timer("1m"), signal("never"))
    mapped = await echo.map([1, 2, 3], limit=2)
    return [both, won.index, mapped]


@flow(name="async.beside")
async def beside() -> Any:
    """Begun at the call, awaited later."""
    first, second = afetch("a"), afetch("b")
    await timer("1m")
    return [await second, await first]


@flow(name="async.generator")
async def generator() -> Any:
    async def numbers() -> AsyncIterator[Any]:
        for n in range(3):
            yield await afetch(n)

    return [n async for n in numbers()]


@flow(name="async.sync_step")
async def sync_step() -> Any:
    """A sync step in an async flow stops its other tasks, and nothing else."""
    ticks = []

    async def ticking() -> None:
        for n in range(2):
            await asyncio.sleep(1)
            ticks.append(n)

    beside = asyncio.create_task(ticking())
    found = [echo(1), echo(2)]
    await beside
    return [found, ticks]


@flow(name="async.forgotten")
async def forgotten() -> Any:
    """Never awaited; given up at the end."""
    afetch("forgotten")
    asyncio.create_task(one(1))  # noqa: RUF006 - what users write
    return await afetch("done")


@flow(name="async.signals")
async def signals() -> Any:
    return await asyncio.gather(signal("a", int), signal("b", int))


CASES: dict[str, tuple[Any, Any]] = {
    "sequences": (sequences, [["a0", "a1", "a2"], ["b0", "b1", "b2"]]),
    "group": (group, [0, 1, 2]),
    "waits": (waits, [[2], 2, "after"]),
    "as completed": (as_completed, [2, 1, 0]),
    "timeouts": (timeouts, ["wait_for", "timeout", "in time"]),
    "queue": (queue, [0, 1, 2, 3]),
    "locks": (locks, [0, 1, 2, 3]),
    "fails": (fails, "no"),
    "group fails": (group_fails, ["no"]),
    "shielded": (shielded, 0),
    "ours": (ours, [[1, 2], 0, [1, 2, 3]]),
    "beside": (beside, ["b", "a"]),
    "generator": (generator, [0, 1, 2]),
    "sync step": (sync_step, [[1, 2], [0, 1]]),
    "forgotten": (forgotten, "done"),
}


@pytest.mark.parametrize("name", CASES)
def test_async_flow_comes_to_the_same_after_a_crash_anywhere(tmp_path: Path, name: str) -> None:
    of, result = CASES[name]
    assert everywhere(of, started(of), tmp_path).result == result


def test_two_signals_are_awaited_together(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = signals["r"].start()
        run_until_idle(app)
        told(run, "b", 2)
        run_until_idle(app)
        told(run, "a", 1)
        return ended(app)

    lived = everywhere(signals, drive, tmp_path)
    assert lived.result == [1, 2]
    assert lived.kinds == ["signal", "signal", "received", "received", "completed"]


def test_the_wrong_verb_of_a_colour_is_refused_with_the_right_line(durable_app: App) -> None:
    @flow
    async def sleeps() -> None:
        sleep("1h")

    @flow
    async def asks_result() -> None:
        timer("1h").result()

    @flow
    def plain_calls_async_step() -> Any:
        return afetch(1)

    @flow
    def plain_calls_async_flow() -> Any:
        return ours()

    for of, line in (
        (sleeps, "await asyncio.sleep"),
        (asks_result, "await"),
        (plain_calls_async_step, r"everywhere\.afetch\.spawn\(…\)\.result\(\)"),
        (plain_calls_async_flow, r"async\.ours\.spawn\(…\)\.result\(\)"),
    ):
        with pytest.raises(NotInFlow, match=line):
            run_to_end(durable_app, of.start())


def test_an_async_step_of_a_plain_flow_by_spawn(durable_app: App, tmp_path: Path) -> None:
    @flow
    def plain() -> Any:
        return afetch.spawn(1).result()

    assert run_to_end(durable_app, plain["r"].start()) == 1
    assert kinds() == ["step", "attempt", "returned", "completed"]
    assert fits(plain, "r", tmp_path) == 1


def test_what_reaches_outside_is_refused_with_advice(durable_app: App) -> None:
    @flow
    async def reaches(how: str) -> Any:
        if how == "thread":
            return await asyncio.to_thread(print, "x")
        if how == "executor":
            return await asyncio.get_running_loop().run_in_executor(None, print, "x")
        return await asyncio.open_connection("localhost", 1)

    for how in ("thread", "executor", "socket"):
        with pytest.raises(NotInFlow, match="step"):
            run_to_end(durable_app, reaches.start(how))


def test_an_async_flow_called_outside_is_awaited(durable_app: App) -> None:
    async def cell() -> Any:
        return await fails["r"]()

    assert asyncio.run(cell()) == "no"


def test_thirty_two_async_flows_wait_at_once_and_all_go_on(durable_app: App) -> None:
    made = [signals[f"r-{n}"].start() for n in range(80)]
    run_until_idle(durable_app)
    for n, run in enumerate(made):
        run.signal("a", n)
        run.signal("b", -n)
    run_until_idle(durable_app)
    assert [run.result() for run in made] == [[n, -n] for n in range(80)]
    assert runs["r-1"].status == "completed"


def test_a_failed_task_that_nobody_awaits_does_not_change_the_outcome(tmp_path: Path) -> None:
    lived = everywhere(unawaited, started(unawaited), tmp_path)
    assert lived.result == "done"


@flow(name="async.unawaited")
async def unawaited() -> Any:
    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    assert isinstance(task.exception(), ValueError)
    return await afetch("done")


def test_an_exception_of_an_async_flow_fails_it(tmp_path: Path) -> None:
    lived = everywhere(raising, started(raising), tmp_path)
    assert lived.result == Failed("ValueError", "no")


@flow(name="async.raising")
async def raising() -> Any:
    await afetch(1)
    await failing()


def test_steps_of_async_flows_can_be_options(durable_app: App) -> None:
    @step(name="async.flaky", retry=2)
    async def flaky(n: int) -> int:
        if n == 0:
            raise ConnectionError("always")
        return n

    @flow
    async def tries() -> Any:
        try:
            await flaky(0)
        except ConnectionError as error:
            return [str(error), await flaky.options(timeout="1m")(2)]

    assert run_to_end(durable_app, tries["r"].start()) == ["always", 2]
    assert kinds().count("attempt") == 3
