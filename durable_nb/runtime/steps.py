"""Threads for steps that run elsewhere than on the flow's thread: spawned, async, bounded in time, isolated."""

import logging
import threading
import time
from collections import deque

from durable_nb.errors import LogClosed, LogError
from durable_nb.flows.step import Use
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row
from durable_nb.runtime.errands import Errands, Job
from durable_nb.runtime.shared import Shared
from durable_nb.stores.protocol import NewWork, RunRecord, WorkRecord

_logger = logging.getLogger("durable_nb.steps")


class Workers:
    """A bounded pool of daemon threads. A thread whose step overstays its time is abandoned and replaced."""

    def __init__(self, shared: Shared, limit: int) -> None:
        self._shared = shared
        self._errands = Errands(shared)
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._threads = 0
        self._idle = 0
        self._running: dict[tuple[int, int], Job] = {}
        self._stranded: dict[tuple[int, int], WorkRecord] = {}
        self._is_stopping = False
        self._is_dirty = False

    def new_work(self, seq: int, ask: Ask) -> NewWork:
        """The work row of a step that was just asked: ours at once, unless it has to wait."""
        delay = ask.body.step.options_.delay
        due = self._shared.now() + delay if delay else None
        owner = self._shared.owner if due is None and self._limit else None
        return NewWork(seq, ask.body.step.name, b"{}", due, owner)

    def submit(self, record: RunRecord, row: Row, ask: Ask) -> None:
        """Run the first attempt of a step whose row was just committed as ours."""
        use: Use = ask.body
        if use.step.options_.delay or not self._limit:
            self._shared.on_due(self._shared.now() + use.step.options_.delay)
            return
        now = self._shared.now()
        work = WorkRecord(record.key, row.seq, use.step.name, b"", 1, 0, now, self._shared.owner, 0, True)
        self._queue(Job(record, row, work, use.step, use.args, use.kwargs))

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
        for work in self._claimed(1):
            try:
                job = self._errands.job_of(work)
                if job is not None:
                    self._errands.perform(job)
            except Exception:
                self._strand(work)
                raise
            return True
        return False

    def give_back(self) -> bool:
        """Give back what could not be begun, or not be recorded; True when any was."""
        given = [key for key, work in list(self._stranded.items()) if self._shared.store.give_back_work(work)]
        for key in given:
            self._stranded.pop(key, None)
        return bool(given)

    def _strand(self, work: WorkRecord) -> None:
        """Nothing was heard of this attempt: it is given back as soon as the log can be written again."""
        self._stranded[work.run, work.ask] = work

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
        self._errands.stop()

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
            self._errands.perform(job)
        except LogClosed:
            _logger.info("step %r of run %r ended after the log was closed", job.step.name, job.record.id)
        except Exception:
            _logger.exception("step %r of run %r was not recorded; it is tried again", job.step.name, job.record.id)
            self._strand(job.work)
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
            try:
                self._claim()
            except LogClosed:
                return None
            except LogError as error:
                _logger.warning("no step could be claimed, it is tried again in a second: %s", error)
                self._shared.on_due(self._shared.now() + 1.0)

    def _claim(self) -> None:
        claimed = self._claimed(self._limit)
        if len(claimed) == self._limit:
            self._is_dirty = True  # there may be more
        for work in claimed:
            try:
                job = self._errands.job_of(work)
            except LogClosed:
                raise
            except Exception:
                _logger.exception("step %r could not be made ready; it is tried again", work.name)
                self._strand(work)
                continue
            if job is not None:
                self._queue(job)

    def _claimed(self, limit: int) -> list[WorkRecord]:
        return self._shared.store.claim_work(self._shared.owner, self._shared.now(), limit)

    def flush_output(self) -> None:
        """Write what the running attempts have printed and told since the last time."""
        for job in list(self._running.values()):
            self._errands.write_output(job)
