"""What an async flow may not do, and what it is told to do instead."""

import asyncio
import concurrent.futures
import gc
import warnings
from typing import Any

import pytest

from durable_nb.engine.cursor import Cursor
from durable_nb.engine.loop import FlowLoop
from durable_nb.errors import NotInFlow
from tests.engine.scripted import (
    STARTED,
    Program,
    Script,
    live,
    step,
)


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
    with pytest.raises(
        NotInFlow, match=r"test_loop_refusals.py, line \d+: `.*asyncio\..*do it in a step \(`@step"
    ) as caught:
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
    assert result.startswith("NotInFlow: make tasks first, at test_loop_refusals.py, line ")


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
            assert result.startswith(
                "NotInFlow: the flow awaits what belongs to another event loop, at test_loop_refusals.py"
            )
            assert "`await other.create_future()`; do it in a step" in result
    finally:
        other.close()


def test_an_awaitable_of_another_library_is_refused() -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "a trap of another library"

    async def program() -> Any:
        await Foreign()

    assert live(program)[0].startswith(
        "NotInFlow: the flow awaits what belongs to another event loop, at test_loop_refusals.py"
    )


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
