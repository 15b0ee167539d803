"""durable_nb at work, through its front door only (the replay row excepted, which measures the engine alone)."""

import asyncio
import os
import time
from pathlib import Path

from durable_nb import App, connect, flow, gather, runs, signal, step
from durable_nb.runtime.rehearsal import rehearse
from tests.bench import contender
from tests.bench.contender import (
    BRANCH_STEPS,
    BRANCHES,
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
    median_ms,
    rate,
    scaled,
    seconds_to_first_step,
    tell,
)
from tests.bench.ours_cells import CELL_MEASUREMENTS
from tests.bench.ours_values import VALUE_MEASUREMENTS


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


@step
def add_passing(number: int) -> int:
    contender.passed()
    return number + 1


@flow
def count_passing(steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = add_passing(total)
    return total


@flow
def fan(steps: int) -> int:
    return sum(gather(add.spawn(number) for number in range(steps)).result())


@flow
def waiting() -> None:
    signal("go").result()
    contender.went_on()


@step
async def add_async(number: int) -> int:
    return number + 1


async def branch(total: int) -> int:
    for _ in range(BRANCH_STEPS):
        total = await add_async(total)
    return total


@flow
async def branches() -> int:
    return sum(await asyncio.gather(*(branch(number) for number in range(BRANCHES))))


def sequential(path: Path, durability: str) -> float:
    """Steps per second of one run carried on this thread."""
    steps = scaled(5_000 if durability == "process" else 1_000)
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
            outcome, wrong = rehearse(rows, count, record, app.values)
            assert wrong is None
            assert getattr(outcome, "value", None) == LONG_STEPS

        work()
        return rate(len(rows), work)


def fan_out(path: Path, durability: str) -> float:
    """Steps per second of one run that spawns them all at once and gathers them."""
    with connect(str(path), durability=durability):
        fan["warm"](20)
        return rate(FAN_OUT, lambda: fan["id-1"](FAN_OUT))


def signal_inside(path: Path, durability: str) -> float:
    """From signal() to the flow's next line, in this process."""
    news = contender.news_of_this_process()
    with connect(str(path), durability=durability) as app:
        _wait_all(app, SIGNALS)
        return contender.signal_ms(range(SIGNALS), lambda number: runs[f"id-{number}"].signal("go"), news)


def signal_across(path: Path, durability: str) -> float:
    """The same from another process that carries nothing."""
    with (
        contender.carrying("tests.bench.ours", path, durability) as news,
        connect(str(path), durability=durability, carry=False),
    ):
        return contender.signal_ms(range(SIGNALS), lambda number: runs[f"id-{number}"].signal("go"), news)


def carry_waiting(path: Path, durability: str) -> None:
    with connect(str(path), durability=durability) as app:
        _wait_all(app, SIGNALS)
        contender.stay()


def _wait_all(app: App, number: int) -> None:
    waiting.start_many((f"id-{n}", ()) for n in range(number))
    contender.until(lambda: app.store.counts().get("waiting", 0) == number)


def waiting_starts(path: Path, durability: str) -> float:
    """Starts per second by start_many, while they are carried to their waits."""
    with connect(str(path), durability=durability):
        return rate(WAITING, lambda: waiting.start_many(() for _ in range(WAITING)))


def waiting_until(path: Path, durability: str) -> float:
    """Seconds from the first start until all of them wait."""
    with connect(str(path), durability=durability) as app:
        return WAITING / rate(WAITING, lambda: _wait_all(app, WAITING))


def waiting_memory(path: Path, durability: str) -> float:
    """Megabytes that so many waiting runs take in the process that carries them."""
    with connect(str(path), durability=durability) as app:
        count["warm"](RUN_STEPS)
        return contender.grown_mb(lambda: _wait_all(app, WAITING))


def replay_branches(path: Path, durability: str) -> float:
    """Events per second of the engine alone, an async flow with many branches."""
    with connect(str(path), durability=durability) as app:
        right = branches["wide"].start().result()
        record = app.client.record("wide")
        rows = app.store.history(record.key)

        def work() -> None:
            outcome, wrong = rehearse(rows, branches, record, app.values)
            assert wrong is None, wrong
            assert getattr(outcome, "value", None) == right

        work()
        return rate(len(rows), work)


def cost(path: Path, durability: str) -> float:
    """How many times as much the last steps of a huge run cost as the first."""
    with connect(str(path), durability=durability):
        count["warm"](1_000)
        count_passing["huge"](HUGE_STEPS)
        return contender.growth()


MEASUREMENTS: dict[str, Measurement] = {
    "sequential": sequential,
    "many_runs": many_runs,
    "one_step": one_step,
    "replay": replay,
    "fan_out": fan_out,
    "signal_inside": signal_inside,
    "signal_across": signal_across,
    "waiting_starts": waiting_starts,
    "waiting_until": waiting_until,
    "waiting_memory": waiting_memory,
    "replay_branches": replay_branches,
    "cost": cost,
    "huge_crash": lambda path, durability: _crash(path, durability, HUGE_STEPS),
    "huge_resume": lambda path, durability: _resume(path, durability, HUGE_STEPS) * 1000,
    "long_crash": lambda path, durability: _crash(path, durability, LONG_STEPS),
    "long_resume": lambda path, durability: _resume(path, durability, LONG_STEPS) * 1000,
    "short_crash": lambda path, durability: _crash(path, durability, SHORT_STEPS),
    "short_resume": lambda path, durability: _resume(path, durability, SHORT_STEPS),
    **CELL_MEASUREMENTS,
    **VALUE_MEASUREMENTS,
}


def main() -> None:
    tell(MEASUREMENTS)
