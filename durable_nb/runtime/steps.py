"""Steps that run elsewhere than on the flow's thread: spawned, async, bounded in time, isolated; and their further attempts."""

import contextvars
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import msgspec

from durable_nb.durations import spoken
from durable_nb.engine.turn import place
from durable_nb.errors import Corrupt, DurableError, LogClosed, StepFailed, StepTimeout
from durable_nb.flows.place import Recall, StepPlace
from durable_nb.flows.policy import StepOptions, next_attempt_at
from durable_nb.flows.step import Step, Use
from durable_nb.history import events as e, wire
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row
from durable_nb.history.values import Value
from durable_nb.runtime.isolate import run_isolated
from durable_nb.runtime.options import CRASHES
from durable_nb.runtime.output import Sink, background, position, show_rest
from durable_nb.stores.protocol import NewMail, NewWork, RunRecord, WorkRecord

if TYPE_CHECKING:
    from durable_nb.runtime.carry import Carry
    from durable_nb.runtime.loop import LoopThread
    from durable_nb.runtime.runtime import Runtime

_logger = logging.getLogger("durable_nb.steps")


class Job:
    """One attempt of a step, ready to run."""

    __slots__ = ("args", "failed", "here", "kwargs", "record", "row", "step", "work")

    def __init__(
        self, record: RunRecord, row: Row, work: WorkRecord, step: Step[..., Any], args: Any, kwargs: Any
    ) -> None:
        self.record = record
        self.row = row
        self.work = work
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.here: StepPlace | None = None


class Workers:
    """A bounded pool of daemon threads. A thread whose step overstays its time is abandoned and replaced."""

    def __init__(self, runtime: "Runtime", limit: int) -> None:
        self._runtime = runtime
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._threads = 0
        self._idle = 0
        self._running: dict[tuple[int, int], Job] = {}
        self._is_stopping = False
        self._is_dirty = False
        self._loop: LoopThread | None = None  # for async steps, from the first one on

    def new_work(self, seq: int, ask: Ask) -> NewWork:
        """The work row of a step that was just asked: ours at once, unless it has to wait."""
        delay = ask.body.step.options_.delay
        due = self._runtime.now() + delay if delay else None
        owner = self._runtime.owner if due is None and self._limit else None
        return NewWork(seq, ask.body.step.name, b"{}", due, owner)

    def submit(self, carry: "Carry", row: Row, ask: Ask) -> None:
        """Run the first attempt of a step whose row was just committed as ours."""
        use: Use = ask.body
        if use.step.options_.delay or not self._limit:
            self._runtime.note_due(self._runtime.now() + use.step.options_.delay)
            return
        now = self._runtime.now()
        work = WorkRecord(carry.record.key, row.seq, use.step.name, b"", 1, 0, now, self._runtime.owner)
        self._queue(Job(carry.record, row, work, use.step, use.args, use.kwargs))

    def look(self) -> None:
        """There may be free work that is due."""
        with self._lock:
            self._is_dirty = True
            self._wake()

    def is_running(self, run: int, ask: int) -> bool:
        return (run, ask) in self._running

    @property
    def busy(self) -> int:
        return len(self._running)

    def run_one(self) -> bool:
        """Claim and run one due attempt on this thread (tests, no workers); False when there is none."""
        for work in self._runtime.store.claim_work(self._runtime.owner, self._runtime.now(), 1):
            job = self._job(work)
            if job is not None:
                self._perform(job)
            return True
        return False

    def stop(self, deadline: float) -> None:
        """Begin nothing new; tell what runs, and let it end until the (monotonic) deadline."""
        with self._lock:
            self._is_stopping = True
            self._jobs.clear()
            self._news.notify_all()
            for job in self._running.values():
                if job.here is not None:
                    job.here.stop.is_set = True
            while self._threads and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)
        if self._loop is not None:
            self._loop.stop()

    def _queue(self, job: Job) -> None:
        with self._lock:
            self._running[job.work.run, job.work.ask] = job
            self._jobs.append(job)
            self._wake()

    def _wake(self) -> None:
        if self._idle:
            self._news.notify()
        elif self._threads < self._limit and not self._is_stopping:
            self._threads += 1
            name = f"durable-worker-{self._threads}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._work_on(job)
        finally:
            with self._lock:
                self._threads -= 1
                self._news.notify_all()

    def _work_on(self, job: Job) -> None:
        try:
            self._perform(job)
        except LogClosed:
            _logger.info("step %r of run %r ended after the log was closed", job.step.name, job.record.id)
        except Exception:
            _logger.exception("step %r of run %r could not be recorded", job.step.name, job.record.id)
        finally:
            with self._lock:
                self._running.pop((job.work.run, job.work.ask), None)

    def _next(self) -> Job | None:
        while True:
            with self._lock:
                if self._is_stopping:
                    return None
                if self._jobs:
                    return self._jobs.popleft()
                if not self._is_dirty:
                    self._idle += 1
                    self._news.wait()
                    self._idle -= 1
                    continue
                self._is_dirty = False
            claimed = self._runtime.store.claim_work(self._runtime.owner, self._runtime.now(), self._limit)
            if len(claimed) == self._limit:
                self._is_dirty = True  # there may be more
            for work in claimed:
                job = self._job(work)
                if job is not None:
                    self._queue(job)

    def _job(self, work: WorkRecord) -> Job | None:
        """What is needed to run claimed work; a step that cannot be run here answers with why."""
        runtime = self._runtime
        record = runtime.store.run_by_key(work.run)
        if record is None:
            return None
        row = next((row for row in runtime.store.history(work.run, work.ask - 1) if row.seq == work.ask), None)
        if row is None:
            return None
        try:
            step = runtime.definitions.step(work.name)
            asked = wire.event_of(row)  # Corrupt, which is an answer; another error would end this thread
            if not isinstance(asked, e.StepAsked):
                raise Corrupt(f"event {row.seq} is no step any more, but {row.kind}")
            named = runtime.values.take_arguments(asked.arguments, record.uid, row.seq, row.kind, f"step `{work.name}`")
            args, kwargs = step.arguments.call_form(named)
        except DurableError as error:
            self._settle(Job(record, row, work, Step(_never, work.name, StepOptions()), (), {}), error, is_final=True)
            return None
        if work.crashes >= CRASHES:
            sentence = f"step `{work.name}` was begun {work.crashes} times in a row and never ended"
            self._settle(Job(record, row, work, step, args, kwargs), StepFailed(sentence), is_final=True)
            return None
        event = e.AttemptStarted(seq=0, at=0, ref=work.ask, attempt=work.attempt)
        mail = NewMail("attempt", work.ask, work.attempt, None, None, wire.row_of(event).data, runtime.label, False)
        runtime.store.tell(work.run, mail, runtime.now())
        return Job(record, row, work, step, args, kwargs)

    def _perform(self, job: Job) -> None:
        """Run the attempt and record what came of it."""
        record, runtime = job.record, self._runtime
        ask, attempt = job.work.ask, job.work.attempt
        here = StepPlace(record.id, record.uid, record.execution, ask, job.step.name, attempt, self._recall(record.key))
        here.sink = Sink(runtime.now, background())
        job.here = here
        try:
            value = self._bounded(job, here)
        except BaseException as error:  # noqa: BLE001 - whatever a body raises is an outcome
            if self._is_stopping and isinstance(error, CancelledError):
                return  # by us, not by the body: the attempt is given back
            self._settle(job, error)
        else:
            self._settle_value(job, value)
        show_rest(here.sink)
        pieces = here.sink.take()
        if pieces:
            runtime.store.put_output(record.key, pieces)

    def _recall(self, run: int) -> Recall:
        return lambda ask: position(self._runtime.store.output(run), ask)

    def flush_output(self) -> None:
        """Write what the running attempts have printed and told since the last time."""
        for job in list(self._running.values()):
            if job.here is not None:
                pieces = job.here.sink.take()
                if pieces:
                    self._runtime.store.put_output(job.record.key, pieces)

    def _bounded(self, job: Job, here: StepPlace) -> Any:
        options = job.step.options_
        if options.isolate:
            return run_isolated(job.step, job.args, job.kwargs, here, options.timeout)
        if job.step.is_async:
            return self._on_loop(job, here, options.timeout)
        if options.timeout is None:
            token = place.set(here)
            try:
                return job.step.perform(job.args, job.kwargs)
            finally:
                place.reset(token)
        return _on_thread(job, here, options.timeout)

    def _on_loop(self, job: Job, here: StepPlace, timeout: float | None) -> Any:
        from durable_nb.runtime import loop  # noqa: PLC0415 - asyncio is 20 ms of import that plain steps never need

        with self._lock:
            if self._loop is None:
                self._loop = loop.LoopThread()

        async def body() -> Any:
            place.set(here)
            return await job.step.perform(job.args, job.kwargs)

        try:
            return self._loop.run(body(), timeout)
        except loop.TookTooLong:
            here.stop.is_set = True
            raise _too_long(job, timeout or 0.0) from None

    def _settle_value(self, job: Job, value: Any) -> None:
        values = self._runtime.values
        what = f"the result of step `{job.step.name}`"
        try:
            kept = values.keep(value, what, job.step.options_.codec)
        except DurableError as error:
            self._settle(job, error, is_final=True)
            return
        self._finish(job, "returned", wire.encode_value(self._signed(job, kept, "returned")))

    def _settle(self, job: Job, error: BaseException, is_final: bool = False) -> None:
        runtime, work = self._runtime, job.work
        failure = runtime.values.failure(error)
        now = runtime.now()
        retry = job.step.options_.retry
        failed = work.attempt - self._unfailed(job)
        at = None if is_final else next_attempt_at(retry, error, failed, job.row.at, now, random.random)
        if at is None:
            if failure.error is not None:
                failure = msgspec.structs.replace(failure, error=self._signed(job, failure.error, "raised"))
            self._finish(job, "raised", wire.encode_failure(failure))
            return
        if failure.error is not None:
            failure = msgspec.structs.replace(failure, error=self._signed(job, failure.error, "attempt_failed"))
        event = e.AttemptFailed(seq=0, at=now, ref=work.ask, attempt=work.attempt, failure=failure, retry_at=at)
        mail = NewMail(
            "attempt_failed", work.ask, work.attempt, None, None, wire.row_of(event).data, runtime.label, False
        )
        if runtime.store.postpone_work(work, at, mail, now):
            runtime.note_due(at)

    def _unfailed(self, job: Job) -> int:
        """How many earlier attempts crashed, and so do not count."""
        run, ask = job.work.run, job.work.ask
        # The inbox first: what is admitted between the two looks is seen twice then, never missed.
        failed = {
            mail.attempt for mail in self._runtime.store.mail(run) if mail.ask == ask and mail.kind == "attempt_failed"
        }
        for row in self._runtime.store.history(run, ask):
            if row.ref == ask and isinstance(event := wire.event_of(row), e.AttemptFailed):
                failed.add(event.attempt)
        return job.work.attempt - 1 - len(failed)

    def _signed(self, job: Job, value: Value, kind: str) -> Value:
        return self._runtime.values.mark(value, job.record.uid, -job.work.ask, kind)

    def _finish(self, job: Job, kind: str, data: bytes) -> None:
        runtime, work = self._runtime, job.work
        mail = NewMail(kind, work.ask, work.attempt, None, None, data, runtime.label, True)
        if runtime.store.finish_work(work, mail, runtime.now()):
            runtime.has_mail(work.run)
        else:
            record = runtime.store.run_by_key(work.run)
            is_over = record is None or record.ended_at is not None  # a flow need not wait for what it began
            level = logging.INFO if is_over else logging.WARNING
            _logger.log(level, "the late answer of step %r of run %r was refused", job.step.name, job.record.id)


def _on_thread(job: Job, here: StepPlace, timeout: float) -> Any:
    """Run the body on a thread of its own, which is left behind when it takes too long."""
    done: list[Callable[[], Any]] = []

    def body() -> None:
        place.set(here)
        try:
            value = job.step.perform(job.args, job.kwargs)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failure = error
            done.append(lambda: _raise(failure))
        else:
            done.append(lambda: value)

    name = f"durable-step-{job.step.name}-{job.work.ask}"
    thread = threading.Thread(target=contextvars.copy_context().run, args=(body,), name=name, daemon=True)
    thread.start()
    thread.join(timeout)
    if not done:
        here.stop.is_set = True
        raise _too_long(job, timeout, f"; its thread {name!r} is left running, use isolate=True to have it killed")
    return done[0]()


def _raise(error: BaseException) -> Any:
    raise error


def _too_long(job: Job, timeout: float, more: str = "") -> StepTimeout:
    return StepTimeout(f"step `{job.step.name}` took longer than its timeout of {spoken(timeout)}{more}")


def _never() -> None:
    raise AssertionError("a step without a definition is never run")
