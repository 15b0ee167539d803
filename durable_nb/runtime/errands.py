"""Steps away from their flow's thread: one attempt, bounded as its options say, and what came of it."""

import contextvars
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import msgspec

from durable_nb.durations import spoken
from durable_nb.engine.turn import place
from durable_nb.errors import Corrupt, DurableError, LogClosed, LogError, StepFailed, StepTimeout, UnknownCode
from durable_nb.flows.place import Recall, StepPlace
from durable_nb.flows.policy import StepOptions, next_attempt_at
from durable_nb.flows.step import Step
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import asks
from durable_nb.history.values import Value
from durable_nb.runtime.isolate import run_isolated
from durable_nb.runtime.options import CRASHES
from durable_nb.runtime.output import Sink, background, position, show_rest
from durable_nb.runtime.shared import Shared
from durable_nb.stores.shapes import Mail, NewMail, RunRecord, WorkRecord

if TYPE_CHECKING:
    from durable_nb.runtime.loop import LoopThread

_logger = logging.getLogger("durable_nb.steps")


_UNKNOWN_WAITS = (
    1.0,
    2.0,
    4.0,
    8.0,
    15.0,
    30.0,
    60.0,
)  # seconds until work is looked at again whose step is not known here


class Job:
    """One attempt of a step, ready to run."""

    __slots__ = ("args", "here", "is_unwanted", "kwargs", "output_lock", "record", "row", "step", "work")

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
        self.is_unwanted = False
        self.output_lock = threading.Lock()

    def tell(self) -> None:
        """Nobody waits for it any more: its body is told, and does not begin if it has not."""
        self.is_unwanted = True
        if self.here is not None:
            self.here.stop.is_set = True


class Errands:
    """Runs jobs on the calling thread, or on whatever their options ask for."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._lock = threading.Lock()
        self._unknown: dict[tuple[int, int], int] = {}  # how often we came to work whose step we do not know
        self._is_stopped = False
        self._loop: LoopThread | None = None  # for async steps, from the first one on

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._loop is not None:
                self._loop.stop()

    def job_of(self, work: WorkRecord) -> Job | None:
        """What is needed to run claimed work. A step that cannot be run here, or kills whoever runs it, answers with that."""
        shared = self._shared
        record = shared.store.run_by_key(work.run)
        rows = shared.store.history(work.run, work.ask - 1) if record is not None else []
        row = next((row for row in rows if row.seq == work.ask), None)
        if record is None or row is None:
            self._leave(work)
            return None
        nothing: Step[..., Any] = Step(_never, work.name, StepOptions())
        job = Job(record, row, work, nothing, (), {})
        if work.crashes >= CRASHES:
            self._finish(job, "crashed", b"{}")  # parks the run
            return None
        try:
            job.step = step = shared.definitions.step_of(work.name, work.data, record).on_own_object()
            asked = wire.event_of(row)  # Corrupt, which is an answer; another error would end this thread
            if not isinstance(asked, e.StepAsked):
                raise Corrupt(f"event {row.seq} is no step any more, but {row.kind}")
            named = shared.values.take_arguments(asked.arguments, record.uid, row.seq, row.kind, f"step `{work.name}`")
            job.args, job.kwargs = step.arguments.call_form(named)
        except UnknownCode as error:
            self._pass_on(job, error)
            return None
        except DurableError as error:
            if isinstance(error, LogError) and not isinstance(error, Corrupt):
                raise  # says nothing about the step
            job.step = nothing
            if self._begin(job):
                self._settle(job, error, is_final=True)
            else:
                self._leave(work)
            return None
        return job

    def _pass_on(self, job: Job, error: UnknownCode) -> None:
        """What is unknown here may be known elsewhere, or soon: free it, and come back to it later and later."""
        work, shared = job.work, self._shared
        tries = self._unknown[work.run, work.ask] = self._unknown.get((work.run, work.ask), 0) + 1
        wait = _UNKNOWN_WAITS[min(tries, len(_UNKNOWN_WAITS)) - 1]
        _logger.warning("step %r of run %r does not begin here: %s", work.name, job.record.id, error)
        if shared.store.postpone_work(work, shared.now() + wait, self._untold(work), shared.now()):
            shared.on_due(shared.now() + wait)

    def perform(self, job: Job) -> None:
        """Run the attempt and record what came of it."""
        record, shared = job.record, self._shared
        ask, attempt = job.work.ask, job.work.attempt + (not job.work.is_open)
        here = StepPlace(record.id, record.uid, record.execution, ask, job.step.name, attempt, self._recall(record.key))
        here.sink = Sink(shared.now, background())
        job.here = here
        if job.step.is_async and not job.step.options_.isolate:
            self._begin_loop()
        if job.is_unwanted or not self._begin(job):
            self._leave(job.work)
            _logger.info("attempt %d of step %r of run %r is not ours to begin", attempt, job.step.name, record.id)
            return
        try:
            value = self._bounded(job, here)
        except BaseException as error:  # noqa: BLE001 - whatever a body raises is an outcome
            self.write_output(job)
            if self._shared.is_stopping and isinstance(error, CancelledError):
                return  # by us, not by the body: the attempt is given back
            self._settle(job, error)
        else:
            self.write_output(job)
            self._settle_value(job, value)
        show_rest(here.sink)

    def write_output(self, job: Job) -> None:
        """Write what the attempt has printed and told since the last time.

        It is in the log before the outcome is: the next attempt, perhaps of another process, asks how far this one came.
        """
        here = job.here
        if here is None:
            return
        with job.output_lock:  # the thread that writes output now and then may hold a piece in its hands
            pieces = here.sink.take()
            if not pieces:
                return
            try:
                self._shared.store.put_output(job.record.key, pieces)
            except LogClosed:
                raise
            except LogError as error:  # the outcome counts for more than what was printed
                _logger.warning(
                    "the output of step %r of run %r was not written: %s", job.step.name, job.record.id, error
                )

    def _begin(self, job: Job) -> bool:
        """Last before the body: an attempt that died before this has no number, and is no crash of its step."""
        if job.work.is_open:
            return True
        begun = self._shared.store.begin_work(job.work, self._shared.now(), self._begun)
        job.work = begun or job.work
        return begun is not None

    def _leave(self, work: WorkRecord) -> None:
        """It does not begin: what it was let into is free for others."""
        if work.queue or work.session:
            self._shared.store.leave_queue(work, self._shared.now())

    def _begun(self, work: WorkRecord) -> NewMail:
        event = e.AttemptStarted(seq=0, at=0, ref=work.ask, attempt=work.attempt)
        data = wire.row_of(event).data
        return NewMail("attempt", work.ask, work.attempt, None, None, data, self._shared.label, False)

    def _untold(self, work: WorkRecord) -> list[NewMail]:
        """What goes before a failure, or it would belong to no attempt and the budget would not count it."""
        return [self._begun(work)] if work.told < work.attempt else []

    def _recall(self, run: int) -> Recall:
        return lambda ask: position(self._shared.store.output(run), ask)

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

    def _begin_loop(self) -> "LoopThread":
        """Make ready for async steps: not within an attempt, which is to be open no longer than its body takes."""
        from durable_nb.runtime import loop  # noqa: PLC0415 - asyncio is 20 ms of import that plain steps never need

        with self._lock:
            if self._is_stopped:
                raise LogClosed  # a loop that is begun now would be stopped by nobody
            if self._loop is None:
                self._loop = loop.LoopThread()
            return self._loop

    def _on_loop(self, job: Job, here: StepPlace, timeout: float | None) -> Any:
        from durable_nb.runtime import loop  # noqa: PLC0415

        async def body() -> Any:
            place.set(here)
            return await job.step.perform(job.args, job.kwargs)

        try:
            return self._begin_loop().run(body(), timeout)
        except loop.TookTooLong:
            here.stop.is_set = True
            raise _too_long(job, timeout or 0.0) from None

    def _settle_value(self, job: Job, value: Any) -> None:
        values = self._shared.values
        what = f"the result of step `{job.step.name}`"
        try:
            kept = values.keep(value, what, job.step.options_.codec)
        except DurableError as error:
            self._settle(job, error, is_final=True)
            return
        self._finish(job, "returned", wire.encode_value(self._signed(job, kept, "returned")))

    def _settle(self, job: Job, error: BaseException, is_final: bool = False) -> None:
        shared, work = self._shared, job.work
        if isinstance(
            error, KeyboardInterrupt
        ):  # nobody's Ctrl-C reaches this thread; in a replay it would look like one
            error = StepFailed("the step raised KeyboardInterrupt")
        failure = shared.values.failure(error)
        now = shared.now()
        retry = job.step.options_.retry
        at = None
        if not is_final and retry.max_attempts > 1:
            at = next_attempt_at(retry, error, self._failed_so_far(job) + 1, job.row.at, now, random.random)
        if at is None:
            if failure.error is not None:
                failure = msgspec.structs.replace(failure, error=self._signed(job, failure.error, "raised"))
            self._finish(job, "raised", wire.encode_failure(failure))
            return
        if failure.error is not None:
            failure = msgspec.structs.replace(failure, error=self._signed(job, failure.error, "attempt_failed"))
        event = e.AttemptFailed(seq=0, at=now, ref=work.ask, attempt=work.attempt, failure=failure, retry_at=at)
        mail = NewMail(
            "attempt_failed", work.ask, work.attempt, None, None, wire.row_of(event).data, shared.label, False
        )
        if shared.store.postpone_work(work, at, [*self._untold(work), mail], now):
            shared.on_due(at)

    def _signed(self, job: Job, value: Value, kind: str) -> Value:
        return self._shared.values.mark(value, job.record.uid, -job.work.ask, kind)

    def _finish(self, job: Job, kind: str, data: bytes) -> None:
        shared, work = self._shared, job.work
        before = self._untold(work) if kind == "raised" else []
        is_quiet = kind == "returned" and work.told < work.attempt  # of others the inbox has something to tell first
        if is_quiet and not work.queue and not work.session:  # whose places the store gives back
            answer = Mail(0, kind, work.ask, work.attempt, None, None, data, shared.label, shared.now())
            if shared.deliver(work.run, answer):
                return
        mail = NewMail(kind, work.ask, work.attempt, None, None, data, shared.label, True)
        self._put(work, [*before, mail])

    def post(self, record: RunRecord, answer: Mail) -> None:
        """Put an answer into the inbox that could not be handed over."""
        shared, ask, attempt = self._shared, answer.ask or 0, answer.attempt or 1
        work = WorkRecord(record.key, ask, "", b"", attempt, 0, answer.sent_at, shared.owner, attempt - 1, True)
        self._put(work, [NewMail(answer.kind, ask, attempt, None, None, answer.value, shared.label, True)])

    def _put(self, work: WorkRecord, mails: list[NewMail]) -> None:
        shared = self._shared
        if shared.store.finish_work(work, mails, shared.now()):
            shared.on_mail(work.run)
        else:
            record = shared.store.run_by_key(work.run)
            is_over = record is None or record.ended_at is not None  # a flow need not wait for what it began
            level = logging.INFO if is_over else logging.WARNING
            _logger.log(level, "the late answer of a step (event %d) of run %d was refused", work.ask, work.run)

    def _failed_so_far(self, job: Job) -> int:
        """Failed attempts that count: those in the log since a person last looked, and those still on their way to it."""
        run, ask = job.work.run, job.work.ask
        # The inbox first: what is admitted between the two looks is seen twice then, never missed.
        coming = {
            mail.attempt for mail in self._shared.store.mail(run) if mail.ask == ask and mail.kind == "attempt_failed"
        }
        rows = [
            row
            for row in self._shared.store.history(run, ask - 1)
            if row.seq == ask or row.ref == ask or row.kind in _LOOKS
        ]
        logged = {one.number for one in asks(rows)[ask].attempts if one.failure is not None and not one.is_past}
        return len(coming | logged)


_LOOKS = ("retried", "resumed")


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
