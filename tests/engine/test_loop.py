"""The loop of async flows itself: numbers, suspension, cancellation, refusals, eviction, threads that have a loop."""

import asyncio
import concurrent.futures
import gc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from durable_nb.engine.cursor import Cursor, Suspended
from durable_nb.engine.loop import FlowLoop
from durable_nb.engine.mismatch import Mismatch
from durable_nb.engine.replayer import Replayer
from durable_nb.errors import Cancelled, NotInFlow
from durable_nb.history.events import Row
from tests.engine.scripted import (
    STARTED,
    Program,
    Script,
    Step,
    asked,
    dropped,
    evict,
    go,
    live,
    plain_call,
    step,
    step_ask,
    story_of,
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


def suspended(program: Program, rows: Sequence[Row] = (STARTED,)) -> tuple[Cursor, FlowLoop]:
    cursor = Cursor(list(rows), Script(list(rows), is_patient=False))
    result, loop = go(program, cursor)
    assert result == "waits"
    return cursor, loop


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


# refusals


async def _nothing() -> None:
    pass


async def in_a_thread() -> None:
    await asyncio.to_thread(print)


async def in_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


async def connecting() -> None:
    await asyncio.open_connection("localhost", 80)


async def listening() -> None:
    await asyncio.start_server(print, "localhost", 80)


async def another_process() -> None:
    await asyncio.create_subprocess_exec("true")


async def from_a_thread() -> None:
    asyncio.get_running_loop().call_soon_threadsafe(print)


async def a_signal() -> None:
    asyncio.get_running_loop().add_signal_handler(2, print)


async def a_future_of_a_thread() -> None:
    await asyncio.wrap_future(concurrent.futures.Future())


@pytest.mark.parametrize(
    "program",
    [
        in_a_thread,
        in_an_executor,
        connecting,
        listening,
        another_process,
        from_a_thread,
        a_signal,
        a_future_of_a_thread,
    ],
)
def test_reaching_outside_is_refused_with_the_line_and_what_to_do(program: Program) -> None:
    loop = FlowLoop(Cursor([STARTED], Script([STARTED])))
    with pytest.raises(NotInFlow, match=r"test_loop.py, line \d+: `.*asyncio\..*do it in a step \(`@step") as caught:
        loop.run(program())
    assert str(caught.value).count("\n") == 0


async def run_again() -> None:
    asyncio.get_running_loop().run_until_complete(_nothing())


async def run_for_ever() -> None:
    asyncio.get_running_loop().run_forever()


async def stop() -> None:
    asyncio.get_running_loop().stop()


@pytest.mark.parametrize("program", [run_again, run_for_ever, stop])
def test_running_the_loop_is_refused(program: Program) -> None:
    assert "`await` it" in live(program)[0]


def test_closing_the_loop_from_the_flow_is_refused() -> None:
    async def program() -> None:
        asyncio.get_running_loop().close()

    assert "cannot close its own loop" in live(program)[0]


def test_everything_of_an_event_loop_is_there_or_refused() -> None:
    own = vars(FlowLoop)
    assert [name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("__") and name not in own] == []


def test_bare_coroutines_in_as_completed_are_refused() -> None:
    async def program() -> Any:
        return [await one for one in asyncio.as_completed([step("a"), step("b")])]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other coroutine is asyncio's to close
        result, _ = live(program)
        gc.collect()
    assert result.startswith("NotInFlow: make tasks first, at test_loop.py, line ")


def test_bare_coroutines_in_wait_are_refused_by_asyncio() -> None:
    async def program() -> Any:
        one = step("a")
        try:
            await asyncio.wait([one])
        finally:
            one.close()

    assert live(program)[0].startswith("TypeError: ")


def test_a_future_of_another_loop_is_refused() -> None:
    other = asyncio.new_event_loop()

    async def program() -> Any:
        await other.create_future()

    async def in_a_group() -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(program())

    try:
        for one in (program, in_a_group):
            result, _ = live(one)
            assert result.startswith("NotInFlow: the flow awaits what belongs to another event loop, at test_loop.py")
            assert "`await other.create_future()`; do it in a step" in result
    finally:
        other.close()


def test_an_awaitable_of_another_library_is_refused() -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "a trap of another library"

    async def program() -> Any:
        await Foreign()

    assert live(program)[0].startswith("NotInFlow: the flow awaits what belongs to another event loop, at test_loop.py")


def test_an_error_of_the_flow_is_not_taken_for_a_foreign_future() -> None:
    async def program() -> Any:
        raise RuntimeError("mine")

    assert live(program)[0] == "RuntimeError: mine"


def test_a_task_without_a_number_is_refused() -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options))
        await asyncio.create_task(_nothing())

    assert "a task factory of a flow must make tasks of `type(asyncio.current_task())`" in live(program)[0]


# errors that nobody takes


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


# eviction


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


# threads


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
