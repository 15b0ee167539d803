"""Who does it: the threads of one open log, and how they call each other."""

import logging
import time
from collections.abc import Callable

from durable_nb.errors import LogError
from durable_nb.flows.place import watch_threads
from durable_nb.flows.values import Values
from durable_nb.runtime.carriers import Carriers
from durable_nb.runtime.carrying import Carrying
from durable_nb.runtime.definitions import Definitions
from durable_nb.runtime.options import RuntimeOptions
from durable_nb.runtime.shared import Shared
from durable_nb.runtime.steps import Workers
from durable_nb.runtime.wakeups import Flusher, Watcher
from durable_nb.stores.protocol import Store

_logger = logging.getLogger("durable_nb")


class Runtime:
    """Carries the runs of one log with threads of this process."""

    def __init__(self, store: Store, values: Values, definitions: Definitions, options: RuntimeOptions) -> None:
        self.shared = shared = Shared(store, values, definitions, options)
        self.workers = Workers(shared, options.workers if options.carriers else 0)
        self.carrying = Carrying(shared, self.workers)
        self.carriers = Carriers(shared, self.carrying, options.carriers, options.workers)
        self._flusher = Flusher(shared, self.carrying.leases, self.workers.post)
        self.watcher = Watcher(shared, self)
        shared.is_crowded = self.carriers.is_crowded
        # What is seen to about once a second; each says whether anybody can go on by it.
        self.duties: list[Callable[[], bool]] = [
            shared.put_queues,
            self._bury,
            self.carrying.give_back,
            self.workers.give_back,
        ]
        shared.on_due = self.watcher.note_due
        shared.on_answer = self._flusher.wake
        shared.on_mail = self.has_mail
        watch_threads()

    @property
    def owner(self) -> int:
        return self.shared.owner

    def begin(self) -> None:
        """Take over what dead processes held, and look for what is due."""
        if not self.shared.values.is_trusted:
            return
        self.look_after()
        if self.shared.options.carriers:
            self.watcher.start()
            self.ring()

    def take_up(self) -> bool:
        """Claim what is due from now on, if that was held back; False when it was not."""
        shared = self.shared
        was_held, shared.is_held = shared.is_held, False
        if was_held:
            self.ring()
        return was_held

    def go_on(self, at: float) -> None:
        """A run of ours is due then."""
        if at <= self.shared.now():
            self.carriers.nudge()
        else:
            self.shared.on_due(at)

    def has_mail(self, run: int) -> None:
        """Mail was put for a run by this process: tell whoever carries it, else see to it that it is carried."""
        self.carrying.has_mail(run)
        self.carriers.nudge()

    # the watcher's duties

    def look_round(self) -> None:
        self.carrying.has_mail()
        self.shared.news.announce()

    def ring(self) -> None:
        self.carriers.nudge()
        self.workers.look()

    def relieve(self) -> bool:
        self.carriers.relieve()
        return self.carriers.has_backlog

    def heed(self) -> None:
        self.workers.heed()
        self.carrying.heed()

    def look_after(self) -> bool:
        """Free what dead owners held, or queues let in by now; give back what could not be given back. True when anything was."""
        is_freed = False
        for see_to in self.duties:
            is_freed = see_to() or is_freed
        if is_freed:
            self.ring()
        return is_freed

    def _bury(self) -> bool:
        return bool(self.shared.store.bury(self.shared.now()))

    def tidy(self, is_idle: bool) -> None:
        self.flush_output()
        self.shared.store.checkpoint(is_idle and not self.carrying.leases)

    def beat(self) -> None:
        self.shared.store.heartbeat(self.owner, self.shared.now())

    def flush_output(self) -> None:
        """Write what runs and steps have printed since the last time."""
        self.carrying.flush_output()
        self.workers.flush_output()

    def stop(self, patience: float) -> None:
        """Begin nothing new, let turns reach their next ask, write what is finished, give the rest back; bounded."""
        deadline = time.monotonic() + patience
        self.shared.is_stopping = True
        self.carrying.has_mail()
        self.carriers.stop(deadline)
        self.workers.stop(deadline)
        self.stop_watching()
        self.carrying.flush()
        try:
            self.flush_output()
        except LogError as error:
            _logger.warning("the last output was not written: %s", error)
        self.shared.store.retire(self.owner, self.shared.now())

    def abandon(self) -> None:
        """End what would go on by itself, and write nothing."""
        self.stop_watching()
        self.workers.abandon()

    def stop_watching(self) -> None:
        """End the two background threads, and let the code go that waits in memory."""
        self.carrying.let_go()
        self.shared.is_stopping = True
        self.watcher.stop()
        self._flusher.stop()
