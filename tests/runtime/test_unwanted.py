"""Steps that nobody waits for any more are told, in whatever process they run."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durable_nb import RunCancelled, connect, current_step, flow, race, runs, sleep, step, timer

PATIENCE = 60.0
SOON = 1.5  # seconds: one, and what a thread may have to wait for its turn on a busy machine
began: dict[str, threading.Event] = {}
ended: dict[str, threading.Event] = {}
told: dict[str, float] = {}


@step(name="unwanted.work", timeout=PATIENCE)
def work(name: str) -> str:
    """Ends when it is told to, and remembers when that was."""
    here, last = current_step(), time.monotonic() + PATIENCE
    began[name].set()
    while not here.cancelled and time.monotonic() < last:
        threading.Event().wait(0.01)
    if here.cancelled:
        told[name] = time.monotonic()
    ended[name].set()
    return name


@step(name="unwanted.begun")
def begun(name: str) -> float:
    """Runs on the thread of the flow, whose lease nobody else gets meanwhile."""
    assert began[name].wait(PATIENCE)
    return time.monotonic()


@step(name="unwanted.over")
def over(name: str) -> None:
    assert ended[name].wait(PATIENCE)


@flow(name="unwanted.leaving")
def leaving(name: str) -> float:
    work.spawn(name)
    return begun(name)


@flow(name="unwanted.racing")
def racing(name: str) -> float:
    beside = work.spawn(name)
    since = begun(name)
    race(timer(0), beside).result()
    over(name)
    return since


@flow(name="unwanted.calling")
def calling(name: str) -> str:
    return work(name)


@pytest.fixture(autouse=True)
def _empty() -> None:
    for events in (began, ended):
        events.clear()
        events.update({name: threading.Event() for name in ("a", "b", "c")})
    told.clear()


@pytest.mark.parametrize("called", [leaving, racing])
def test_step_in_another_process_is_told_soon_after_its_flow_has_given_it_up(called: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with connect(path, carriers=1, workers=1), connect(path, carriers=0):  # as two processes are to each other
        since = called["a"]("a")  # carried by the second app, which has no workers
        assert ended["a"].wait(PATIENCE)
    assert told["a"] - since < SOON


ENDS: dict[str, Callable[[], object]] = {
    "cancel": lambda: runs["a"].cancel(),
    "terminate": lambda: runs["a"].terminate(),
    "delete": lambda: runs["a"].delete(force=True),
}


@pytest.mark.parametrize("end", ENDS)
def test_step_in_another_process_is_told_soon_after_its_run_was_ended(end: str, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with connect(path, carriers=1, workers=1), connect(path, carriers=0):
        calling["a"].start("a")  # the first app takes it up; what ends it comes from the second one
        assert began["a"].wait(PATIENCE)
        since = time.monotonic()
        ENDS[end]()
        assert ended["a"].wait(PATIENCE)
    assert told["a"] - since < SOON


def test_step_that_its_flow_waits_for_is_left_alone(tmp_path: Path) -> None:
    with connect(tmp_path / "log.db", carriers=1, workers=2) as app:
        calling["a"].start("a")
        leaving["b"].start("b")
        assert ended["b"].wait(PATIENCE)
        assert began["a"].wait(PATIENCE)
        assert app.runtime is not None
        app.runtime.workers.heed()
        assert list(told) == ["b"]
        runs["a"].terminate()
        assert ended["a"].wait(PATIENCE)
        assert list(told) == ["b", "a"]


def test_step_that_is_given_up_before_a_worker_is_free_never_begins(tmp_path: Path) -> None:
    with connect(tmp_path / "log.db", carriers=1, workers=1):
        calling["a"].start("a")
        assert began["a"].wait(PATIENCE)  # and keeps the only worker
        began["b"].set()  # `leaving` shall not wait for its step
        leaving["b"]("b")
        began["b"].clear()
        runs["a"].terminate()
        began["c"].set()
        assert leaving["c"].start("c").result(PATIENCE) > 0
        assert ended["c"].wait(PATIENCE)
    assert not began["b"].is_set()


@step(name="unwanted.listens")
def listens() -> str:
    _listening.set()
    until = time.monotonic() + PATIENCE
    while not current_step().cancelled:
        assert time.monotonic() < until, "nobody told the step"
    return "heard"


@flow(name="unwanted.in_place")
def in_place() -> str:
    heard = listens()
    sleep("1h")
    return heard


_listening = threading.Event()


def test_a_step_on_the_thread_of_its_flow_hears_of_a_cancel(tmp_path: Path) -> None:
    _listening.clear()
    with connect(tmp_path / "log.db") as app:
        run = in_place["a"].start()
        assert _listening.wait(PATIENCE)
        run.cancel("enough")
        with pytest.raises(RunCancelled, match="enough"):
            run.result(PATIENCE)
        returned = [row for row in app.store.history(app.store.run("a").key) if row.kind == "returned"]
        assert [row.data for row in returned] == [b'{"json":"heard"}']
