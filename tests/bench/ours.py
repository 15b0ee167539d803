"""durable_nb at work, through its front door only (the replay row excepted, which measures the engine alone)."""

import os
import time
from pathlib import Path

from durable_nb import connect, flow, step
from durable_nb.runtime.rehearsal import rehearse
from tests.bench import contender
from tests.bench.contender import (
    LONG_STEPS,
    ONE_STEP_RUNS,
    RUN_STEPS,
    RUNS,
    SHORT_STEPS,
    Measurement,
    median_ms,
    rate,
    seconds_to_first_step,
    tell,
)


@step
def add(number: int) -> int:
    return number + 1


@flow
def count(steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = add(total)
    return total


@step
def add_or_die(number: int) -> int:
    contender.reached(number)
    return number + 1


@flow
def fragile(steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = add_or_die(total)
    return total


def sequential(path: Path, durability: str) -> float:
    """Steps per second of one run carried on this thread."""
    steps = 5_000 if durability == "process" else 1_000
    with connect(str(path), durability=durability):
        count["warm"](100)
        return rate(steps, lambda: count["id-1"](steps))


def many_runs(path: Path, durability: str) -> float:
    """Runs per second, all started in the background, then awaited."""
    with connect(str(path), durability=durability):
        count["warm"](RUN_STEPS)

        def work() -> None:
            runs = [count.start(RUN_STEPS) for _ in range(RUNS)]
            assert all(run.result() == RUN_STEPS for run in runs)

        return rate(RUNS, work)


def one_step(path: Path, durability: str) -> float:
    """From start to result of a run with one step, in the same process, in milliseconds."""
    with connect(str(path), durability=durability):
        count["warm"](RUN_STEPS)
        return median_ms(ONE_STEP_RUNS, lambda: count.start(1).result())


def _crash(path: Path, durability: str, steps: int) -> float:
    with connect(str(path), durability=durability):
        fragile["killed"](steps + 1)
    raise AssertionError(f"still alive; BENCH_CRASH_AT={os.environ.get('BENCH_CRASH_AT')}")


def _resume(path: Path, durability: str, steps: int) -> float:
    began = time.perf_counter()
    with connect(str(path), durability=durability):
        assert fragile["killed"](steps + 1) == steps + 1
    return seconds_to_first_step(began)


def replay(path: Path, durability: str) -> float:
    """Events per second of the engine alone: a finished history run through the flow's code again."""
    with connect(str(path), durability=durability) as app:
        count["long"](LONG_STEPS)
        record = app.client.record("long")
        rows = app.store.history(record.key)

        def work() -> None:
            outcome, wrong = rehearse(rows, count, record.id, record.uid, app.values)
            assert wrong is None
            assert getattr(outcome, "value", None) == LONG_STEPS

        work()
        return rate(len(rows), work)


MEASUREMENTS: dict[str, Measurement] = {
    "sequential": sequential,
    "many_runs": many_runs,
    "one_step": one_step,
    "replay": replay,
    "long_crash": lambda path, durability: _crash(path, durability, LONG_STEPS),
    "long_resume": lambda path, durability: _resume(path, durability, LONG_STEPS) * 1000,
    "short_crash": lambda path, durability: _crash(path, durability, SHORT_STEPS),
    "short_resume": lambda path, durability: _resume(path, durability, SHORT_STEPS),
}


def main() -> None:
    tell(MEASUREMENTS)
