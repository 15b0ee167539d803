"""What an async flow may not do: reach outside its history, or run in an order that no replay can repeat."""

import asyncio
import re
from asyncio import tasks
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn

from durable_nb.errors import NotInFlow
from durable_nb.where import calling_line, failing_line

IN_A_STEP = "do it in a step (`@step async def …` or `@step def …`)"
_AWAIT_IT = "the loop of the flow is running already: `await` it"
_FOREIGN = re.compile(
    r"attached to a different loop|bound to a different event loop|got bad yield|yield was used instead"
)


def refuse_the_rest(loop: type) -> None:
    """Whatever an event loop has and this class does not define: sockets, threads, processes, signals, running it."""
    for name in vars(asyncio.AbstractEventLoop):
        if not name.startswith("_") and name not in vars(loop):
            setattr(loop, name, _refused(name))


def _refused(name: str) -> Callable[..., NoReturn]:
    advice = _AWAIT_IT if name in ("run_forever", "run_until_complete", "stop") else IN_A_STEP

    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        close_all(args)
        raise NotInFlow(f"{name} does not work in a flow, at {calling_line()}; {advice}")

    return refuse


def refuse_bare(coroutine: Any, caller: FrameType) -> None:
    """asyncio.as_completed puts bare coroutines into a set, which has them in another order in every replay."""
    frame: FrameType | None = caller.f_back
    while frame is not None and frame.f_globals is vars(tasks):
        if frame.f_code.co_qualname.startswith(("as_completed", "_AsCompletedIterator")):
            close_all((coroutine,))
            raise NotInFlow(
                f"make tasks first, at {calling_line()}: as_completed(…) takes coroutines in no fixed order; "
                "write as_completed([asyncio.create_task(one) for one in …])"
            )
        frame = frame.f_back


def refuse_foreign(error: BaseException) -> None:
    """asyncio's error for an awaitable of another loop becomes NotInFlow; any other is left alone."""
    foreign = _foreign(error)
    if foreign is not None:
        line = failing_line(foreign.__traceback__)
        raise NotInFlow(f"the flow awaits what belongs to another event loop, at {line}; {IN_A_STEP}") from error


def _foreign(error: BaseException) -> BaseException | None:
    """asyncio's error for an awaitable of another loop, alone or in a group."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _foreign(one)) is not None), None)
    return error if isinstance(error, RuntimeError) and _FOREIGN.search(str(error)) else None


def close_all(values: Iterable[Any]) -> None:
    """Coroutines that are refused, so that nobody is told they were never awaited."""
    for value in values:
        if asyncio.iscoroutine(value):
            value.close()
