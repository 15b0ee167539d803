"""The event loop of async flows: asyncio unchanged on top, one history below.

It runs what is ready until nothing is, then lets the cursor reveal rows until something is ready again. So what the code
asks depends on the log alone, never on a clock, an address or a thread. Timers are asks. Whatever would reach outside
(sockets, threads, processes, signals) is refused with the line that wanted it.
"""

import asyncio
import contextvars
import math
import sys
from asyncio import futures
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from durable_nb.engine.cursor import Cursor, Suspended
from durable_nb.engine.mismatch import Mismatch
from durable_nb.engine.refusals import IN_A_STEP, close_all, refuse_bare, refuse_foreign, refuse_the_rest
from durable_nb.engine.tasks import (
    Around,
    FlowFuture,
    FlowTask,
    Generators,
    Timer,
    Waiter,
    change,
    close_quietly,
    close_unstarted,
)
from durable_nb.errors import Cancelled, NotInFlow
from durable_nb.history import calls
from durable_nb.where import awaiting_line, calling_line

_Base: Any = asyncio.AbstractEventLoop  # Any: what is missing here is refused by refusals.py


class FlowLoop(_Base):  # type: ignore[misc]
    """Runs one async flow against its cursor. Call `close()` when it is not kept."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.is_resumable = False  # the flow waits as a whole, and `go_on` may be called
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: dict[FlowTask, None] = {}  # that are not done, in the order of their creation
        self._tasks_made = 0
        self._futures_made = 0
        self._main: FlowTask | None = None
        self._phases: Iterator[Iterable[FlowTask]] = iter(())
        self._left = 0  # tasks that the present phase waits for
        self._generators = Generators()
        self._outside: Around | None = None  # what the thread had before the present burst
        self._is_closed = False
        self._debug = False
        self._factory: Any = None
        self._exception_handler: Any = None
        self._current_handle = None  # read by BaseEventLoop.default_exception_handler

    # the turn

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run the flow to its end: its value, or its exception. Suspended when it waits; then `go_on` or `close`."""
        assert self._main is None, "a loop runs one flow"
        self._main = self.create_task(coroutine)
        self._phases = self._life(self._main)
        return self._go_on()

    def go_on(self) -> Any:
        """Go on after a suspension, with more rows in the cursor."""
        if not self.is_resumable:
            raise RuntimeError("the code of this flow is unwound; replay it in a new loop")
        self.is_resumable = False
        return self._go_on()

    def waiter(self, give_up: Callable[[], None]) -> Waiter:
        """What a task awaits while an ask is open; `give_up` is called when the task is cancelled meanwhile."""
        self._refuse_if_closed()
        return Waiter(loop=self, give_up=give_up)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """For a blocking call in the middle of a task: its step may run here, and finds the thread as it was before.

        A run that is cancelled at such a call is cancelled as a whole.
        """
        assert self._outside is not None
        mine = change(self._outside)
        try:
            yield
        except Cancelled as cancelled:
            if mine.task is not self._main:
                self._cancel(cancelled)
            raise asyncio.CancelledError(*cancelled.args) from cancelled
        except Suspended:
            close_unstarted(sys._getframe(1), FlowLoop._burst.__code__)
            raise
        finally:
            change(mine)

    def close(self) -> None:
        """Put the flow away: every coroutine is closed in the order of creation, quietly. A no-op when it has ended."""
        if self._outside is not None:
            raise NotInFlow(f"a flow cannot close its own loop, at {calling_line()}; return instead")
        if self._is_closed:
            return
        self._is_closed = True
        self.is_resumable = False
        pending = [task for task in self._tasks if not task.done()]
        if pending and self.cursor.closed is None:
            self.cursor.closed = Suspended()  # what they still ask while they are unwound must not be sent
        for task in pending:
            close_quietly(task, Around(self, task, self._generators.hooks))
        self._generators.forget()
        self._tasks.clear()
        self._ready.clear()

    def _life(self, main: FlowTask) -> Iterator[Iterable[FlowTask]]:
        """The tasks to wait for, phase by phase, as asyncio.run has them."""
        yield (main,)
        while True:
            others = [task for task in self._tasks if not task.done()]
            for task in others:
                task.cancel()
            if others:
                yield others
            elif self._generators:
                yield (self.create_task(self.shutdown_asyncgens(), context=main.context),)
            else:
                return

    def _go_on(self) -> Any:
        while True:
            while self._left:
                self._burst()
                if self._left:
                    self._wait()
            phase = next(self._phases, None)
            if phase is None:
                return self._outcome()
            for task in phase:
                self._left += 1
                task.add_done_callback(self._one_less)

    def _one_less(self, _: Any) -> None:
        self._left -= 1

    def _burst(self) -> None:
        """Run what is ready until nothing is, or the phase is over."""
        cursor, ready = self.cursor, self._ready
        handle: asyncio.Handle | None = None
        self._outside = change(Around(self, None, self._generators.hooks))
        try:
            while ready and self._left:
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
                    if cursor.closed is not None:
                        raise cursor.closed  # asyncio has put it into the task that met it, and would go on
        finally:
            change(self._outside)
            self._outside = None
            del handle  # a traceback in a task holds this frame, and the handle holds that task

    def _wait(self) -> None:
        """Reveal rows until something is ready."""
        cursor, ready = self.cursor, self._ready
        tickets = [*cursor.open.values(), *(ticket for ticket in cursor.unsent if ticket.ask.kind != "drop")]
        try:
            cursor.wait(lambda: bool(ready), tickets)
        except Cancelled as cancelled:
            self._cancel(cancelled)
        except Suspended:
            self.is_resumable = True
            raise
        except Mismatch as found:
            assert self._main is not None
            found.line = awaiting_line(self._main.get_coro()) or found.line
            raise

    def _cancel(self, cancelled: Cancelled) -> None:
        assert self._main is not None
        self._main.cancel(*cancelled.args)

    def _outcome(self) -> Any:
        assert self._main is not None
        try:
            return self._main.result()
        except asyncio.CancelledError as cancelled:
            if self.cursor.cancelling is None:
                raise
            raise self.cursor.cancelled() from cancelled
        except Exception as error:
            refuse_foreign(error)
            raise

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            close_unstarted(sys._getframe(1))
            raise self.cursor.closed or RuntimeError("the flow has ended")

    # what asyncio calls

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.cursor.at + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if math.isnan(when):
            raise ValueError("a time cannot be NaN")
        self._refuse_if_closed()
        timer = Timer(when, callback, args, self, context)
        timer.ticket = None
        if when <= self.cursor.at:
            self._ready.append(timer)
        elif when != math.inf:
            timer.ticket = self.cursor.begin(calls.Ask("timer", None, calls.encode(calls.TimerCall(when))))
            timer.ticket.listener = partial(self._ready.append, timer)
        return timer

    def _timer_handle_cancelled(self, handle: Timer) -> None:
        if handle.ticket is not None:
            self.cursor.drop(handle.ticket)

    def time(self) -> float:
        """The time of what was revealed last: the same in every replay."""
        return self.cursor.at

    def create_future(self) -> FlowFuture:
        self._refuse_if_closed()
        if sys._getframe(1).f_code is futures.wrap_future.__code__:
            raise NotInFlow(f"a flow cannot await the future of a thread, at {calling_line()}; {IN_A_STEP}")
        self._futures_made += 1
        return FlowFuture(loop=self, number=self._futures_made)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None, **options: Any
    ) -> FlowTask:
        refuse_bare(coro, sys._getframe(1))
        if self._is_closed:
            close_all((coro,))
            self._refuse_if_closed()
        factory = self._factory
        if factory is not None and factory is getattr(asyncio, "eager_task_factory", None):
            options["eager_start"] = True  # asyncio's own factory makes tasks without a number
            factory = None
        if factory is None:
            task = FlowTask(coro, loop=self, name=name, context=context, **options)
        else:
            task = self._made_by(factory, coro, name, {} if context is None else {"context": context})
        if not task.done():
            self._tasks[task] = None
            task.add_done_callback(self._forget)
        return task

    def next_task(self) -> int:
        """The number of the task that is being made."""
        self._tasks_made += 1
        return self._tasks_made

    def _made_by(self, factory: Any, coro: Any, name: str | None, options: dict[str, Any]) -> FlowTask:
        task = factory(self, coro, **options)
        if not isinstance(task, FlowTask):
            task.cancel()
            raise NotInFlow(
                f"a task factory of a flow must make tasks of `type(asyncio.current_task())`, not of "
                f"{type(task).__name__}, at {calling_line()}: they are numbered so that every replay runs them alike"
            )
        if name is not None:
            task.set_name(name)
        return task

    def _forget(self, task: FlowTask) -> None:
        self._tasks.pop(task, None)

    def set_task_factory(self, factory: Any) -> None:
        self._factory = factory

    def get_task_factory(self) -> Any:
        return self._factory

    async def shutdown_asyncgens(self) -> None:
        await self._generators.close(self.call_exception_handler)

    def is_running(self) -> bool:
        return self._outside is not None

    def is_closed(self) -> bool:
        return self._is_closed

    def get_debug(self) -> bool:
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        self._debug = enabled

    set_exception_handler = asyncio.BaseEventLoop.set_exception_handler
    get_exception_handler = asyncio.BaseEventLoop.get_exception_handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log it, unless the turn in which it happened first has done so."""
        if not self.cursor.is_replaying:
            asyncio.BaseEventLoop.default_exception_handler(self, context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.cursor.closed is None and not self._is_closed:  # else it is the suspension, or what it unwinds
            asyncio.BaseEventLoop.call_exception_handler(self, context)


refuse_the_rest(FlowLoop)
