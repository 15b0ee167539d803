"""The same work by duroxide on SQLite, at the best settings found for each row.

A poll of 1 ms and one dispatcher each for latency (as shipped: 100 ms per step), its own defaults for throughput. Its
SQLite store always runs at NORMAL, so its figures in the "full" rows are not what "full" promises. Every turn replays
the history: 1,000 sequential steps took 19 s here, so its sequential rows use 100 steps and the row of 10,000 events is
left out.
"""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from duroxide import ActivityContext, Client, OrchestrationContext, Runtime, RuntimeOptions, SqliteProvider

from tests.bench.contender import (
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

SEQUENTIAL_STEPS = 100
FOREVER_MS = 240_000
QUICK: dict[str, int] = {"dispatcher_poll_interval_ms": 1, "orchestration_concurrency": 1, "worker_concurrency": 1}


def add(context: ActivityContext, number: int) -> int:
    return number + 1


def count(context: OrchestrationContext, steps: int) -> Generator[Any, Any, int]:
    total = 0
    for _ in range(steps):
        total = yield context.schedule_activity("add", total)
    return total


def add_or_die(context: ActivityContext, number: int) -> int:
    reached(number)
    return number + 1


def fragile(context: OrchestrationContext, steps: int) -> Generator[Any, Any, int]:
    total = 0
    for _ in range(steps):
        total = yield context.schedule_activity("add_or_die", total)
    return total


class Engine:
    """A runtime and a client on one file."""

    def __init__(self, path: Path, options: dict[str, int]) -> None:
        provider = SqliteProvider.open(str(path))
        self.client = Client(provider)
        self.runtime = Runtime(provider, RuntimeOptions(**options))
        self.runtime.register_activity("add", add)
        self.runtime.register_activity("add_or_die", add_or_die)
        self.runtime.register_orchestration("count", count)
        self.runtime.register_orchestration("fragile", fragile)
        self.runtime.start()

    def result(self, id: str, expected: int) -> None:
        outcome = self.client.wait_for_orchestration(id, FOREVER_MS)
        assert (outcome.status, outcome.output) == ("Completed", expected), (outcome.status, outcome.error)

    def run(self, id: str, steps: int) -> None:
        self.client.start_orchestration(id, "count", steps)
        self.result(id, steps)


def sequential(path: Path, durability: str) -> float:
    engine = Engine(path, QUICK)
    engine.run("warm", 3)
    return rate(SEQUENTIAL_STEPS, lambda: engine.run("id-1", SEQUENTIAL_STEPS))


def many_runs(path: Path, durability: str) -> float:
    engine = Engine(path, {})
    engine.run("warm", 3)

    def work() -> None:
        for number in range(RUNS):
            engine.client.start_orchestration(f"id-{number}", "count", RUN_STEPS)
        for number in range(RUNS):
            engine.result(f"id-{number}", RUN_STEPS)

    return rate(RUNS, work)


def one_step(path: Path, durability: str) -> float:
    engine, ids = Engine(path, QUICK), iter(range(1_000))
    engine.run("warm", 3)
    return median_ms(30, lambda: engine.run(f"id-{next(ids)}", 1))


def short_crash(path: Path, durability: str) -> float:
    engine = Engine(path, QUICK)
    engine.client.start_orchestration("killed", "fragile", SHORT_STEPS + 1)
    engine.result("killed", SHORT_STEPS + 1)
    raise AssertionError("still alive")


def short_resume(path: Path, durability: str) -> float:
    """Its work items stay locked for 30 s after a kill."""
    began = time.perf_counter()
    Engine(path, QUICK).result("killed", SHORT_STEPS + 1)
    return seconds_to_first_step(began)


MEASUREMENTS: dict[str, Measurement] = {
    "sequential": sequential,
    "many_runs": many_runs,
    "one_step": one_step,
    "short_crash": short_crash,
    "short_resume": short_resume,
}


def main() -> None:
    tell(MEASUREMENTS)
