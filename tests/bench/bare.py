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
    FAN_OUT,
    HUGE_STEPS,
    LONG_STEPS,
    ONE_STEP_RUNS,
    RUN_STEPS,
    RUNS,
    SHORT_STEPS,
    SIGNALS,
    WAITING,
    Measurement,
    growth,
    median_ms,
    passed,
    rate,
    reached,
    scaled,
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

    def fan_out(self, key: int, steps: int) -> None:
        """All asks in one commit, then one commit for each answer."""
        self.sql.execute("begin immediate")
        asks = [(key, 2 + n, f"[{n}]", time.time()) for n in range(steps)]
        self.sql.executemany("insert into event values (?, ?, 'ask', 'add', ?, ?)", asks)
        self.sql.execute("commit")
        for n in range(steps):
            self.answer(key, 2 + steps + n)

    def answer(self, key: int, seq: int) -> None:
        """One row in one commit."""
        self.sql.execute("begin immediate")
        self.sql.execute("insert into event values (?, ?, 'answer', null, '1', ?)", (key, seq, time.time()))
        self.sql.execute("commit")

    def carry(self, key: int, steps: int) -> None:
        """All commits of a run from its claim to its end."""
        self.claim(key)
        for done in range(1, steps):
            self.step(key, 1 + 2 * done, done)
        self.end(key, 1 + 2 * steps, steps)


def sequential(path: Path, durability: str) -> float:
    log, steps = Log(path, durability), scaled(5_000 if durability == "process" else 1_000)
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


def fan_out(path: Path, durability: str) -> float:
    log = Log(path, durability)
    log.carry(log.start("warm", 20), 20)
    return rate(FAN_OUT, lambda: log.fan_out(log.start("id-1", FAN_OUT), FAN_OUT))


def signal_inside(path: Path, durability: str) -> float:
    """Two commits: the signal, and what the run made of it; a cell that begins, and what came of it."""
    log = Log(path, durability)
    key, numbers = log.start("id-1", 1), iter(range(2, 2 + 2 * SIGNALS, 2))

    def work() -> None:
        number = next(numbers)
        log.answer(key, number)
        log.answer(key, number + 1)

    return median_ms(SIGNALS, work)


def waiting_starts(path: Path, durability: str) -> float:
    """One commit for 500 runs, a run row and an event each."""
    log = Log(path, durability)

    def work() -> None:
        for first in range(0, WAITING, 500):
            keys = range(first + 1, min(first + 500, WAITING) + 1)
            log.sql.execute("begin immediate")
            log.sql.executemany(
                "insert into run values (?, ?, 'waiting', '[]', 'pending', null, 1)", [(key, f"~{key}") for key in keys]
            )
            log.sql.executemany(
                "insert into event values (?, 1, 'started', 'waiting', '[]', ?)", [(key, time.time()) for key in keys]
            )
            log.sql.execute("commit")

    return rate(WAITING, work)


def cost(path: Path, durability: str) -> float:
    log = Log(path, durability)
    key = log.start("huge", HUGE_STEPS)
    log.claim(key)
    for done in range(1, HUGE_STEPS):
        passed()
        log.step(key, 1 + 2 * done, done)
    return growth()


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
    "fan_out": fan_out,
    "signal_inside": signal_inside,
    "cells": signal_inside,
    "cells_many": signal_inside,
    "waiting_starts": waiting_starts,
    "cost": cost,
    "huge_crash": lambda path, durability: _crash(path, durability, HUGE_STEPS),
    "huge_resume": lambda path, durability: _resume(path, durability, HUGE_STEPS) * 1000,
    "long_crash": lambda path, durability: _crash(path, durability, LONG_STEPS),
    "long_resume": lambda path, durability: _resume(path, durability, LONG_STEPS) * 1000,
    "short_crash": lambda path, durability: _crash(path, durability, SHORT_STEPS),
    "short_resume": lambda path, durability: _resume(path, durability, SHORT_STEPS),
}


def main() -> None:
    tell(MEASUREMENTS)
