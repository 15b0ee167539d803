"""What people do with runs, as an app does it: the verb, and then whoever carries or waits for the run is told."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from durable_nb.client import Client
from durable_nb.clock import Clock
from durable_nb.errors import DurableError, UnknownRun
from durable_nb.flows.expected import checked_mailbox
from durable_nb.flows.run import Run
from durable_nb.runtime.interrupt import Interrupts
from durable_nb.runtime.runtime import Runtime
from durable_nb.steer.forking import Fork, fork
from durable_nb.steer.steering import Steering
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import Query, RunRecord
from durable_nb.views.tree import draw


class Steered:
    """The part of an app that steers."""

    store: Store
    clock: Clock
    client: Client
    steering: Steering
    runtime: Runtime | None

    def _check_open(self) -> None:
        raise NotImplementedError

    def signal(self, id: str, name: str, value: Any, key: str | None, before_start: bool) -> str:
        told = self.steering.signal(id, name, value, key, before_start)
        self._news_for(id)
        return told

    def cancel(self, id: str, reason: str) -> None:
        with uninterrupted():
            self.steering.cancel(id, reason)
        self._news_for(id)

    def terminate(self, id: str, reason: str) -> None:
        with uninterrupted():
            self.steering.terminate(id, reason)
        self._news_for(id)
        if self.runtime is not None:
            self.runtime.workers.forget(self.client.record(id).key)

    def _news_for(self, id: str) -> None:
        """Mail was put for a run, or it has ended: whoever carries it or waits for it looks again."""
        record = self.store.run(id)
        if self.runtime is not None and record is not None:
            self.runtime.has_mail(record.key)
            self.runtime.shared.news.announce(record.key)
        self._go_on()

    def fork(self, id: str, at: int | None, new_id: str | None, signals: str) -> Fork:
        self._check_open()
        return fork(self.client, id, at, new_id, signals, self._forked)

    def _forked(self, id: str) -> Run:
        self._go_on()
        return Run(id, host=self)  # type: ignore[arg-type]  # an app is a host

    def forks(self, id: str) -> list[str]:
        return [record.id for record in self.store.forks(self.client.record(id).id)]

    def upgrade(self, id: str) -> None:
        self._check_open()
        with uninterrupted():
            self.steering.upgrade(id)
        self._go_on()

    def pause(self, id: str) -> None:
        with uninterrupted():
            self.steering.pause(id)
        if self.runtime is not None:
            self.runtime.has_mail(self.client.record(id).key)

    def resume(self, id: str) -> None:
        with uninterrupted():
            self.steering.resume(id)
        self._go_on()

    def retry(self, id: str, redo: bool) -> None:
        with uninterrupted():
            self.steering.retry(id, redo)
        self._go_on()

    def delete(self, id: str, force: bool) -> None:
        self.steering.delete(id, force)

    def find(self, query: Query) -> list[RunRecord]:
        return self.store.find(query)

    def count(self, query: Query) -> int:
        return self.store.count(query)

    def tree(self, id: str) -> str:
        return draw(self.store.tree(self.client.record(id).key), self.now())

    def now(self) -> float:
        return self.clock.now()

    def for_each(
        self, ids: Sequence[str], verb: str, dry_run: bool, given: dict[str, Any]
    ) -> list[tuple[str, str | None]]:
        """Do it with each run; what is refused for one stops nothing."""
        if verb == "signal":
            given = {"before_start": False, **given, "name": checked_mailbox(given["name"])}
        return [(id, self._objection(id, verb, dry_run, given)) for id in ids]

    def _objection(self, id: str, verb: str, dry_run: bool, given: dict[str, Any]) -> str | None:
        if dry_run:
            return self.steering.objection(id, verb, given)
        try:
            getattr(self, verb)(id, **given)
        except UnknownRun as error:
            return None if verb == "delete" else str(error)  # it went with the run that had asked for it
        except DurableError as error:
            return str(error)
        return None

    def _go_on(self) -> None:
        if self.runtime is not None:
            self.runtime.go_on(self.clock.now())


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A lease taken within is given back within; a Ctrl-C that came meanwhile is delivered afterwards."""
    with Interrupts() as interrupts:
        yield
    if interrupts.is_pressed:
        raise KeyboardInterrupt
