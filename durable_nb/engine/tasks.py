"""What an async flow is made of: tasks and futures ordered by number, durable timers, and the thread around their loop.

asyncio keeps tasks and futures in sets. By address these iterate in another order in every process, and the flow would
ask in another order in every replay; by number they iterate as they did before.
"""

import asyncio
import contextvars
import inspect
import sys
from asyncio import events, tasks
from collections.abc import AsyncGenerator, Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from durable_nb.engine.cursor import Ticket
from durable_nb.where import awaiting_frames

_TRIES = 100


class FlowTask(asyncio.Task[Any]):
    """A task of a flow. Its hash and its default name are its number."""

    def __init__(
        self,
        coroutine: Any,
        *,
        loop: Any,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> None:
        self.number: int = loop.next_task()  # first of all: asyncio puts the task into a set while it is being made
        self.context = context if context is not None else contextvars.copy_context()  # 3.11 does not show its own
        name = name if name is not None else f"Task-{self.number}"
        super().__init__(coroutine, loop=loop, name=name, context=self.context, **options)

    def __hash__(self) -> int:
        return self.number


class FlowFuture(asyncio.Future[Any]):
    """A future of a flow. Its hash is its number."""

    def __init__(self, *, loop: Any, number: int) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class Waiter(asyncio.Future[None]):
    """What a task awaits while an ask is open. Without a number, because a replay may make fewer of them."""

    def __init__(self, *, loop: Any, give_up: Callable[[], None]) -> None:
        super().__init__(loop=loop)
        self._give_up = give_up

    def settle(self) -> None:
        """The answer is there."""
        if not self.done():
            self.set_result(None)

    def cancel(self, msg: Any | None = None) -> bool:
        """The task is being cancelled: the ask is given up."""
        if not super().cancel(msg=msg):
            return False
        self._give_up()
        return True


class Timer(asyncio.TimerHandle):
    """A callback at a time. The ticket is its durable timer; None when it is due at once, or never."""

    __slots__ = ("ticket",)

    ticket: Ticket | None


class Around(NamedTuple):
    """What a thread knows of asyncio: the running loop, its current task, and who hears of async generators."""

    loop: Any
    task: Any
    hooks: Any


def change(to: Around) -> Around:
    """Set these for the present thread, and return what was. A thread may have a running loop already: Jupyter's has."""
    loop = events._get_running_loop()
    task = tasks.current_task(loop) if loop is not None else None
    was = Around(loop, task, sys.get_asyncgen_hooks())
    if task is not None:
        tasks._leave_task(was.loop, task)
    events._set_running_loop(to.loop)
    sys.set_asyncgen_hooks(*to.hooks)
    if to.task is not None:
        tasks._enter_task(to.loop, to.task)
    return was


class Generators:
    """The async generators of a flow in the order of their first step, held until it ends.

    Python closes one that nobody holds when the collector finds it. That is another moment in every replay, and its
    clean-up may ask; so they are held here, and closed in their order at the end.
    """

    def __init__(self) -> None:
        self._held: list[AsyncGenerator[Any, Any]] = []
        self._limit = 64

    def __bool__(self) -> bool:
        return bool(self._held)

    @property
    def hooks(self) -> tuple[Callable[[Any], None], Callable[[Any], None]]:
        return self._hold, _leave_alone

    def _hold(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._held.append(generator)
        if len(self._held) > self._limit:
            self._held = [one for one in self._held if getattr(one, "ag_frame", one) is not None]
            self._limit = 64 + 2 * len(self._held)

    async def close(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """Close them, each after the one before; what fails is told and stops nobody."""
        while self._held:
            generator = self._held.pop(0)
            try:
                await generator.aclose()
            except Exception as error:  # noqa: BLE001 - told
                message = f"an error occurred during closing of asynchronous generator {generator!r}"
                tell({"message": message, "exception": error, "asyncgen": generator})

    def forget(self) -> None:
        self._held.clear()


def _leave_alone(generator: AsyncGenerator[Any, Any]) -> None:
    """The collector has found a generator after its flow was put away: its clean-up belongs to the next replay."""


def close_quietly(task: FlowTask, around: Around) -> None:
    """Unwind a task that will never go on. Its clean-up runs, and what it raises concerns nobody."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    was = change(around)
    try:
        task.context.run(_unwind, task.get_coro())
    finally:
        change(was)


def _unwind(coroutine: Any) -> None:
    for frame in awaiting_frames(coroutine):
        _close_unstarted(frame)
    for _ in range(_TRIES):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # its clean-up awaits something: close that as well
        except BaseException:  # noqa: BLE001 - Suspended by a durable call of the clean-up, or an error of its own
            return
        return


def close_unstarted(frame: FrameType | None, base: CodeType = _unwind.__code__) -> None:
    """Before the code from `base` up to this frame is unwound: see `_close_unstarted`."""
    while frame is not None and frame.f_code is not base:
        _close_unstarted(frame)
        frame = frame.f_back


def _close_unstarted(frame: FrameType) -> None:
    """Close the coroutines that the frame would have awaited later: Python would warn that it never did."""
    for value in list(frame.f_locals.values()):
        held = value.values() if type(value) is dict else value if type(value) in (list, tuple, set) else (value,)
        for one in held:
            if inspect.iscoroutine(one) and inspect.getcoroutinestate(one) == inspect.CORO_CREATED:
                one.close()
