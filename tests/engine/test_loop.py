"""The loop of async flows itself: numbers, time, suspension, the end, cancellation, errors."""

import asyncio
import gc
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

from durable_nb.engine.cursor import Cursor, Suspended
from durable_nb.engine.loop import FlowLoop
from durable_nb.engine.mismatch import Mismatch
from durable_nb.engine.replayer import Replayer
from durable_nb.errors import Cancelled
from durable_nb.history.events import Row
from tests.engine.scripted import (
    STARTED,
    Program,
    Script,
    Step,
    asked,
    dropped,
    go,
    live,
    plain_call,
    step,
    step_ask,
    story_of,
    suspended,
    told,
)


async def many_at_once() -> Any:
    """Everything of asyncio that goes through a set, with a step for each, in the order in which it comes out."""
    said = []

    async def child(name: str) -> None:
        try:
            await step(name)
        finally:
            said.append(await step(f"undo {name}"))

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(child(f"c{number}" if number != 5 else "c!"))
    waiting = {asyncio.create_task(step(f"w{number}", number)) for number in range(12)}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        said += [await step("saw", task.result()) for task in done]
    futures = {asyncio.get_running_loop().create_future() for _ in range(12)}
    for number, future in enumerate(futures):
        future.set_result(await step("future", number))
    return said


TAKES = {f"w{number}": 2.0 + number % 3 for number in range(12)} | {f"c{number}": 9.0 for number in range(12)}


def test_sets_of_tasks_and_futures_go_the_same_way_in_every_replay() -> None:
    result, rows = live(many_at_once, TAKES)
    ballast: list[Any] = []
    for turn in range(16):
        ballast += [bytearray(17 * number % 701) for number in range(turn * 97)]
        del ballast[:: 2 + turn % 3]
        others = [asyncio.AbstractEventLoop() for _ in range(turn)]
        again, same = live(many_at_once, TAKES, rows)
        assert again == result
        assert same == rows
        del others


@pytest.mark.slow
def test_sets_go_the_same_way_in_every_process() -> None:
    code = (
        "from tests.engine.test_loop import *\nfrom hashlib import sha256\n"
        "print(sha256(repr(live(many_at_once, TAKES)).encode()).hexdigest())"
    )
    found = set()
    for seed in range(16):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_time_moves_with_what_is_revealed_and_not_with_asks() -> None:
    async def program() -> Any:
        loop, times = asyncio.get_running_loop(), []
        for name in ("a", "b"):
            times.append(loop.time())
            one = Step(name)
            times.append(loop.time())
            await one
        return [*times, loop.time()]

    rows = [STARTED]
    cursor = Cursor(rows, Script(rows, tick=0.25))
    result, _ = go(program, cursor)
    assert result[0] == result[1] == 100.0
    assert result[2] == result[3]
    assert live(program, prefix=cursor.rows) == (result, cursor.rows)


# suspension


def test_a_wait_of_the_whole_flow_can_be_gone_on_with() -> None:
    async def program() -> Any:
        return await step("a", 1)

    cursor, loop = suspended(program)
    assert loop.is_resumable
    assert not loop.is_running()
    cursor.closed = None
    cursor.rows.append(cursor.port.answer())  # type: ignore[attr-defined]
    assert loop.go_on() == 1
    with pytest.raises(RuntimeError, match="replay it in a new loop"):
        loop.go_on()


def test_a_suspension_swallowed_inside_a_task_ends_the_turn() -> None:
    seen = []

    async def swallowing() -> None:
        try:
            plain_call("a")
        except BaseException as error:
            seen.append(type(error))

    async def program() -> Any:
        task = asyncio.create_task(swallowing())
        await task
        seen.append("went on")

    cursor, loop = suspended(program)
    assert not loop.is_resumable
    loop.close()
    assert seen == [Suspended]
    assert asked(cursor.rows) == ["a"]


def test_a_suspension_in_a_task_that_nobody_awaits_ends_the_turn(caplog: pytest.LogCaptureFixture) -> None:
    async def blocking() -> None:
        plain_call("a")

    async def program() -> Any:
        later = step("later")
        task = asyncio.create_task(blocking())
        await asyncio.sleep(0)
        await later
        return task

    cursor, loop = suspended(program)
    loop.close()
    del loop
    gc.collect()
    assert asked(cursor.rows) == ["a"]
    assert caplog.text == ""


def test_a_mismatch_inside_a_task_ends_the_turn_whatever_the_task_does() -> None:
    async def asking() -> None:
        with suppress(BaseException):
            await step("b")

    async def program() -> Any:
        await asyncio.gather(asking(), asking(), return_exceptions=True)

    rows = [STARTED, Row(2, "step", None, "a", step_ask("a").data, 101.0), Row(3, "fired", 2, None, b"{}", 102.0)]
    loop = FlowLoop(Cursor(rows, Replayer()))
    with pytest.raises(Mismatch, match="`a`, the code asks for `b`"):
        loop.run(program())
    loop.close()


def test_a_mismatch_at_a_wait_names_the_line_that_waits() -> None:
    async def program() -> Any:
        await asyncio.sleep(5)  # here

    rows = [STARTED, Row(2, "timer", None, None, b'{"due":105.0}', 101.0), Row(3, "step", None, "a", b"{}", 102.0)]
    loop = FlowLoop(Cursor(rows, Replayer()))
    with pytest.raises(Mismatch) as caught:
        loop.run(program())
    loop.close()
    assert caught.value.line.endswith("`await asyncio.sleep(5)  # here`")


def test_a_mismatch_of_a_timer_names_the_line_of_the_flow_and_not_asyncios() -> None:
    async def program() -> Any:
        await asyncio.sleep(5)  # here

    loop = FlowLoop(Cursor([STARTED, Row(2, "step", None, "a", b"{}", 102.0)], Replayer()))
    with pytest.raises(Mismatch) as caught:
        loop.run(program())
    loop.close()
    assert caught.value.line.endswith("`await asyncio.sleep(5)  # here`")


def test_what_is_waited_for_is_named_to_the_port() -> None:
    named = []

    class Asking(Script):
        def exchange(self, asks: Any, wait: Any, open: Any) -> Any:
            if wait is not None:
                named.append([ticket.ask.name or ticket.ask.kind for ticket in wait.tickets])
            return super().exchange(asks, wait, open)

    async def program() -> Any:
        async with asyncio.timeout(5):
            await asyncio.gather(step("a"), step("b"))

    go(program, Cursor([STARTED], Asking([STARTED])))
    assert named == [["timer", "a", "b"], ["timer", "b"]]


# the end


def test_the_exception_of_the_flow_is_raised() -> None:
    async def program() -> Any:
        await step("a")
        raise LookupError("nothing there")

    assert story_of(program)[0] == "LookupError: nothing there"


def test_a_flow_that_cancels_itself_raises_asyncios_error() -> None:
    async def program() -> Any:
        asyncio.current_task().cancel("myself")  # type: ignore[union-attr]
        await step("a")

    loop = FlowLoop(Cursor([STARTED], Script([STARTED])))
    with pytest.raises(asyncio.CancelledError, match="myself"):
        loop.run(program())


def test_an_interrupt_in_the_code_passes_and_the_rest_is_put_away() -> None:
    async def program() -> Any:
        beside = asyncio.create_task(step("beside"))
        await step("a")
        raise KeyboardInterrupt
        await beside

    cursor = Cursor([STARTED], Script([STARTED], {"beside": 9.0}))
    loop = FlowLoop(cursor)
    with pytest.raises(KeyboardInterrupt):
        loop.run(program())
    assert asyncio._get_running_loop() is None
    loop.close()
    assert asked(cursor.rows) == ["a", "beside"]


# cancellation


def cancelled_after(program: Program, count: int) -> tuple[Any, list[Row]]:
    """Run live, with a cancellation in the place of the count-th answer; then replay it, and compare."""

    class Cancelling(Script):
        left = count

        def answer(self) -> Row:
            self.left -= 1
            return self.cancel() if self.left == 0 else super().answer()

    def outcome(cursor: Cursor) -> Any:
        loop = FlowLoop(cursor)
        try:
            return loop.run(program())
        except Cancelled as cancelled:
            return f"cancelled: {cancelled}"
        finally:
            loop.close()

    cursor = Cursor([STARTED], Cancelling([STARTED]))
    result = outcome(cursor)
    cursor.finish()
    for length in range(next(row.seq for row in cursor.rows if row.kind == "cancelling"), len(cursor.rows) + 1):
        again = Cursor(cursor.rows[:length], Script(cursor.rows[:length]))
        assert outcome(again) == result
        again.finish()
        assert told(again.rows) == told(cursor.rows)
    return result, cursor.rows


def test_a_cancelled_run_is_cancelled_where_it_waits_and_may_clean_up() -> None:
    async def work(name: str) -> None:
        try:
            await step(name)
        finally:
            await step(f"undo {name}")

    async def program() -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("a"))
            group.create_task(work("b"))

    result, rows = cancelled_after(program, 1)
    assert result == "cancelled: enough"
    assert asked(rows) == ["a", "b", "undo a", "undo b"]
    assert dropped(rows) == ["a", "b"]


def test_a_cancelled_run_may_return() -> None:
    async def program() -> Any:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError as cancelled:
            return [str(cancelled), await step("undo", 1)]

    result, rows = cancelled_after(program, 1)
    assert result == ["enough", 1]
    assert dropped(rows) == ["timer"]


def test_a_cancelled_run_that_blocks_in_a_task_is_cancelled_as_a_whole() -> None:
    async def blocking() -> None:
        try:
            plain_call("a")
        finally:
            await step("undo a")

    async def program() -> Any:
        try:
            await asyncio.gather(blocking(), step("b"))
        finally:
            await step("undo")

    result, rows = cancelled_after(program, 1)
    assert result == "cancelled: enough"
    assert sorted(asked(rows)) == ["a", "b", "undo", "undo a"] or sorted(asked(rows)) == ["a", "undo", "undo a"]


def test_a_cancelled_run_that_blocks_in_its_main_task_is_cancelled_once() -> None:
    async def program() -> Any:
        try:
            plain_call("a")
        finally:
            await step("undo")
            await step("undo more")

    result, rows = cancelled_after(program, 1)
    assert result == "cancelled: enough"
    assert asked(rows) == ["a", "undo", "undo more"]


def test_giving_up_is_told_once() -> None:
    told_of: list[str] = []

    async def program() -> Any:
        loop = asyncio.get_running_loop()
        waiter = loop.waiter(lambda: told_of.append("given up"))  # type: ignore[attr-defined]
        waiter.cancel()
        waiter.cancel()
        waiter.settle()
        settled = loop.waiter(lambda: told_of.append("never"))  # type: ignore[attr-defined]
        settled.settle()
        settled.settle()
        settled.cancel()
        return await settled

    assert live(program)[0] is None
    assert told_of == ["given up"]
