"""Runs that were parked for want of code or of a key: they go on by themselves when it is there."""

import logging
from collections.abc import Callable, Iterator

from durable_nb.errors import DurableError, LogError, Refused, Uncapturable, UnknownCode
from durable_nb.flows.values import Values
from durable_nb.history import wire
from durable_nb.history.events import Row
from durable_nb.history.summary import effective
from durable_nb.runtime.definitions import Definitions
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import Query, RunRecord

_logger = logging.getLogger("durable_nb.unparking")
_PAGE = 500
_WITH_CLASSES = (b'"codec":"pickle"', b'"codec":"classes"')  # values that need somebody's class


class Unparking:
    """Looks, after the log was opened and after every definition, which parked runs can go on, and resumes them."""

    def __init__(self, store: Store, values: Values, definitions: Definitions, resume: Callable[[str], None]) -> None:
        self._store = store
        self._values = values
        self._definitions = definitions
        self._resume = resume
        self._reasons = {"no_code", "untrusted"}  # a key does not come while the log is open
        self._has_news = True  # what was parked in another life

    def note(self) -> None:
        """Something was defined. Called in the middle of a user's import, so the looking is left to another thread."""
        self._has_news = True

    def look(self) -> bool:
        """Resume what can go on; True when anything does."""
        if not self._has_news or not self._values.is_trusted:
            return False
        self._has_news = False
        resumed = [record for record in self._parked() if self._goes_on(record)]
        self._reasons = {"no_code"}
        return bool(resumed)

    def _parked(self) -> Iterator[RunRecord]:
        before = None
        while page := self._store.find(Query(status="parked", before=before, limit=_PAGE)):
            yield from (record for record in page if record.reason in self._reasons)
            before = page[-1].key

    def _goes_on(self, record: RunRecord) -> bool:
        try:
            if record.reason == "no_code" and self._lacks_code(record):
                return False
            self._resume(record.id)
        except Refused:  # somebody steers it this very moment
            self._has_news = True
            return False
        except LogError:
            self._has_news = True
            raise
        except Exception:
            _logger.exception("whether run %r can go on now could not be seen", record.id)
            return False
        return True

    def _lacks_code(self, record: RunRecord) -> bool:
        """Whether the run would be parked again for the same reason. Asked first, or every cell would add to its history."""
        rows = self._store.history(record.key)
        try:
            flow, is_changed = self._definitions.code(record)
            if is_changed:
                self._definitions.pin(flow)
            self._values.started_with(rows, record.uid, record.flow)
            for row in effective(rows):
                self._take(row, record)
        except (UnknownCode, Uncapturable):
            return True
        except DurableError:
            return False  # something else is wrong by now; the run finds out
        return record.sentence in self._definitions.unknown_steps(record)

    def _take(self, row: Row, record: RunRecord) -> None:
        if row.kind == "returned" and any(codec in row.data for codec in _WITH_CLASSES):
            self._values.take(wire.value_of(row), record.uid, row.seq, row.kind, "a result")
