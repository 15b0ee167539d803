"""asyncio as people write it, on the loop of a flow: each program live, replayed, cold from everywhere, kept, evicted."""

import asyncio
import contextlib
from typing import Any

import pytest

from tests.engine.scripted import Step, asked, dropped, plain_call, step, story_of


async def two_steps(name: str) -> str:
    first = await step(f"{name}1", name)
    return first + str(await step(f"{name}2", name))


def test_awaits_one_after_the_other() -> None:
    async def program() -> Any:
        return [await step("a", 1), await step("b", 2)]

    result, rows = story_of(program)
    assert result == [1, 2]
    assert [row.kind for row in rows[1:]] == ["step", "returned", "step", "returned"]


def test_gather_interleaves_two_sequences_by_their_answers() -> None:
    async def program() -> Any:
        return await asyncio.gather(two_steps("a"), two_steps("b"))

    result, rows = story_of(program, {"a1": 5.0})
    assert result == ["aa", "bb"]
    assert asked(rows) == ["a1", "b1", "b2", "a2"]


def test_gather_of_a_failure_leaves_the_others_to_the_end_of_the_flow() -> None:
    async def program() -> Any:
        try:
            await asyncio.gather(step("a!"), step("long"))
        except Exception as error:
            return f"{error} {await step('after')}"

    result, rows = story_of(program, {"long": 50.0})
    assert result == "a! None"
    assert asked(rows) == ["a!", "long", "after"]


def test_gather_can_return_exceptions() -> None:
    async def program() -> Any:
        found = await asyncio.gather(step("a!"), step("b", 2), return_exceptions=True)
        return [str(one) for one in found]

    assert story_of(program)[0] == ["a!", "2"]


def test_steps_begun_before_they_are_awaited() -> None:
    async def program() -> Any:
        one, two = Step("a", 1), Step("b", 2)
        return [await two, await one]

    result, rows = story_of(program, {"b": 3.0})
    assert result == [2, 1]
    assert [row.kind for row in rows[1:]] == ["step", "step", "returned", "returned"]


def test_a_blocking_step_stops_the_other_tasks() -> None:
    async def blocking(name: str) -> Any:
        await asyncio.sleep(0)
        return plain_call(name, name) + await step(name + "2", "x")

    async def program() -> Any:
        return await asyncio.gather(blocking("a"), blocking("b"), two_steps("c"))

    result, rows = story_of(program)
    assert result == ["ax", "bx", "cc"]
    assert asked(rows) == ["c1", "a", "a2", "b", "b2", "c2"]


def test_wait_for_in_time_gives_its_timer_up() -> None:
    async def program() -> Any:
        return [await asyncio.wait_for(step("a", 1), 10), await step("b", 2)]

    result, rows = story_of(program)
    assert result == [1, 2]
    assert asked(rows) == ["timer", "a", "b"]
    assert dropped(rows) == ["timer"]


def test_wait_for_too_late_gives_the_step_up() -> None:
    async def program() -> Any:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(step("a", 1), 10)
        return await step("b", 2)

    result, rows = story_of(program, {"a": 20.0})
    assert result == 2
    assert dropped(rows) == ["a"]


def test_wait_for_nothing_left() -> None:
    async def program() -> Any:
        try:
            return await asyncio.wait_for(step("a"), 0)
        except TimeoutError:
            return "late"

    assert story_of(program)[0] == "late"


def test_timeout_can_be_moved() -> None:
    async def program() -> Any:
        said = []
        try:
            async with asyncio.timeout(5) as limit:
                await step("a")
                limit.reschedule(asyncio.get_running_loop().time() + 2)
                await step("long")
        except TimeoutError:
            said.append("late")
        async with asyncio.timeout(None):
            said.append(await step("b", 1))
        return said

    result, rows = story_of(program, {"long": 30.0})
    assert result == ["late", 1]
    assert dropped(rows) == ["timer", "long"]


def test_task_group_gives_up_the_siblings_of_a_failing_child_and_cleans_up_durably() -> None:
    async def child(name: str) -> None:
        try:
            await step(name)
        except asyncio.CancelledError:
            await step(f"undo {name}")
            raise

    async def program() -> Any:
        try:
            async with asyncio.TaskGroup() as group:
                for name in ("a", "b", "c!", "d", "e"):
                    group.create_task(child(name))
        except ExceptionGroup as error:
            return [str(one) for one in error.exceptions]

    result, rows = story_of(program, dict.fromkeys("abde", 9.0))
    assert result == ["c!"]
    assert asked(rows)[5:] == ["undo a", "undo b", "undo d", "undo e"]
    assert dropped(rows) == ["a", "b", "d", "e"]


@pytest.mark.parametrize("return_when", [asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED])
def test_wait_has_a_stable_order(return_when: str) -> None:
    async def program() -> Any:
        names = [f"s{number}" for number in range(9)] + ["bad!"]
        waiting = {asyncio.create_task(step(name, name)) for name in names}
        seen = []
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=return_when)
            seen += [await step("saw", task.result() if not task.exception() else "failed") for task in done]
        return seen

    result, _ = story_of(program, {f"s{number}": 3.0 + number % 3 for number in range(9)})
    assert len(result) == 10


def test_wait_with_a_timeout() -> None:
    async def program() -> Any:
        waiting = [asyncio.create_task(step(name, name)) for name in ("a", "long", "b")]
        done, pending = await asyncio.wait(waiting, timeout=5)
        said = [len(done), len(pending)]
        return [*said, *[await step("saw", await task) for task in waiting]]

    result, rows = story_of(program, {"long": 9.0})
    assert result == [2, 1, "a", "long", "b"]
    assert dropped(rows) == []


def test_as_completed_of_tasks() -> None:
    async def program() -> Any:
        tasks = [asyncio.create_task(step(name, name)) for name in ("c", "a", "b")]
        return [await step("saw", await one) for one in asyncio.as_completed(tasks)]

    result, _ = story_of(program, {"a": 1.0, "b": 4.0, "c": 7.0})
    assert result == ["a", "b", "c"]


def test_as_completed_with_a_timeout() -> None:
    async def program() -> Any:
        tasks = [asyncio.create_task(step(name, name)) for name in ("a", "long")]
        seen = []
        try:
            for one in asyncio.as_completed(tasks, timeout=3):
                seen.append(await one)
        except TimeoutError:
            seen.append("late")
        return seen

    assert story_of(program, {"long": 9.0})[0] == ["a", "late"]


def test_queue() -> None:
    async def program() -> Any:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
        seen: list[int] = []

        async def produce() -> None:
            for number in range(3):
                await queue.put(await step("make", number))

        async def consume() -> None:
            while True:
                seen.append(await step("use", await queue.get()))
                queue.task_done()

        consumers = [asyncio.create_task(consume()) for _ in range(2)]
        await produce()
        await queue.join()
        for one in consumers:
            one.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        return seen

    assert story_of(program, {"use": 2.5})[0] == [0, 1, 2]


def test_lock_semaphore_event_and_condition() -> None:
    async def program() -> Any:
        lock, places, ready, changed = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event(), asyncio.Condition()
        said: list[Any] = []

        async def work(name: str) -> None:
            await ready.wait()
            async with places:
                said.append(await step("in", name))
                async with lock:
                    await step("alone", name)
            async with changed:
                said.append(name)
                changed.notify_all()

        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(work(name))
            await asyncio.sleep(3)
            ready.set()
            async with changed:
                await changed.wait_for(lambda: len(said) >= 4)
                said.append("seen")
        return said

    result, _ = story_of(program)
    assert sorted(result) == ["a", "a", "b", "b", "c", "c", "seen"]


def test_barrier() -> None:
    async def program() -> Any:
        barrier = asyncio.Barrier(3)
        said: list[str] = []

        async def work(name: str) -> None:
            await step(name)
            said.append(f"{name} came")
            await barrier.wait()
            said.append(f"{name} went")

        await asyncio.gather(*[work(name) for name in "abc"])
        return said

    assert story_of(program, {"a": 5.0})[0] == ["b came", "c came", "a came", "a went", "b went", "c went"]


def test_shield_lets_the_step_go_on() -> None:
    async def program() -> Any:
        task = asyncio.create_task(step("long", 7))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 2)
        return [task.done(), await task]

    result, rows = story_of(program, {"long": 9.0})
    assert result == [False, 7]
    assert dropped(rows) == []


def test_sleep_and_time() -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        await asyncio.sleep(0)
        times.append(loop.time())
        value = await asyncio.sleep(2.5, "slept")
        times.append(loop.time())
        first, second = Step("a"), Step("b")
        times.append(loop.time())
        await second
        await first
        return [value, *times, loop.time()]

    result, rows = story_of(program, {"b": 4.0})
    assert result == ["slept", 100.0, 100.0, 102.5, 102.5, 106.5]
    assert asked(rows) == ["timer", "a", "b"]


def test_calls_at_times() -> None:
    async def program() -> Any:
        loop, said = asyncio.get_running_loop(), []
        loop.call_later(3, said.append, "late")
        loop.call_later(1, said.append, "early")
        loop.call_later(2, said.append, "never").cancel()
        loop.call_later(float("inf"), said.append, "never")
        loop.call_later(-1, said.append, "at once")
        loop.call_soon(said.append, "soon")
        assert loop.call_at(loop.time() - 5, said.append, "past").when() == loop.time() - 5
        await asyncio.sleep(4)
        return said

    result, rows = story_of(program)
    assert result == ["at once", "soon", "past", "early", "late"]
    assert asked(rows) == ["timer"] * 4
    assert dropped(rows) == ["timer"]
