"""A log in one SQLite file, or in memory."""

import importlib
import os
import random
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from durable_nb.errors import BadOption
from durable_nb.stores import files
from durable_nb.stores.admin import Admin
from durable_nb.stores.checkpoint import Checkpointer
from durable_nb.stores.connections import configure, raw, reading
from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection, is_busy, log_error, sqlite
from durable_nb.stores.mailing import Mailing
from durable_nb.stores.migrate import migrate, refuse_foreign
from durable_nb.stores.owners import Bytes, MemoryBytes, Owners, bytes_of
from durable_nb.stores.records import Records
from durable_nb.stores.schedules import Schedules
from durable_nb.stores.turns import Turns
from durable_nb.stores.work import Work

T = TypeVar("T")


class SqliteStore:
    """The verbs of the store, from the rooms that hold them."""

    def __init__(self, database: Database, checkpointer: Checkpointer, locks: Bytes | MemoryBytes) -> None:
        self.database = database
        self.checkpointer = checkpointer
        turns, mailing, work = Turns(database), Mailing(database), Work(database)
        schedules = Schedules(database)
        records, admin, owners = Records(database), Admin(database), Owners(database, locks)
        self._owners = owners

        self.start, self.start_many, self.start_with_past = turns.start, turns.start_many, turns.start_with_past
        self.claim, self.claim_run = turns.claim, turns.claim_run
        self.seize, self.wrest = turns.seize, turns.wrest
        self.commit, self.commit_all, self.append = turns.commit, turns.commit_all, turns.append
        self.give_back, self.history = turns.give_back, turns.history

        self.mail, self.tell, self.signal = mailing.mail, mailing.tell, mailing.signal

        self.claim_work, self.begin_work, self.give_back_work = work.claim_work, work.begin_work, work.give_back_work
        self.finish_work, self.postpone_work = work.finish_work, work.postpone_work
        self.work, self.next_due, self.leave_queue = work.work, work.next_due, work.leave_queue
        self.put_queue, self.limits, self.has_room = work.put_queue, work.limits, work.has_room
        self.session_owner = work.session_owner

        self.put_schedule, self.drop_schedule = schedules.put_schedule, schedules.drop_schedule
        self.schedules, self.due_schedules, self.fire = schedules.schedules, schedules.due_schedules, schedules.fire

        self.register, self.heartbeat, self.retire = owners.register, owners.heartbeat, owners.retire
        self.bury, self.owners = owners.bury, owners.owners

        self.run, self.run_by_key, self.find = records.run, records.run_by_key, records.find
        self.children, self.tree, self.state = records.children, records.tree, records.state
        self.counts, self.similar_ids = records.counts, records.similar_ids
        self.count, self.forks, self.expired = records.count, records.forks, records.expired
        self.events, self.backlog = records.events, records.backlog
        self.put_code, self.code, self.latest_code = records.put_code, records.code, records.latest_code
        self.codes, self.replace_code_mark = records.codes, records.replace_code_mark
        self.put_chunks, self.put_payload = records.put_chunks, records.put_payload
        self.payload = records.payload
        self.put_output, self.output = records.put_output, records.output
        self.log, self.sign_log = records.log, records.sign_log

        self.replace_marks, self.replace_beside = admin.replace_marks, admin.replace_beside
        self.replace_mail, self.early, self.replace_early = admin.replace_mail, admin.early, admin.replace_early
        self.delete, self.ended = admin.delete, admin.ended
        self.expire = admin.expire
        self.drop_executions, self.gc, self.sizes = admin.drop_executions, admin.gc, admin.sizes

    def changes(self) -> int:
        return self.database.changes()

    def checkpoint(self, is_idle: bool) -> None:
        self.checkpointer.step(is_idle)

    def explore(self) -> Any:
        """In memory it is a copy of now."""
        if self.database.path == ":memory:":
            connection = raw(":memory:")
            self.database.copy_to(connection)
        else:
            connection = reading(self.database.path)
        return importlib.import_module("sqlite_utils").Database(connection)

    def abandon(self) -> None:
        self.close()  # which retires nobody either

    def close(self) -> None:
        self.checkpointer.close()
        self._owners.let_go()
        self.database.close()


def open_sqlite(path: str, durability: str = "full", clock_now: Callable[[], float] = time.time) -> SqliteStore:
    """Open the log at `path`, making or migrating it; nothing is changed in a file that is not a log."""
    if durability not in ("full", "process"):
        raise BadOption(f"durability={durability!r} is not known; it is 'full' (survives power loss) or 'process'")
    if path != ":memory:":
        path = os.path.abspath(path)
        files.refuse_unusable(path)
    writer = reader = None
    try:
        writer = raw(path)
        _prepare(writer, path, durability, clock_now)
        if path != ":memory:":
            reader = _patiently(lambda: _opened_reader(path))
    except BaseException as error:
        for connection in (writer, reader):
            if connection is not None:
                connection.close()
        mapped = log_error(error, path)
        if mapped is error:
            raise
        raise mapped
    locks = bytes_of(path)
    return SqliteStore(Database(path, writer, reader), Checkpointer(path, durability, locks), locks)


def _prepare(writer: Connection, path: str, durability: str, clock_now: Callable[[], float]) -> None:
    _patiently(lambda: refuse_foreign(writer, path))
    _patiently(lambda: configure(writer, path, durability))
    _patiently(lambda: migrate(writer, uuid.uuid4().hex, clock_now()))


def _opened_reader(path: str) -> Connection:
    reader = reading(path)
    try:
        reader.execute("pragma user_version").fetchall()
    except BaseException:
        reader.close()
        raise
    return reader


def _patiently(work: Callable[[], T]) -> T:
    """Several processes may make the log at once; each waits for the others."""
    while True:
        try:
            return work()
        except sqlite.OperationalError as error:
            if not is_busy(error):
                raise
        time.sleep(random.uniform(0.0001, 0.0016))
