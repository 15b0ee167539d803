"""The same writes by a loop without an engine: what SQLite alone would take.

One transaction per commit of the engine, always `begin immediate`, one statement in it (`insert … select` from the run
row, so the lease is checked), WAL, `synchronous` NORMAL for "process" and FULL for "full", one connection, one thread.
The engine commits several runs together, so with many runs it may be faster than this loop.
"""

import json
import os
import time
from pathlib import Path

import pysqlite3 as sqlite

from tests.bench.contender import (
    LONG_STEPS,
    ONE_STEP_RUNS,
    RUN_STEPS,
    RUNS,
    SHORT_STEPS,
    Measurement,
    median_ms,
    rate,
    reached,
    seconds_to_first_step,
    tell,
)

SCHEMA = """
create table run(
  key integer primary key, id text unique, flow text, arguments blob, status text, lease integer, head integer
);
create table event(
  run integer, seq integer, kind text, name text, data blob, at real, primary key(run, seq)
) without rowid;
"""
NEXT_STEP = """
insert into event
select r.key, ?1, 'answer', null, ?2, ?3 from run r where r.key = ?4 and r.lease = ?5
union all
select r.key, ?1 + 1, 'ask', 'add', ?6, ?3 from run r where r.key = ?4 and r.lease = ?5
"""
LAST_STEP = """
insert into event
select r.key, ?1, 'answer', null, ?2, ?3 from run r where r.key = ?4 and r.lease = ?5
union all
select r.key, ?1 + 1, 'completed', null, ?2, ?3 from run r where r.key = ?4 and r.lease = ?5
"""
LEASE = 7


class Log:
    """A file with one run table and one event table."""

    def __init__(self, path: Path, durability: str) -> None:
        self.sql = sqlite.connect(str(path), isolation_level=None)
        self.sql.execute("pragma journal_mode = wal")
        self.sql.execute(f"pragma synchronous = {'full' if durability == 'full' else 'normal'}")
        if not self.sql.execute("select count(*) from sqlite_master").fetchone()[0]:
            self.sql.executescript(SCHEMA)

    def start(self, id: str, steps: int) -> int:
        """A new run and its first event: one commit."""
        self.sql.execute("begin immediate")
        key = self.sql.execute(
            "insert into run values (null, ?, 'count', ?, 'pending', null, 1) returning key", (id, json.dumps([steps]))
        ).fetchone()[0]
        self.sql.execute("insert into event values (?, 1, 'started', 'count', ?, ?)", (key, "[]", time.time()))
        self.sql.execute("commit")
        return int(key)

    def claim(self, key: int) -> None:
        """The lease and the first ask: one commit."""
        self.sql.execute("begin immediate")
        self.sql.execute("update run set lease = ?, status = 'running' where key = ?", (LEASE, key))
        self.sql.execute("insert into event values (?, 2, 'ask', 'add', '[0]', ?)", (key, time.time()))
        self.sql.execute("commit")

    def step(self, key: int, seq: int, total: int) -> None:
        """The answer of a step with the ask of the next: one commit, one statement."""
        data = json.dumps(total)
        self.sql.execute("begin immediate")
        self.sql.execute(NEXT_STEP, (seq, data, time.time(), key, LEASE, f"[{data}]"))
        self.sql.execute("commit")

    def end(self, key: int, seq: int, total: int) -> None:
        """The answer of the last step with the end of the run: one commit."""
        self.sql.execute("begin immediate")
        self.sql.execute(LAST_STEP, (seq, json.dumps(total), time.time(), key, LEASE))
        self.sql.execute("update run set status = 'completed', lease = null, head = ? where key = ?", (seq + 1, key))
        self.sql.execute("commit")

    def carry(self, key: int, steps: int) -> None:
        """All commits of a run from its claim to its end."""
        self.claim(key)
        for done in range(1, steps):
            self.step(key, 1 + 2 * done, done)
        self.end(key, 1 + 2 * steps, steps)


def sequential(path: Path, durability: str) -> float:
    log, steps = Log(path, durability), 5_000 if durability == "process" else 1_000
    log.carry(log.start("warm", 100), 100)
    return rate(steps, lambda: log.carry(log.start("id-1", steps), steps))


def many_runs(path: Path, durability: str) -> float:
    log = Log(path, durability)

    def work() -> None:
        keys = [log.start(f"id-{number}", RUN_STEPS) for number in range(RUNS)]
        for key in keys:
            log.carry(key, RUN_STEPS)

    return rate(RUNS, work)


def one_step(path: Path, durability: str) -> float:
    """Three commits: start, claim with ask, answer with end."""
    log, ids = Log(path, durability), iter(range(ONE_STEP_RUNS))
    return median_ms(ONE_STEP_RUNS, lambda: log.carry(log.start(f"id-{next(ids)}", 1), 1))


def _crash(path: Path, durability: str, steps: int) -> float:
    log = Log(path, durability)
    key = log.start("killed", steps + 1)
    log.claim(key)
    for done in range(1, steps + 1):
        log.step(key, 1 + 2 * done, done)
    reached(int(os.environ["BENCH_CRASH_AT"]))
    raise AssertionError("still alive")


def _resume(path: Path, durability: str, steps: int) -> float:
    began = time.perf_counter()
    log = Log(path, durability)
    key = log.sql.execute("update run set lease = ? where id = 'killed' returning key", (LEASE,)).fetchone()[0]
    rows = log.sql.execute("select kind, name, data from event where run = ? order by seq", (key,))
    answers = [json.loads(data) for kind, _, data in rows if kind == "answer"]
    assert len(answers) == steps
    reached(steps)
    return seconds_to_first_step(began)


MEASUREMENTS: dict[str, Measurement] = {
    "sequential": sequential,
    "many_runs": many_runs,
    "one_step": one_step,
    "long_crash": lambda path, durability: _crash(path, durability, LONG_STEPS),
    "long_resume": lambda path, durability: _resume(path, durability, LONG_STEPS) * 1000,
    "short_crash": lambda path, durability: _crash(path, durability, SHORT_STEPS),
    "short_resume": lambda path, durability: _resume(path, durability, SHORT_STEPS),
}


def main() -> None:
    tell(MEASUREMENTS)
