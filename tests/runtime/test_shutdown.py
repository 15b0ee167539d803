"""The end of an app: in time, in order, and nothing afterwards. Also the ends nobody asked for: exit and fork."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_nb import App, ForkedProcess, LogClosed, connect, current_step, flow, runs, sleep, step
from durable_nb.history.events import Raised, Returned, StepAsked, TimerAsked

PATIENCE = 60.0
BOUND = 0.4  # seconds given to a close that cannot be clean
SLACK = 30.0  # seconds within which "at once" is believed on a busy machine
LEDGER: list[int] = []
_inside = threading.Event()
_gate = threading.Event()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    LEDGER.clear()
    _inside.clear()
    _gate.clear()
    yield
    _gate.set()
    no_thread_is_left()


@step(name="shutdown.hang")
def hang() -> int:
    """The first attempt waits for the gate, and does not listen."""
    attempt = current_step().attempt
    LEDGER.append(attempt)
    _inside.set()
    if attempt == 1:
        _gate.wait(PATIENCE)
    return attempt


@step(name="shutdown.hang_on_loop")
async def hang_on_loop() -> int:
    attempt = current_step().attempt
    LEDGER.append(attempt)
    _inside.set()
    if attempt == 1:
        await asyncio.Event().wait()
    return attempt


@step(name="shutdown.listen")
def listen() -> int:
    """Ends as soon as it is told that nobody waits any more."""
    LEDGER.append(current_step().attempt)
    _inside.set()
    while not current_step().cancelled:
        _gate.wait(0.001)
    return 5


@step(name="shutdown.count")
def count(n: int) -> int:
    LEDGER.append(n)
    return n


@flow(name="shutdown.in_place")
def in_place() -> int:
    return count(hang())


@flow(name="shutdown.elsewhere")
def elsewhere() -> int:
    return count(hang.options(timeout=PATIENCE)())


@flow(name="shutdown.spawned")
def spawned() -> int:
    return count(hang.spawn().result())


@flow(name="shutdown.asynchronous")
def asynchronous() -> int:
    return count(hang_on_loop.spawn().result())


@flow(name="shutdown.listening")
def listening() -> int:
    return count(listen.spawn().result())


@flow(name="shutdown.counting")
def counting(times: int) -> int:
    return sum(count(n) for n in range(times))


@flow(name="shutdown.sleeper")
def sleeper() -> int:
    sleep("1h")
    return 1


def no_thread_is_left() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("durable-"):
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread


def seconds_of(action: Callable[[], Any]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


# in time


def test_idle_app_closes_at_once_and_leaves_no_thread(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    assert counting(3) == 3
    assert elsewhere.start().id
    assert _inside.wait(PATIENCE)
    _gate.set()
    assert counting.start(4).result(PATIENCE) == 6
    assert seconds_of(lambda: app.close(10 * SLACK)) < SLACK
    no_thread_is_left()


def test_app_that_waits_for_a_timer_closes_at_once(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    run = sleeper["r"].start()
    next(event for event in run.follow() if isinstance(event, TimerAsked))
    assert seconds_of(lambda: app.close(10 * SLACK)) < SLACK
    with connect(tmp_path / "a.durable.db", carry=False):
        assert runs["r"].status == "waiting"


@pytest.mark.parametrize("hanging", [in_place, elsewhere, spawned, asynchronous])
def test_close_is_bounded_when_a_step_hangs_and_another_app_goes_on_at_once(hanging: Any, tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    hanging["r"].start()
    assert _inside.wait(PATIENCE)
    assert seconds_of(lambda: app.close(BOUND)) < 5 * (BOUND + 3)
    assert LEDGER == [1]
    with connect(tmp_path / "a.durable.db") as second:
        assert [owner.key for owner in second.store.owners()] == [second.owner()]
        assert runs["r"].result(PATIENCE) == 2
        _gate.set()
        no_step_is_left()
        assert LEDGER == [1, 2, 2]
        answers = [event for event in runs["r"].history if isinstance(event, Returned | Raised)]
        assert [type(answer) for answer in answers] == [Returned, Returned]


def no_step_is_left() -> None:
    """Wait for the bodies that a closed app has left behind."""
    for thread in threading.enumerate():
        if thread.name.startswith("durable-step-"):
            thread.join(PATIENCE)


def test_step_that_ends_within_the_patience_is_written(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    listening["r"].start()
    assert _inside.wait(PATIENCE)
    app.close(PATIENCE)
    with connect(tmp_path / "a.durable.db"):
        assert runs["r"].result(PATIENCE) == 5
    assert LEDGER == [1, 5]


def test_run_is_due_for_everybody_after_a_close_that_was_bounded(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    in_place["r"].start()
    assert _inside.wait(PATIENCE)
    app.close(BOUND)
    with connect(tmp_path / "a.durable.db", carry=False) as looking:
        record = runs["r"].record
        assert (record.status, record.owner) == ("running", None)
        assert looking.store.next_due() == record.ready_at
        assert looking.store.owners() == []


# nothing afterwards


def test_nothing_runs_after_a_close(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db", durability="process")
    begun = [counting[f"r{n}"].start(20) for n in range(50)]
    begun += [spawned.start() for _ in range(3)]
    assert _inside.wait(PATIENCE)
    _gate.set()
    app.close(PATIENCE)
    done = len(LEDGER)
    no_thread_is_left()
    assert len(LEDGER) == done
    with connect(tmp_path / "a.durable.db", durability="process"):
        assert [runs[run.id].result(PATIENCE) for run in begun[:50]] == [190] * 50
    calls = Counter(LEDGER)
    assert {calls[n] for n in range(5, 20)} == {50}  # what was finished was written, so nothing was done twice


def test_close_again_does_nothing(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    app.close()
    app.close()
    with app:
        pass
    assert "(closed)" in repr(app)


def test_threads_that_close_at_once_all_return(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    counting["r"].start(10)
    threads = [threading.Thread(target=app.close) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


AFTER: dict[str, Callable[[App], Any]] = {
    "start": lambda app: runs["r"],
    "flow": lambda app: counting(1),
    "flow.start": lambda app: counting["s"].start(1),
    "record": lambda app: app.record("r"),
    "events": lambda app: app.events("r"),
    "result": lambda app: app.result("r", 1),
    "why": lambda app: app.why("r"),
    "pause": lambda app: app.pause("r"),
    "resume": lambda app: app.resume("r"),
    "retry": lambda app: app.retry("r", False),
    "delete": lambda app: app.delete("r", False),
    "turn": lambda app: app.turn(),
    "follow": lambda app: next(iter(app.follow("r"))),
}


@pytest.mark.parametrize("use", AFTER)
def test_use_after_close_is_refused(use: str, tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    counting["r"](1)
    app.close()
    with pytest.raises(LogClosed):
        AFTER[use](app)


def test_run_of_a_closed_app_is_refused_and_another_open_app_is_not(tmp_path: Path) -> None:
    with connect(tmp_path / "other.durable.db"):
        with connect(tmp_path / "a.durable.db"):
            run = counting["r"].start(1)
        with pytest.raises(LogClosed):
            run.status
        assert counting["r"](3) == 3


def test_wait_for_a_result_ends_when_the_app_is_closed(tmp_path: Path) -> None:
    app = connect(tmp_path / "a.durable.db")
    run = sleeper["r"].start()
    next(event for event in run.follow() if isinstance(event, TimerAsked))
    told: list[BaseException] = []

    def wait() -> None:
        try:
            run.result(PATIENCE)
        except LogClosed as error:
            told.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    app.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert len(told) == 1


# exit and fork


def other_python(function: Callable[..., None], *args: str) -> "subprocess.CompletedProcess[str]":
    call = f"{function.__name__}(*{args!r})"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"from tests.runtime import test_shutdown; test_shutdown.{call}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def exits_while_it_carries(log: str) -> None:
    connect(log)
    in_place["r"].start()
    run = elsewhere["s"].start()
    next(event for event in run.follow() if isinstance(event, StepAsked))  # which begins its first attempt here
    assert _inside.wait(PATIENCE)


def test_process_that_exits_without_close_gives_its_runs_back(tmp_path: Path) -> None:
    log = tmp_path / "a.durable.db"
    done = other_python(exits_while_it_carries, str(log))
    assert (done.returncode, done.stderr) == (0, "")
    with connect(log, carry=False) as app:
        assert app.store.owners() == []
        assert runs["r"].record.owner is None
    with connect(log):
        assert runs["r"].result(PATIENCE) == 2
        assert runs["s"].result(PATIENCE) == 2


def forks_while_it_carries(log: str) -> None:
    app = connect(log)
    in_place["r"].start()
    assert _inside.wait(PATIENCE)
    child = os.fork()
    if not child:
        refused = 0
        for use in (lambda: counting["c"].start(1), lambda: runs["r"], app.turn, lambda: app.record("r")):
            try:
                use()
            except ForkedProcess:
                refused += 1
        app.close(BOUND)
        os._exit(refused)
    status = os.waitpid(child, 0)[1]
    _gate.set()
    print(os.waitstatus_to_exitcode(status), runs["r"].result(PATIENCE), counting["p"](3))
    app.close()


def test_child_of_a_fork_is_refused_while_its_parent_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "a.durable.db"
    done = other_python(forks_while_it_carries, str(log))
    assert (done.stdout, done.stderr, done.returncode) == ("4 1 3\n", "", 0)
    with connect(log, carry=False):
        assert runs["r"].record.lease == 1  # the child's close took nothing from the parent


def forks_under_its_locks(log: str) -> None:
    """The locks are free by chance only: another thread may be just about to begin a thread under one."""
    app = connect(log)
    assert app.runtime is not None
    with app.runtime.carriers._lock, app.runtime.workers._lock, app.runtime.watcher._lock:
        child = os.fork()
        if not child:
            refused = 0
            for use in (lambda: counting["c"].start(1), lambda: counting["c"](1), app.turn):
                try:
                    use()
                except ForkedProcess:
                    refused += 1
            app.close(BOUND)
            os._exit(refused)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), counting["p"](3))


def test_child_of_a_fork_is_refused_whatever_locks_were_held(tmp_path: Path) -> None:
    done = other_python(forks_under_its_locks, str(tmp_path / "a.durable.db"))
    assert (done.stdout, done.stderr, done.returncode) == ("3 3\n", "", 0)


def opens_anew_in_a_child(log: str) -> None:
    app = connect(log)
    counting["before"](3)
    child = os.fork()
    if not child:
        with connect(log) as own:
            assert own.owner() != app.owner()
            assert runs["before"].result() == 3
            os._exit(int(counting["child"](4)))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), runs["child"].result(PATIENCE), counting["parent"](5))


def test_child_of_a_fork_may_open_the_log_itself(tmp_path: Path) -> None:
    done = other_python(opens_anew_in_a_child, str(tmp_path / "a.durable.db"))
    assert (done.stdout, done.stderr, done.returncode) == ("6 6 10\n", "", 0)


def exits_in_a_child(log: str) -> None:
    """The child ends as any Python does: what it runs at exit must neither hang nor touch the parent's log."""
    connect(log)
    in_place["r"].start()
    assert _inside.wait(PATIENCE)
    child = os.fork()
    if not child:
        sys.exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(runs["r"].host.store.owners()))  # type: ignore[attr-defined]
    _gate.set()
    print(runs["r"].result(PATIENCE))


def test_exit_of_a_forked_child_leaves_the_parent_alone(tmp_path: Path) -> None:
    done = other_python(exits_in_a_child, str(tmp_path / "a.durable.db"))
    assert (done.stdout, done.stderr, done.returncode) == ("3 1\n1\n", "", 0)
