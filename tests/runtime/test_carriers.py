"""Bounded threads: long steps lend their places, the bound on flow code holds, waiting runs hold no thread."""

import threading
from pathlib import Path

import pytest

from durable_nb import connect, flow, sleep, step
from durable_nb.app import App

gate = threading.Event()
inside = threading.Semaphore(0)


@step
def block() -> None:
    inside.release()
    assert gate.wait(60)


@step
def pass_by() -> int:
    return 1


@flow
def blocking() -> None:
    block()


@flow
def passing() -> int:
    return pass_by()


@flow
def waiting() -> None:
    sleep("1h")


def test_a_run_goes_on_while_every_carrier_is_in_a_long_step(tmp_path: Path) -> None:
    gate.clear()
    with connect(tmp_path / "a.durable.db", carriers=2, workers=8, durability="process"):
        blocked = [blocking.start() for _ in range(5)]
        for _ in blocked:
            assert inside.acquire(timeout=60)
        assert passing.start().result(60) == 1
        gate.set()
        for run in blocked:
            run.result(60)


def test_threads_are_bounded_by_carriers_and_workers(tmp_path: Path) -> None:
    gate.clear()
    with connect(tmp_path / "a.durable.db", carriers=1, workers=2, durability="process"):
        runs = [blocking.start() for _ in range(6)]
        for _ in range(3):
            assert inside.acquire(timeout=60)
        assert not inside.acquire(timeout=0.3)
        gate.set()
        for run in runs:
            run.result(60)
        for _ in range(3):
            assert inside.acquire(timeout=60)


def test_waiting_runs_hold_no_thread(tmp_path: Path) -> None:
    with connect(tmp_path / "a.durable.db", carriers=2, durability="process") as app:
        runs = [waiting.start() for _ in range(20)]
        _until_all_wait(app, len(runs))
        carriers = [thread for thread in threading.enumerate() if thread.name.startswith("durable-carrier")]
        assert len(carriers) <= 2


def _until_all_wait(app: App, number: int) -> None:
    deadline = threading.Event()
    for _ in range(600):
        if app.store.counts().get("waiting") == number:
            return
        deadline.wait(0.1)
    raise AssertionError(app.store.counts())


def test_a_waiting_run_gives_its_thread_at_once_to_one_that_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_nb.runtime.lease.PATIENCE", 60.0)
    with connect(tmp_path / "a.durable.db", carriers=1, durability="process"):
        begun = waiting.start_many(() for _ in range(40))
        begun += [waiting.start() for _ in range(10)]
        assert passing.start().result(20) == 1
        told = [run.status for run in begun]
    assert set(told[:-1]) == {"waiting"}


def test_a_run_that_already_waits_in_place_gives_way_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable_nb.runtime.lease.PATIENCE", 60.0)
    with connect(tmp_path / "a.durable.db", carriers=1, durability="process") as app:
        for _ in range(100):  # one may have given way already, to what was looked for after its start
            alone = waiting.start()
            next(event for event in alone.follow() if event.__class__.__name__ == "TimerAsked")
            if app.record(alone.id).owner is not None:
                break
        else:
            raise AssertionError("no run waits in place")
        assert passing.start().result(20) == 1
