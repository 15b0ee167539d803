"""One log, opened: reads on a connection of their own, and writes in groups.

Whoever finds the writer free commits alone, at once. Everybody else queues; whoever holds the writer then commits up to
64 waiting transactions in one (with a savepoint each, when one of them fails) and hands the writer to the oldest
waiter. A thread of its own would cost a lone writer twice to four times as much; a leader that serves on would never
get back to its own run.
"""

import _thread
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from durable_nb.errors import ForkedProcess, LogClosed, LogError, LogMissing
from durable_nb.stores import forks
from durable_nb.stores.files import Identity, identity, refuse_moved
from durable_nb.stores.interrupts import Shield, is_exposed
from durable_nb.stores.items import Item, copy_of
from durable_nb.stores.library import Connection, is_busy, log_error, sqlite
from durable_nb.stores.patience import patiently

Parameters = Sequence[Any] | dict[str, Any]
T = TypeVar("T")

crash_point: Callable[[str], None] | None = None
"""Crash tests put a function here; it is called right before and right after every commit of a writer."""

_GROUP = 64
_LOOK = 0.05  # seconds after which a waiting main thread looks whether it was interrupted


class Database:
    """A writer and a reader of one file (in memory: one connection that is both)."""

    def __init__(self, path: str, writer: Connection, reader: Connection | None) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._mutex = _thread.allocate_lock()  # not owned by a thread: it is handed on locked
        self._read_lock = _thread.allocate_lock()
        self._queue: deque[Item] = deque()
        self._refusal: tuple[type[LogError], str | None] | None = None
        self._changes = 0
        self._files: dict[str, Identity | None] = {}
        if reader is not None:
            # The -wal too: a new one under an open log would not be seen by those who hold the old one.
            self._files = {name: identity(name) for name in (path, f"{path}-wal")}
        forks.watch(self)

    def one(self, sql: str, parameters: Parameters) -> int:
        """Run one writing statement as a transaction; the number of rows it changed."""
        self._refuse()
        if not is_exposed() and not self._queue and self._mutex.acquire(False):
            # The hot path: no item, no gate, no begin, no commit.
            try:
                return self._alone(sql, parameters)
            finally:
                self._hand_on()
        return self.transact(lambda connection: connection.execute(sql, parameters).rowcount)

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and return what it returns, after the commit.

        `work` may run more than once and must do nothing but SQL.
        """
        self._refuse()
        if is_exposed():
            with Shield() as shield:
                item = Item(work, shield)
                self._enter(item)
        else:
            item = Item(work, None)
            self._enter(item)
        if item.error is not None:
            raise item.error
        result: T = item.result
        return result

    def read(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of one reading statement, as of the last commit."""
        self._refuse()
        reader = self._reader
        if reader is None:
            return self.transact(lambda connection: connection.execute(sql, parameters).fetchall())
        patience = None
        while True:
            try:
                with self._read_lock:
                    self._refuse()
                    return reader.execute(sql, parameters).fetchall()
            except sqlite.OperationalError as error:
                if not is_busy(error):
                    raise self._mapped(error)
            except sqlite.DatabaseError as error:
                raise self._mapped(error)
            patience = patience or patiently(self.path, self._refuse)
            next(patience)

    def changes(self) -> int:
        """A number that differs when another process has committed since; our own commits do not count.

        Asked on the writer, which sees others only, and only when nobody writes: who writes will look again.
        """
        self._refuse()
        if not self._mutex.acquire(False):
            return self._changes
        try:
            self._changes = int(self._writer.execute("pragma data_version").fetchone()[0])
        except sqlite.OperationalError as error:
            if not is_busy(error):
                raise self._mapped(error) from error
        finally:
            self._hand_on()
        return self._changes

    def check_file(self) -> None:
        """Raise LogMissing, now and from now on, when the file was removed or replaced."""
        self._refuse()
        try:
            refuse_moved(self.path, self._files)
        except LogMissing as missing:
            self._refusal = self._refusal or (LogMissing, str(missing))
            raise

    def copy_to(self, target: Connection) -> None:
        """Copy the log as it is into another connection."""
        self._refuse()
        self._mutex.acquire()
        try:
            self._writer.backup(target)
        finally:
            self._hand_on()

    def disown(self) -> None:
        """Called in a forked child, where every lock may be held by a thread that is not there."""
        self._refusal = (ForkedProcess, None)

    def close(self) -> None:
        """Refuse everything from now on, let the running commit end, and close; again is fine, in a child nothing."""
        if self._refusal is not None and self._refusal[0] in (LogClosed, ForkedProcess):
            return
        self._refusal = (LogClosed, None)
        with self._read_lock:
            if self._reader is not None:
                self._reader.close()
        self._mutex.acquire()
        try:
            self._writer.close()  # the last one to close moves the -wal into the file
        finally:
            self._lead(self._taken(len(self._queue)))  # they are told that the log is closed

    # ------------------------------------------------------------------ the queue

    def _enter(self, item: Item) -> None:
        if not self._queue and self._mutex.acquire(False):
            self._lead([item])
        else:
            self._queue.append(item)
            if self._mutex.acquire(False):
                self._lead(self._taken(_GROUP))  # perhaps without this item: a leader was quicker
        while not item.is_done:
            self._await(item)
            if item.leads:
                item.leads = False
                self._lead([item, *self._taken(_GROUP - 1)])

    def _await(self, item: Item) -> None:
        if item.shield is None:
            item.gate.acquire()
            return
        while not item.gate.acquire(timeout=_LOOK):
            if item.shield.wants_out and self._withdrawn(item):
                return

    def _withdrawn(self, item: Item) -> bool:
        """Take an item back that no leader has taken yet: nothing of it was or will be written."""
        try:
            self._queue.remove(item)
        except ValueError:
            return False
        item.error, item.is_done = KeyboardInterrupt(), True
        return True

    def _taken(self, limit: int) -> list[Item]:
        batch: list[Item] = []
        while len(batch) < limit:
            try:
                batch.append(self._queue.popleft())
            except IndexError:
                break
        return batch

    def _lead(self, batch: list[Item]) -> None:
        """With the writer held: commit the batch, tell its owners, hand the writer on."""
        try:
            if batch:
                self._commit(batch)
        finally:
            for item in batch:
                item.is_done = True
                item.gate.release()
            self._hand_on()

    def _hand_on(self) -> None:
        """Wake the oldest waiter as leader, the writer still held for it; or let go and look once more.

        Waiters append before they try the writer, and here it is let go before the look: no wake-up is lost.
        """
        while True:
            try:
                heir = self._queue.popleft()
            except IndexError:
                self._mutex.release()
                if not self._queue or not self._mutex.acquire(False):
                    return
                continue
            heir.leads = True
            heir.gate.release()
            return

    # ------------------------------------------------------------------ commits

    def _alone(self, sql: str, parameters: Parameters) -> int:
        self._refuse()
        patience = None
        while True:
            try:
                if crash_point is not None:
                    crash_point("before commit")
                changed = self._writer.execute(sql, parameters).rowcount
            except sqlite.OperationalError as error:
                if not is_busy(error):
                    raise self._mapped(error)
            except sqlite.DatabaseError as error:
                raise self._mapped(error)
            else:
                if crash_point is not None:
                    crash_point("after commit")
                return changed
            patience = patience or patiently(self.path, self._refuse)
            next(patience)

    def _commit(self, batch: list[Item]) -> None:
        """One transaction for the batch; every item left in it has its result or its error afterwards."""
        try:
            self._refuse()
            self._begin(batch)
        except BaseException as error:  # noqa: BLE001 - it is handed to every owner
            for item in batch:
                item.error = copy_of(error)
            return
        if len(batch) == 1:
            self._attempt(batch[0])
        elif not self._attempt_together(batch) and not (self._writer.in_transaction and self._attempt_each(batch)):
            # SQLite has rolled the whole transaction back (no room, for one): each by itself, then.
            for item in batch:
                if item.error is None:
                    self._commit([item])
            return
        self._finish([item for item in batch if item.error is None])

    def _begin(self, batch: list[Item]) -> None:
        """Immediate always: a transaction that begins by reading may find itself too old to write."""
        patience = None
        while True:
            try:
                self._writer.execute("begin immediate")
                return
            except sqlite.OperationalError as error:
                if not is_busy(error):
                    raise self._mapped(error)
            if any(item.is_interrupted for item in batch):
                self._unbegin(batch)
            patience = patience or patiently(self.path, self._refuse)
            next(patience)

    def _unbegin(self, batch: list[Item]) -> None:
        """Only the interrupted caller is told; the others queue again, in front, and the next of them leads."""
        others = [item for item in batch if not item.is_interrupted]
        self._queue.extendleft(reversed(others))
        batch[:] = [item for item in batch if item not in others]
        raise KeyboardInterrupt

    def _attempt(self, item: Item) -> None:
        try:
            item.result = item.work(self._writer)
        except BaseException as error:  # noqa: BLE001 - it is handed to its owner
            item.error = self._mapped(error)

    def _attempt_together(self, batch: list[Item]) -> bool:
        """Run the items one after another, which is nearly always all; False when one has failed, undone then."""
        self._writer.execute("savepoint batch")
        for item in batch:
            self._attempt(item)
            if item.error is not None:
                if self._writer.in_transaction:
                    self._writer.execute("rollback to batch")
                    item.error = None
                return False
        return True

    def _attempt_each(self, batch: list[Item]) -> bool:
        """Run every item behind a savepoint of its own; False when SQLite has given up the transaction."""
        for item in batch:
            self._writer.execute("savepoint item")
            self._attempt(item)
            if not self._writer.in_transaction:
                return False
            if item.error is not None:
                self._writer.execute("rollback to item")
            self._writer.execute("release item")
        return True

    def _finish(self, batch: list[Item]) -> None:
        if not batch:
            if self._writer.in_transaction:
                self._writer.execute("rollback")
            return
        if crash_point is not None:
            crash_point("before commit")
        try:
            self._writer.execute("commit")
        except sqlite.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("rollback")
            for item in batch:
                item.result, item.error = None, self._mapped(error)
            return
        if crash_point is not None:
            crash_point("after commit")

    def _refuse(self) -> None:
        if self._refusal is not None:
            kind, message = self._refusal
            raise kind(message)

    def _mapped(self, error: BaseException) -> BaseException:
        if isinstance(error, sqlite.Error) and not isinstance(error, sqlite.IntegrityError):
            try:
                self.check_file()
            except LogError as refusal:
                return refusal
        return log_error(error, self.path)
