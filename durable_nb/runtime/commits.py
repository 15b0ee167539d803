"""Waiting for other processes, for who has the log open and carries nothing: no thread of ours looks for their commits."""

import time

from durable_nb.stores.protocol import Store

_PACE = 0.002  # seconds between two looks; a look costs a microsecond or two


class Commits:
    """Waited for as an event is. What was committed after this was made, or after the last wait, ends the next one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = store.changes()

    def wait(self, seconds: float) -> None:
        """Until another process has committed, at most that long; our own commits do not count."""
        end = time.monotonic() + seconds
        while (changes := self._store.changes()) == self._seen:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _PACE))
        self._seen = changes

    def clear(self) -> None:
        """Nothing to clear: every wait begins where the last one ended."""
