"""What the threads of one open log share: the log, who we are, and whom to tell when something has happened."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from durable_nb.flows.queue import Queue, queues
from durable_nb.flows.values import Values
from durable_nb.runtime.definitions import Definitions
from durable_nb.runtime.options import RuntimeOptions
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import Mail


def _never() -> bool:
    return False


def _nobody(*what: Any) -> None:
    """Nobody is to be told yet."""


def _not_here(*what: Any) -> bool:
    """Nobody carries it here."""
    return False


class Shared:
    """Below every thread; the runtime, which owns the threads, fills in whom to tell."""

    def __init__(self, store: Store, values: Values, definitions: Definitions, options: RuntimeOptions) -> None:
        self.store = store
        self.values = values
        self.definitions = definitions
        self.options = options
        self.clock = options.clock
        self.label = f"pid {os.getpid()}"
        self.owner = store.register(self.label, self.now(), options.tags)
        self._queues: dict[str, Queue] = {}
        self.is_stopping = False
        self.is_held = options.is_held
        self.is_patient = bool(options.carriers)
        self.news = News()
        self.watched: set[str] = set()  # runs whose end somebody here waits for
        self.is_crowded: Callable[[], bool] = _never  # runs wait for a thread, and the calling one could take them
        self.on_due: Callable[[float], None] = _nobody  # something of ours is due then
        self.on_answer: Callable[[], None] = _nobody  # an answer waits to ride with the next ask
        self.deliver: Callable[[int, Mail], bool] = _not_here  # hand an answer to whoever carries the run here
        self.on_mail: Callable[[int], None] = _nobody  # this process has put mail for a run

    def now(self) -> float:
        return self.clock.now()

    def next_due(self) -> float | None:
        """When something is due that this process may do."""
        return self.store.next_due(self.owner, self.options.tags, self.now())

    def put_queues(self) -> bool:
        """What was defined here since the last look decides from now on; True when there was anything."""
        news = [queue for queue in queues() if self._queues.get(queue.name) is not queue]
        for queue in news:
            self.store.put_queue(queue.name, queue.limits)
            self._queues[queue.name] = queue
        return bool(news)

    def note_due(self) -> None:
        """Something was done that may change what is due next, and no other process tells us of it."""
        due = self.next_due()
        if due is not None and due > self.now():
            self.on_due(due)

    def newest_mail(self, run: int) -> int:
        """The number of the newest mail of a run that is held here."""
        record = self.store.run_by_key(run)
        return record.mail if record is not None else 0


class News:
    """Who waits for which run."""

    def __init__(self) -> None:
        self._waiters: dict[int, list[threading.Event]] = {}
        self._lock = threading.Lock()

    def announce(self, run: int | None = None) -> None:
        """Something about this run (or any) has changed: whoever waits for it looks again."""
        with self._lock:
            told = list(self._waiters.values()) if run is None else [self._waiters.get(run, [])]
            for events in told:
                for event in events:
                    event.set()

    @contextmanager
    def listening(self, run: int) -> Iterator[threading.Event]:
        """An event that is set whenever the run may have changed."""
        event = threading.Event()
        with self._lock:
            self._waiters.setdefault(run, []).append(event)
        try:
            yield event
        finally:
            with self._lock:
                self._waiters[run].remove(event)
                if not self._waiters[run]:
                    del self._waiters[run]
