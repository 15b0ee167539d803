"""Running the body of a durable cell, attempt after attempt, and keeping what came of it."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from durable_nb.durations import spoken
from durable_nb.engine.turn import place
from durable_nb.errors import StepTimeout
from durable_nb.flows.place import StepPlace
from durable_nb.flows.policy import Retry
from durable_nb.notebook.awaiting import await_signals
from durable_nb.notebook.body import Outcome
from durable_nb.notebook.capture import Capture, capture_of
from durable_nb.notebook.cells.book import CELLS
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.cut import hide, in_one_line
from durable_nb.notebook.interrupt import held_back
from durable_nb.notebook.limits import Limit
from durable_nb.notebook.looking import Look
from durable_nb.notebook.options import CellOptions
from durable_nb.notebook.positions import Positions
from durable_nb.notebook.saving import Before, keep
from durable_nb.notebook.saying import Notice, say
from durable_nb.notebook.session import Session

STOPPED = "the cell was stopped before it began"


class Running:
    """One cell on its way to an outcome."""

    def __init__(self, session: Session, options: CellOptions, seen: Look) -> None:
        self.session = session
        self.shows_all = session.shows_all
        self._options = options
        self._seen = seen
        self._retry = Retry(max_attempts=options.attempts)
        self._entry: Entry | None = None
        self._failed = 0
        self._limit = Limit(None)
        self._before: Before | None = None
        self._began = 0.0

    def begin(self) -> None:
        """Everything that comes before the body: our turn, the signals, the first row in the log, the delay."""
        try:
            self._begin()
        except KeyboardInterrupt:
            raise in_one_line(KeyboardInterrupt(STOPPED)) from None

    def _begin(self) -> None:
        session, now = self.session, self.session.log.app.now
        signals = await_signals(session, self._seen.cell, self._options.awaited)
        due = now() + self._options.delay if self._options.delay else None
        asked = msgspec.structs.replace(self._seen.asked, signals=signals)
        self._entry = session.held_book().begin(self._seen.cell, asked, due)
        until = self._entry.due
        with Notice(session.shell) as notice:
            while until is not None and (left := until - now()) > 0:
                notice.wait(f"begins in {spoken(left)}")

    @contextmanager
    def attempt(self) -> Iterator[Capture]:
        """Around the body: where it is, and how long it may take."""
        entry = self._held()
        self._before = Before(self.session.shell.user_ns)
        positions = Positions(self.session.log.book, entry.seq)
        here = StepPlace(CELLS, self.session.log.book.uid, 1, entry.seq, entry.cell, entry.attempts, positions.recall)
        here.sink = positions
        token = place.set(here)
        self._limit = Limit(self._options.timeout)
        self._began = time.perf_counter()
        try:
            with self._limit:
                yield capture_of(self.session.shell)
        finally:
            place.reset(token)
            positions.flush()

    def ended(self, outcome: Outcome) -> bool:
        """Keep what came of it. True when it ended well, False when another attempt follows; else its error is raised."""
        took = time.perf_counter() - self._began
        error = self._error_of(outcome)
        if error is None:
            assert self._before is not None
            with held_back("the cell had ended, and what came of it is kept"):
                keep(self.session, self._options, self._seen, self._held(), outcome, self._before, took)
            return True
        book, entry = self.session.log.book, self._held()
        if isinstance(error, KeyboardInterrupt):
            with held_back("the cell was stopped"):
                book.interrupted(entry)
            outcome.raise_error()
        self._failed += 1
        failure = self.session.log.app.values.failure(error)
        if self._failed >= self._options.attempts or not isinstance(error, Exception):
            with held_back("the cell had failed"):
                book.raised(entry, failure)
            self._raise(outcome, error)
        pause = self._retry.pause(self._failed, random.random())
        with held_back("the cell had failed"):
            self._entry = book.attempt(entry, failure, self.session.log.app.now() + pause)
        self._pause(failure.sentence, pause)
        self._entry = book.attempt(self._held(), None, 0.0)
        return False

    def _error_of(self, outcome: Outcome) -> BaseException | None:
        if self._limit.is_over and isinstance(outcome.error, KeyboardInterrupt):
            assert self._options.timeout is not None
            error = StepTimeout(f"the cell ran longer than {spoken(self._options.timeout)} (--timeout)")
            error.__traceback__ = outcome.error.__traceback__
            return error
        return outcome.error

    def _raise(self, outcome: Outcome, error: BaseException) -> None:
        if error is outcome.error:
            outcome.raise_error()
        raise error if self.shows_all else hide(self.session.shell, error)

    def _pause(self, sentence: str, pause: float) -> None:
        if not self._options.quiet:
            tries = f"attempt {self._failed} of {self._options.attempts}"
            say(self.session.shell, f"{tries} failed: {sentence} · again in {spoken(pause)}", f"{tries} failed")
        try:
            time.sleep(pause)
        except KeyboardInterrupt:
            with held_back("the cell was stopped"):
                self.session.log.book.interrupted(self._held())
            raise in_one_line(KeyboardInterrupt("the cell was stopped between two attempts")) from None

    def _held(self) -> Entry:
        assert self._entry is not None
        return self._entry
