"""Threads for steps that run elsewhere than on the flow's thread: spawned, async, bounded in time, isolated."""

import logging
import threading
import time
from collections import deque
from collections.abc import Collection

from durable_nb.errors import LogClosed, LogError
from durable_nb.flows.step import Use
from durable_nb.history.calls import Ask
from durable_nb.history.events import Row
from durable_nb.runtime.errands import Errands, Job
from durable_nb.runtime.shared import Shared
from durable_nb.stores.shapes import Mail, NewWork, RunRecord, WorkRecord

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
        """The work row of a step that was just asked: ours at once, unless it has to wait or somebody decides who does it."""
        use: Use = ask.body
        options = use.step.options_
        if options.queue:
            self._shared.put_queues()
        due = self._shared.now() + options.delay if options.delay else None
        owner = self._shared.owner if due is None and self._limit and not options.is_routed else None
        return NewWork(
            seq, use.step.name, self._shared.definitions.policy(use.step), due, owner, queue=options.queue,
            queue_key=use.queue_key, tag=options.tag, session=options.session, priority=options.priority, dedup=use.dedup,
        )  # fmt: skip

    def submit(self, record: RunRecord, row: Row, ask: Ask) -> None:
        """Run the first attempt of a step whose row was just committed as ours."""
        use: Use = ask.body
        options = use.step.options_
        if options.delay or not self._limit:
            self._shared.on_due(self._shared.now() + options.delay)
            return
        if options.is_routed:
            self.look()
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
        store, now = self._shared.store, self._shared.now()
        given = [key for key, work in list(self._stranded.items()) if store.give_back_work(work, now)]
        for key in given:
            self._stranded.pop(key, None)
        return bool(given)

    def _strand(self, work: WorkRecord) -> None:
        """Nothing was heard of this attempt: it is given back as soon as the log can be written again."""
        self._stranded[work.run, work.ask] = work

    def forget(self, run: int, asks: Collection[int] | None = None) -> None:
        """Nobody waits for these steps of the run any more (None: for none of it): they are told."""
        with self._lock:
            jobs = list(self._running.items())
        for (key, ask), job in jobs:
            if key == run and (asks is None or ask in asks):
                job.tell()

    def heed(self) -> None:
        """Tell the steps whose work is ours no longer: another process has dropped them, or ended their run."""
        with self._lock:
            jobs = [(job, job.work) for job in self._running.values()]
        ours: dict[int, set[tuple[int, int]]] = {}
        for run in {work.run for _, work in jobs}:
            found = self._shared.store.work(run)
            ours[run] = {(one.ask, one.attempt) for one in found if one.owner == self._shared.owner}
        for job, work in jobs:
            numbers = (work.attempt,) if work.is_open else (work.attempt, work.attempt + 1)  # begun since that look
            if not any((work.ask, number) in ours[work.run] for number in numbers):
                job.tell()

    def post(self, record: RunRecord, answers: Collection[Mail]) -> None:
        """Put answers into the inbox that the turn of their run had no use for any more."""
        for answer in answers:
            self._errands.post(record, answer)

    def abandon(self) -> None:
        """Begin nothing new and wait for nobody."""
        with self._lock:
            self._is_stopping = True
            self._jobs.clear()
            self._news.notify_all()
        self._errands.stop()

    def stop(self, deadline: float) -> None:
        """Begin nothing new; tell what runs, and let it end until the (monotonic) deadline."""
        with self._lock:
            self._is_stopping = True
            self._jobs.clear()
            self._news.notify_all()
            for job in self._running.values():
                job.tell()
            while self._threads and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)
        self._errands.stop()

    def _queue(self, job: Job) -> None:
        with self._lock:
            self._running[job.work.run, job.work.ask] = job
            self._jobs.append(job)
            self._wake()

    def _wake(self) -> None:
        self._news.notify()
        # A thread that was told a moment ago still counts as idle: there must be one for each job that waits.
        wanted = len(self._jobs) + self._is_dirty
        if self._idle < wanted and self._threads < self._limit and not self._is_stopping:
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
                self._is_dirty = self._is_dirty or bool(job.work.queue or job.work.session)  # others may begin now

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
        room = max(1, self._limit - len(self._running))  # what has to wait here could begin in another process
        claimed = self._claimed(room)
        if len(claimed) == room:
            self._is_dirty = True  # there may be more
        elif not claimed or any(work.queue for work in claimed):
            self._shared.note_due()
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
        shared = self._shared
        shared.put_queues()
        if shared.is_held:
            return []
        return shared.store.claim_work(shared.owner, shared.now(), limit, shared.options.tags)

    def flush_output(self) -> None:
        """Write what the running attempts have printed and told since the last time."""
        for job in list(self._running.values()):
            self._errands.write_output(job)
