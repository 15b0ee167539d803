"""Who does it: the threads of one open log, and what they share."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from durable_nb.errors import LogClosed, LogError
from durable_nb.flows.place import watch_threads
from durable_nb.flows.values import Values
from durable_nb.runtime.carriers import Carriers
from durable_nb.runtime.carry import Carry
from durable_nb.runtime.definitions import Definitions
from durable_nb.runtime.options import RuntimeOptions
from durable_nb.runtime.steps import Workers
from durable_nb.runtime.wakeups import Flusher, Watcher
from durable_nb.stores.protocol import RunRecord, Store

_logger = logging.getLogger("durable_nb")


class Runtime:
    """Carries the runs of one log with threads of this process."""

    def __init__(self, store: Store, values: Values, definitions: Definitions, options: RuntimeOptions) -> None:
        self.store = store
        self.values = values
        self.clock = options.clock
        self.options = options
        self.label = f"pid {os.getpid()}"
        self.definitions = definitions
        self.owner = store.register(self.label, self.now())
        self.carries: dict[int, Carry] = {}
        self._waiters: dict[int, list[threading.Event]] = {}
        self._waiters_lock = threading.Lock()
        self.is_stopping = False
        self.is_patient = bool(options.carriers)
        self.flusher = Flusher(self)
        self.carriers = Carriers(self, options.carriers, options.workers)
        self.workers = Workers(self, options.workers if options.carriers else 0)
        self.watcher = Watcher(self)
        self._stranded: dict[int, int] = {}
        watch_threads()

    def begin(self) -> None:
        """Take over what dead processes held, and look for what is due."""
        if not self.values.is_trusted:
            return
        self.look_after()
        if self.options.carriers:
            self.watcher.start()
            self.carriers.nudge()
            self.workers.look()

    def now(self) -> float:
        return self.clock.now()

    def claim(self, limit: int) -> list[RunRecord]:
        if self.is_stopping or not self.values.is_trusted:
            return []
        return self.store.claim(self.owner, self.now(), limit)

    def mark(self, run: int) -> int:
        """The number of the newest mail of a run that is held here."""
        record = self.store.run_by_key(run)
        return record.mail if record is not None else 0

    def note_due(self, at: float) -> None:
        self.watcher.note_due(at)

    def has_mail(self, run: int) -> None:
        """Mail was put for a run by this process: tell whoever carries it, else see to it that it is carried."""
        carry = self.carries.get(run)
        if carry is not None:
            carry.tell()
        self.carriers.nudge()

    def announce(self, run: int | None = None) -> None:
        """Something about this run (or any) has changed: whoever waits for it looks again."""
        with self._waiters_lock:
            events = self._waiters.get(run, ()) if run is not None else [e for es in self._waiters.values() for e in es]
            for event in events:
                event.set()

    @contextmanager
    def listening(self, run: int) -> Iterator[threading.Event]:
        """An event that is set whenever the run may have changed."""
        event = threading.Event()
        with self._waiters_lock:
            self._waiters.setdefault(run, []).append(event)
        try:
            yield event
        finally:
            with self._waiters_lock:
                self._waiters[run].remove(event)
                if not self._waiters[run]:
                    del self._waiters[run]

    def strand(self, record: RunRecord) -> None:
        """A run whose turn could not be written: it is given back as soon as the log can be written again."""
        self._stranded[record.key] = record.lease

    def look_after(self) -> bool:
        """Free what dead owners held; give back what could not be given back before. True when anything was."""
        is_freed = bool(self.store.bury(self.now()))
        if is_freed:
            self.carriers.nudge()
            self.workers.look()
        for key, lease in list(self._stranded.items()):
            if self.store.give_back(key, lease, self.now()):
                self._stranded.pop(key, None)
                self.carriers.nudge()
                is_freed = True
        return is_freed

    def beat(self) -> None:
        self.store.heartbeat(self.owner, self.now())

    def flush_output(self) -> None:
        for carry in list(self.carries.values()):
            if not carry.sink.is_empty:
                carry.flush_output()
        self.workers.flush_output()

    def stop(self, patience: float) -> None:
        """Begin nothing new, let turns reach their next ask, write what is finished, give the rest back; bounded."""
        deadline = time.monotonic() + patience
        self.is_stopping = True
        for carry in list(self.carries.values()):
            carry.nudge.set()
        self.carriers.stop(deadline)
        self.workers.stop(deadline)
        self.watcher.stop()
        self.flusher.stop()
        for carry in list(self.carries.values()):
            try:
                carry.flush()
            except LogError as error:
                _logger.warning("the last answer of run %r was not written: %s", carry.record.id, error)
        self.store.retire(self.owner, self.now())

    def check_open(self) -> None:
        if self.is_stopping:
            raise LogClosed
