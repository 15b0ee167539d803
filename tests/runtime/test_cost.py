"""What a run costs, counted: transactions, reads of its history, threads that are woken for nothing."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb import connect, flow, step
from durable_nb.app import App
from durable_nb.stores import database
from tests.stores.examples import until

gate = threading.Event()
inside = threading.Semaphore(0)


@step
def plus_one(number: int) -> int:
    return number + 1


@step
def hold_on() -> None:
    inside.release()
    assert gate.wait(60)


@flow
def counted(steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = plus_one(total)
    return total


@flow
def held_up() -> None:
    hold_on()


@pytest.fixture
def commits() -> Iterator[list[str]]:
    """One entry for every transaction from now on."""
    seen: list[str] = []
    database.crash_point = lambda moment: seen.append(moment) if moment == "after commit" else None
    yield seen
    database.crash_point = None


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """Nothing runs in the background."""
    with connect(tmp_path / "a.durable.db", carriers=0, durability="process") as app:
        counted["warm"](1)
        yield app


def test_run_of_n_steps_takes_n_and_two_transactions(app: App, commits: list[str]) -> None:
    # The start, n asks of which each but the first takes the answer before along, and the last answer with the end.
    for steps in (0, 1, 3):
        commits.clear()
        assert counted[f"run-{steps}"](steps) == steps
        assert len(commits) == steps + 2


def test_run_that_is_claimed_takes_one_transaction_more(app: App, commits: list[str]) -> None:
    commits.clear()
    run = counted.start(3)
    while app.turn():
        pass
    assert run.result() == 3
    assert len(commits) == 3 + 2 + 1


def test_history_of_a_run_that_is_born_leased_is_not_read(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.store, "history", None)
    assert counted["run"](3) == 3


def test_runs_of_a_burst_are_born_leased_until_enough_wait(tmp_path: Path) -> None:
    gate.clear()
    with connect(tmp_path / "a.durable.db", carriers=1, workers=0, durability="process") as app:
        assert app.runtime is not None
        until(app.runtime.carriers.has_room)  # the look that follows opening is over
        first = held_up.start()
        assert inside.acquire(timeout=60)
        burst = [counted.start(1) for _ in range(20)]
        records = [app.record(run.id) for run in burst]
        assert [record.status for record in records] == ["running"] * 16 + ["pending"] * 4
        gate.set()
        first.result(60)
        assert [run.result(60) for run in burst] == [1] * 20


def test_start_wakes_a_carrier_and_not_the_watcher(tmp_path: Path) -> None:
    gate.clear()
    told: list[float] = []
    with connect(tmp_path / "a.durable.db", carriers=1, workers=0, durability="process") as app:
        assert app.runtime is not None
        first = held_up.start()
        assert inside.acquire(timeout=60)
        app.runtime.shared.on_due = told.append
        burst = [counted.start(1) for _ in range(20)]
        gate.set()
        first.result(60)
        for run in burst:
            run.result(60)
    assert not told
