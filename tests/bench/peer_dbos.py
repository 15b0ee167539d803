"""The same work by DBOS on SQLite, at the best settings found: WAL with NORMAL or FULL through an engine of our own.

As shipped DBOS uses a rollback journal with FULL, which is slower in every row.
"""

import time
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, SetWorkflowID

from tests.bench.contender import (
    LONG_STEPS,
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

SEQUENTIAL_STEPS = 300


@DBOS.step()
def add(number: int) -> int:
    return number + 1


@DBOS.workflow()
def count(steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = add(total)
    return total


@DBOS.step()
def add_or_die(number: int) -> int:
    reached(number)
    return number + 1


@DBOS.workflow()
def fragile(steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = add_or_die(total)
    return total


def launch(path: Path, durability: str) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")

    @sqlalchemy.event.listens_for(engine, "connect")
    def _settings(connection: Any, record: Any) -> None:
        connection.execute("pragma busy_timeout = 30000")
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {'full' if durability == 'full' else 'normal'}")

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "system_database_engine": engine,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()


def sequential(path: Path, durability: str) -> float:
    launch(path, durability)
    count(10)
    return rate(SEQUENTIAL_STEPS, lambda: count(SEQUENTIAL_STEPS))


def many_runs(path: Path, durability: str) -> float:
    launch(path, durability)
    count(RUN_STEPS)

    def work() -> None:
        handles = [DBOS.start_workflow(count, RUN_STEPS) for _ in range(RUNS)]
        assert all(handle.get_result() == RUN_STEPS for handle in handles)

    return rate(RUNS, work)


def one_step(path: Path, durability: str) -> float:
    launch(path, durability)
    count(RUN_STEPS)
    return median_ms(50, lambda: DBOS.start_workflow(count, 1).get_result())


def _crash(path: Path, durability: str, steps: int) -> float:
    launch(path, durability)
    with SetWorkflowID("killed"):
        fragile(steps + 1)
    raise AssertionError("still alive")


def _resume(path: Path, durability: str, steps: int) -> float:
    began = time.perf_counter()
    launch(path, durability)
    assert DBOS.retrieve_workflow("killed").get_result() == steps + 1
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
