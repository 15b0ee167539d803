"""Moving the -wal into the file: one process per log, on a connection of its own, never inside a commit."""

import threading

from durable_nb.stores.connections import configure, raw
from durable_nb.stores.files import size_of
from durable_nb.stores.library import Connection, is_busy, log_error, sqlite
from durable_nb.stores.owners import CHECKPOINTER, Bytes, MemoryBytes

_LARGE = 4 * 1024 * 1024  # bytes of -wal worth a checkpoint while others work


class Checkpointer:
    """Does nothing until somebody calls `step`, and nothing while another process does it."""

    def __init__(self, path: str, durability: str, locks: Bytes | MemoryBytes) -> None:
        self._path = path
        self._durability = durability
        self._locks = locks
        self._connection: Connection | None = None
        self._has_lock = False
        self._is_closed = False
        self._lock = threading.Lock()

    def step(self, now_idle: bool) -> None:
        """Checkpoint when the -wal is large; when nobody writes, whatever it holds, and give its space back."""
        if isinstance(self._locks, MemoryBytes):
            return
        size = size_of(f"{self._path}-wal")
        if size == 0 or (size <= _LARGE and not now_idle):
            return
        with self._lock:
            if not self._is_closed and self._is_in_charge():
                self._checkpoint("truncate" if now_idle else "passive")

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()
            if self._has_lock:
                self._locks.drop(CHECKPOINTER)
                self._has_lock = False

    def _is_in_charge(self) -> bool:
        self._has_lock = self._has_lock or self._locks.take(CHECKPOINTER)
        return self._has_lock

    def _checkpoint(self, mode: str) -> None:
        try:
            if self._connection is None:
                self._connection = raw(self._path)
                configure(self._connection, self._path, self._durability)
            self._connection.execute(f"pragma wal_checkpoint({mode})").fetchall()
        except sqlite.Error as error:
            if not is_busy(error):  # busy: the next step tries again
                raise log_error(error, self._path)
