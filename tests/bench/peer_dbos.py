"""The same work by DBOS on SQLite, at the best settings found: WAL with NORMAL or FULL through an engine of our own.

As shipped DBOS uses a rollback journal with FULL, which is slower in every row.
"""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient, SetWorkflowID

from tests.bench import contender
from tests.bench.contender import (
    FAN_OUT,
    LONG_STEPS,
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


@DBOS.step()
async def add_async(number: int) -> int:
    return number + 1


@DBOS.workflow()
async def fan(steps: int) -> int:
    return sum(await asyncio.gather(*(add_async(number) for number in range(steps))))


_begun = threading.Semaphore(0)


@DBOS.workflow()
def waiting() -> None:
    _begun.release()
    DBOS.recv("go", timeout_seconds=600)
    contender.went_on()


def engine_of(path: Path, durability: str) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")

    @sqlalchemy.event.listens_for(engine, "connect")
    def _settings(connection: Any, record: Any) -> None:
        connection.execute("pragma busy_timeout = 30000")
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {'full' if durability == 'full' else 'normal'}")

    return engine


def launch(path: Path, durability: str) -> None:
    """A mailbox is looked at each 10 ms, not once a second as shipped."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "system_database_engine": engine_of(path, durability),
            "notification_listener_polling_interval_sec": 0.01,
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


def fan_out(path: Path, durability: str) -> float:
    launch(path, durability)
    asyncio.run(fan(20))
    return rate(FAN_OUT, lambda: asyncio.run(fan(FAN_OUT)))


def signal_inside(path: Path, durability: str) -> float:
    news = contender.news_of_this_process()
    launch(path, durability)
    _wait_all(SIGNALS)
    return contender.signal_ms(range(SIGNALS), lambda number: DBOS.send(f"id-{number}", "now", "go"), news)


def signal_across(path: Path, durability: str) -> float:
    with contender.carrying("tests.bench.peer_dbos", path, durability) as news:
        url = f"sqlite:///{path}"
        client = DBOSClient(system_database_url=url, system_database_engine=engine_of(path, durability))
        return contender.signal_ms(range(SIGNALS), lambda number: client.send(f"id-{number}", "now", "go"), news)


def carry_waiting(path: Path, durability: str) -> None:
    launch(path, durability)
    _wait_all(SIGNALS)
    contender.stay()


def _start(number: int) -> None:
    for each in range(number):
        with SetWorkflowID(f"id-{each}"):
            DBOS.start_workflow(waiting)


def _wait_all(number: int) -> None:
    """Until each has come to its wait; 0.1 s more for the last to be in it."""
    _start(number)
    for _ in range(number):
        _begun.acquire()
    time.sleep(0.1)


def waiting_starts(path: Path, durability: str) -> float:
    launch(path, durability)
    return rate(WAITING, lambda: _start(WAITING))


def waiting_until(path: Path, durability: str) -> float:
    launch(path, durability)
    return WAITING / rate(WAITING, lambda: _wait_all(WAITING))


def waiting_memory(path: Path, durability: str) -> float:
    launch(path, durability)
    count(RUN_STEPS)
    return contender.grown_mb(lambda: _wait_all(WAITING))


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
    "fan_out": fan_out,
    "signal_inside": signal_inside,
    "signal_across": signal_across,
    "waiting_starts": waiting_starts,
    "waiting_until": waiting_until,
    "waiting_memory": waiting_memory,
    "long_crash": lambda path, durability: _crash(path, durability, LONG_STEPS),
    "long_resume": lambda path, durability: _resume(path, durability, LONG_STEPS) * 1000,
    "short_crash": lambda path, durability: _crash(path, durability, SHORT_STEPS),
    "short_resume": lambda path, durability: _resume(path, durability, SHORT_STEPS),
}


def main() -> None:
    tell(MEASUREMENTS)
