"""Waiting for runs, as an app does it: for an end, a note, the next event. Without carriers, whoever waits carries."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from durable_nb.client import SETTLED
from durable_nb.history import events as e, wire
from durable_nb.runtime.commits import Commits
from durable_nb.steer.keeping import Keeping
from durable_nb.stores.shapes import RunRecord

_LOOK = 0.25  # seconds between looks while waiting for a run that another process carries


class Waiting(Keeping):
    """The part of an app that waits."""

    def turn(self) -> bool:
        raise NotImplementedError

    def next_due(self) -> float | None:
        raise NotImplementedError

    def take_up(self) -> bool:
        """Go on with what earlier processes left, if that was held back; False when it was not."""
        return self.runtime is not None and self.runtime.take_up()

    def result(self, id: str, timeout: float | None) -> Any:
        """Wait until the run has ended, or waits for a person."""
        record = self.client.record(id)
        if record.status not in SETTLED:
            record = self._wait(record, timeout)
        return self.client.outcome(record)

    def _wait(self, record: RunRecord, timeout: float | None) -> RunRecord:
        deadline = None if timeout is None else time.monotonic() + timeout
        self.take_up()
        with self._listening(record.key) as news:
            while True:
                record = self.client.record(record.id)
                if record.status in SETTLED:
                    return record
                self._check_open()
                left = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
                if left <= 0:
                    raise TimeoutError(f"{self.client.why(record.id)} It was waited for {timeout} s")
                self._wait_for_news(news, left)

    def _listening(self, run: int) -> AbstractContextManager[threading.Event | Commits]:
        return nullcontext(Commits(self.store)) if self.runtime is None else self.runtime.shared.news.listening(run)

    def _wait_for_news(self, news: threading.Event | Commits, left: float) -> None:
        if self.runtime is not None and not self.runtime.shared.options.carriers:
            self._drive(left)
        else:
            news.wait(left)
            news.clear()

    def _drive(self, left: float) -> None:
        """Without carriers, whoever waits for a run carries what is due."""
        if self.turn():
            return
        due = self.next_due()
        wait = left if due is None else min(left, self.clock.real_wait(due - self.clock.now()))
        time.sleep(max(0.0, wait))

    def wait_for_note(self, id: str, after: Any, timeout: float | None) -> Any:
        """The note, once it is another one than `after`."""
        record = self.client.record(id)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._listening(record.key) as news:
            while (note := self.client.note_of(record)) == after:
                left = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
                if left <= 0 or record.ended_at is not None:
                    raise TimeoutError(f"the note of run {id!r} is still {after!r}. {self.client.why(id)}")
                self._check_open()
                self._wait_for_news(news, left)
                record = self.client.record(id)
            return note

    def follow(self, id: str) -> Iterator[e.AnyEvent]:
        """The events of a run, as they come, until it ends or waits for a person."""
        key, seen = self.client.record(id).key, 0
        with self._listening(key) as news:
            while True:
                record = self.client.record(id)
                for row in self.store.history(key, seen):
                    seen = row.seq
                    yield wire.event_of(row)
                if record.status in SETTLED:
                    return
                self._wait_for_news(news, _LOOK)
