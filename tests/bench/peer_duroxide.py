"""The same work by duroxide on SQLite, at the best settings found for each row.

A poll of 1 ms and one dispatcher each for latency (as shipped: 100 ms per step), its own defaults for throughput. Its
SQLite store always runs at NORMAL, so its figures in the "full" rows are not what "full" promises. Every turn replays
the history: 1,000 sequential steps took 19 s here, so its sequential rows use 100 steps and the row of 10,000 events is
left out.
"""

import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from duroxide import ActivityContext, Client, OrchestrationContext, Runtime, RuntimeOptions, SqliteProvider

from tests.bench import contender
from tests.bench.contender import (
    FAN_OUT,
    RUN_STEPS,
    RUNS,
    SHORT_STEPS,
    SIGNALS,
    WAITING,
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


def fan(context: OrchestrationContext, steps: int) -> Generator[Any, Any, int]:
    answers = yield context.all([context.schedule_activity("add", number) for number in range(steps)])
    assert len(answers) == steps
    return steps


_begun = threading.Semaphore(0)


def waiting(context: OrchestrationContext, nothing: None) -> Generator[Any, Any, None]:
    """It waits from its first turn on; what it does before is done again in each further turn."""
    _begun.release()
    yield context.wait_for_event("go")
    contender.went_on()


class Engine:
    """A runtime and a client on one file."""

    def __init__(self, path: Path, options: dict[str, int]) -> None:
        provider = SqliteProvider.open(str(path))
        self.client = Client(provider)
        self.runtime = Runtime(provider, RuntimeOptions(**options))
        self.runtime.register_activity("add", add)
        self.runtime.register_activity("add_or_die", add_or_die)
        self.runtime.register_orchestration("count", count)
        self.runtime.register_orchestration("fan", fan)
        self.runtime.register_orchestration("waiting", waiting)
        self.runtime.register_orchestration("fragile", fragile)
        self.runtime.start()

    def result(self, id: str, expected: int) -> None:
        outcome = self.client.wait_for_orchestration(id, FOREVER_MS)
        assert (outcome.status, outcome.output) == ("Completed", expected), (outcome.status, outcome.error)

    def start_waiting(self, number: int) -> None:
        for each in range(number):
            self.client.start_orchestration(f"id-{each}", "waiting", None)

    def wait_all(self, number: int) -> None:
        """Until each has come to its wait; 0.1 s more for the commit of the last."""
        self.start_waiting(number)
        for _ in range(number):
            _begun.acquire()
        time.sleep(0.1)

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


def fan_out(path: Path, durability: str) -> float:
    engine = Engine(path, {"dispatcher_poll_interval_ms": 1})
    engine.run("warm", 3)

    def work() -> None:
        engine.client.start_orchestration("fan", "fan", FAN_OUT)
        engine.result("fan", FAN_OUT)

    return rate(FAN_OUT, work)


def signal_inside(path: Path, durability: str) -> float:
    news = contender.news_of_this_process()
    engine = Engine(path, QUICK)
    engine.wait_all(SIGNALS)
    return contender.signal_ms(range(SIGNALS), lambda n: engine.client.raise_event(f"id-{n}", "go", None), news)


def signal_across(path: Path, durability: str) -> float:
    with contender.carrying("tests.bench.peer_duroxide", path, durability) as news:
        client = Client(SqliteProvider.open(str(path)))
        return contender.signal_ms(range(SIGNALS), lambda n: client.raise_event(f"id-{n}", "go", None), news)


def carry_waiting(path: Path, durability: str) -> None:
    Engine(path, QUICK).wait_all(SIGNALS)
    contender.stay()


def waiting_starts(path: Path, durability: str) -> float:
    engine = Engine(path, {})
    return rate(WAITING, lambda: engine.start_waiting(WAITING))


def waiting_until(path: Path, durability: str) -> float:
    engine = Engine(path, {})
    return WAITING / rate(WAITING, lambda: engine.wait_all(WAITING))


def waiting_memory(path: Path, durability: str) -> float:
    engine = Engine(path, {})
    engine.run("warm", 3)
    return contender.grown_mb(lambda: engine.wait_all(WAITING))


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
    "fan_out": fan_out,
    "signal_inside": signal_inside,
    "signal_across": signal_across,
    "waiting_starts": waiting_starts,
    "waiting_until": waiting_until,
    "waiting_memory": waiting_memory,
    "short_crash": short_crash,
    "short_resume": short_resume,
}


def main() -> None:
    tell(MEASUREMENTS)
