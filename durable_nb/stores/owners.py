"""Processes that have the log open. Each keeps a byte of <log>-owners locked; the system frees it when one dies.

POSIX drops all locks of a process on a file as soon as it closes ANY descriptor of it. So there is one descriptor per
process and log, and it is never closed. And a process never meets its own locks: its own bytes are known by heart.
"""

import json
import os
import platform
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import OwnerRecord

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SQL = statements("owners")
CHECKPOINTER = 0  # the byte of the process that checkpoints; keys of owners begin at 1


class Bytes:
    """The locked bytes of one log, for this process."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._held: set[int] = set()
        self._lock = threading.Lock()

    def is_at(self, path: str) -> bool:
        """Whether others who open the path meet these locks."""
        try:
            there = os.stat(path)
        except FileNotFoundError:
            return False
        here = os.fstat(self._descriptor)
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def take(self, byte: int) -> bool:
        """Lock the byte for this process; False when it is locked, here or elsewhere."""
        with self._lock:
            if byte in self._held or not self._try(byte, shared=False):
                return False
            self._held.add(byte)
            return True

    def drop(self, byte: int) -> None:
        with self._lock:
            if byte in self._held:
                self._held.remove(byte)
                self._free(byte)

    def hold(self, byte: int) -> None:
        """Lock a byte of ours once more: somebody in this process may have read the file, and closing it freed all."""
        with self._lock:
            if byte in self._held:
                self._try(byte, shared=False)

    def is_locked(self, byte: int) -> bool:
        """Whether a living process, this one included, holds the byte."""
        with self._lock:
            if byte in self._held:
                return True
            # Shared, so that two who look at once do not see each other.
            if not self._try(byte, shared=True):
                return True
            self._free(byte)
            return False

    if sys.platform == "win32":

        def _try(self, byte: int, shared: bool) -> bool:
            os.lseek(self._descriptor, byte, os.SEEK_SET)
            try:
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            except OSError:
                return False
            return True

        def _free(self, byte: int) -> None:
            os.lseek(self._descriptor, byte, os.SEEK_SET)
            msvcrt.locking(self._descriptor, msvcrt.LK_UNLCK, 1)

    else:

        def _try(self, byte: int, shared: bool) -> bool:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            try:
                fcntl.lockf(self._descriptor, kind | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):
                return False
            return True

        def _free(self, byte: int) -> None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)


class MemoryBytes:
    """The same for a log in memory: its owners are this process."""

    def __init__(self) -> None:
        self._held: set[int] = set()

    def take(self, byte: int) -> bool:
        is_new = byte not in self._held
        self._held.add(byte)
        return is_new

    def drop(self, byte: int) -> None:
        self._held.discard(byte)

    def hold(self, byte: int) -> None:
        """Nothing frees it but `drop`."""

    def is_locked(self, byte: int) -> bool:
        return byte in self._held


_registry: dict[tuple[int, str], Bytes] = {}
_replaced: list[Bytes] = []  # kept: closing their descriptor could free locks somebody still counts on
_registry_lock = threading.Lock()


def bytes_of(path: str) -> Bytes | MemoryBytes:
    """The locks of a log for this process: always the same object, while the file is the same."""
    if path == ":memory:":
        return MemoryBytes()
    beside = f"{os.path.realpath(path)}-owners"
    with _registry_lock:
        found = _registry.get((os.getpid(), beside))
        if found is not None and found.is_at(beside):
            return found
        if found is not None:
            _replaced.append(found)
        opened = _registry[(os.getpid(), beside)] = Bytes(beside)
        return opened


class Owners:
    """The verbs of processes as such."""

    def __init__(self, database: Database, locks: Bytes | MemoryBytes) -> None:
        self._database = database
        self._locks = locks
        self._registered: dict[int, tuple[str, float, str]] = {}  # key -> label, started at, tags

    def register(self, label: str, now: float, tags: Sequence[str] = ()) -> int:
        taken: list[int] = []
        tagged = json.dumps(list(tags))

        def work(connection: Connection) -> int:
            while True:
                found = connection.execute(
                    SQL["register"], (os.getpid(), platform.node(), label, now, tagged)
                ).fetchall()
                key = int(found[0][0])
                # Locked before the row can be seen, or others would take the owner for dead.
                if key in taken or self._locks.take(key):
                    taken.append(key)
                    return key

        try:
            key = self._database.transact(work)
        except BaseException:
            for each in taken:
                self._locks.drop(each)
            raise
        self._registered[key] = (label, now, tagged)
        return key

    def heartbeat(self, owner: int, now: float) -> None:
        self._database.check_file()
        self._locks.hold(owner)
        known = self._registered.get(owner)
        if not self._database.one(SQL["heartbeat"], (owner, now)) and known is not None:
            again = (owner, os.getpid(), platform.node(), *known, now)
            self._database.one(SQL["register_again"], again)

    def retire(self, owner: int, now: float) -> None:
        self._database.transact(_leaving(owner, now, crashes=0))
        self._registered.pop(owner, None)
        self._locks.drop(owner)

    def bury(self, now: float) -> list[int]:
        keys = [key for (key,) in self._database.read(SQL["owner_keys"])]
        dead = [key for key in keys if not self._locks.is_locked(key)]
        for key in dead:
            self._database.transact(_leaving(key, now, crashes=1))
        return dead

    def owners(self) -> list[OwnerRecord]:
        return [
            OwnerRecord(
                key, pid, host, label, started_at, seen_at, self._locks.is_locked(key), runs, tuple(json.loads(tags))
            )
            for key, pid, host, label, started_at, seen_at, runs, tags in self._database.read(SQL["owners"])
        ]

    def let_go(self) -> None:
        """Whoever was not retired is dead from now on, although the process lives."""
        for key in self._registered:
            self._locks.drop(key)
        self._registered.clear()


def _leaving(owner: int, now: float, crashes: int) -> Callable[[Connection], Any]:
    def work(connection: Connection) -> None:
        connection.execute(SQL["free_running"], (owner, now))
        connection.execute(SQL["free_seized"], (owner,))
        connection.execute(SQL["free_work"], (owner, now, crashes))
        connection.execute(SQL["end_admissions"], (owner,))
        connection.execute(SQL["drop_sessions"], (owner,))
        connection.execute(SQL["forget_owner"], (owner,))

    return work
