"""A process dies, sleeps or loses its lease while it carries a run: who goes on, and who writes nothing more."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from durable_nb import App, RunParked, RunPaused, connect, current_step, flow, runs, sleep, step
from durable_nb.client import ENDED
from durable_nb.history.events import AttemptStarted, Returned
from durable_nb.stores.owners import bytes_of
from durable_nb.stores.shapes import NewMail, WorkRecord
from durable_nb.testing import FakeClock, abandon, run_to_end, run_until_idle

PATIENCE = 60.0
LEDGER: list[tuple[str, int]] = []
_gates: dict[str, threading.Event] = {}


def write(path: str, line: str) -> None:
    with open(path, "a") as ledger:
        ledger.write(line + "\n")


@step(name="takeover.hold")
def hold(ledger: str) -> int:
    """The first attempt says so on stdout and ends when its process is told to on stdin; later ones end at once."""
    attempt = current_step().attempt
    write(ledger, f"hold {current_step().idempotency_key} {attempt}")
    if attempt == 1:
        os.write(1, b"in the step\n")
        os.read(0, 1)
    return attempt


@step(name="takeover.after")
def after(ledger: str, attempt: int) -> int:
    write(ledger, f"after {current_step().attempt}")
    return attempt


@flow(name="takeover.held")
def held(ledger: str) -> int:
    return after(ledger, hold(ledger))


@flow(name="takeover.held_elsewhere")
def held_elsewhere(ledger: str) -> int:
    return after(ledger, hold.options(timeout=PATIENCE)(ledger))


@flow(name="takeover.twice")
def twice(ledger: str) -> int:
    return sum(future.result() for future in [after.spawn(ledger, n) for n in (1, 2)])


@flow(name="takeover.backwards")
def backwards(ledger: str) -> int:
    first, second = [after.spawn(ledger, n) for n in (1, 2)]
    return second.result() + first.result()


@flow(name="takeover.sleeper")
def sleeper(ledger: str) -> int:
    sleep("1h")
    return after(ledger, 7)


def begun(work: WorkRecord) -> NewMail:
    return NewMail("attempt", work.ask, work.attempt, None, None, b'{"attempt":%d}' % work.attempt, "here", False)


@flow(name="takeover.claimed")
def claimed(ledger: str) -> int:
    return after.options(timeout=PATIENCE)(ledger, 7)


FLOWS: dict[str, Any] = {"held": held, "held_elsewhere": held_elsewhere}


def child(log: str, name: str, ledger: str) -> None:
    """What the other process does: carry one run."""
    with connect(log, durability="process"):
        FLOWS[name]["r"].start(ledger).result(PATIENCE)


def child_of_last_year(log: str, name: str, ledger: str) -> None:
    """Its clock stands still, long ago: the run's timer is not due here, and everywhere else it is."""
    with connect(log, durability="process", carriers=0, clock=FakeClock()) as app:
        sleeper["r"].start(ledger)
        run_until_idle(app)
        os.write(1, b"in the step\n")
        os.read(0, 1)


@contextmanager
def other_process(log: Path, name: str, ledger: Path, life: Any = child) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that carries the run, from the moment on at which it is in its step."""
    call = f"{life.__name__}({str(log)!r}, {name!r}, {str(ledger)!r})"
    script = f"from tests.runtime import test_takeover; test_takeover.{call}"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in the step\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


# a dead process


@pytest.mark.parametrize("name", ["held", "held_elsewhere"])
def test_living_process_takes_over_from_a_killed_one(name: str, tmp_path: Path) -> None:
    log, ledger = tmp_path / "a.durable.db", tmp_path / "ledger.txt"
    with other_process(log, name, ledger) as process, connect(log, durability="process"):
        run = runs["r"]
        assert run.status in ("running", "waiting")
        process.kill()
        assert run.result(PATIENCE) == 2
    first, second, last = lines(ledger)
    assert first.removesuffix(" 1") == second.removesuffix(" 2")  # the same idempotency key
    assert last == "after 1"


def test_process_that_opens_the_log_of_a_killed_one_goes_on_at_once(tmp_path: Path) -> None:
    log, ledger = tmp_path / "a.durable.db", tmp_path / "ledger.txt"
    with other_process(log, "held", ledger) as process:
        process.kill()
        process.wait()
    with connect(log, durability="process"):
        assert runs["r"].result(PATIENCE) == 2


def test_timer_of_a_killed_process_fires_in_a_living_one(tmp_path: Path) -> None:
    log, ledger = tmp_path / "a.durable.db", tmp_path / "ledger.txt"
    with other_process(log, "sleeper", ledger, child_of_last_year) as process:
        with connect(log, durability="process"):
            process.kill()
            assert runs["r"].result(PATIENCE) == 7
        assert process.wait() == -signal.SIGKILL


def test_owner_row_of_a_killed_process_is_gone_after_the_takeover(tmp_path: Path) -> None:
    log, ledger = tmp_path / "a.durable.db", tmp_path / "ledger.txt"
    with other_process(log, "held", ledger) as process, connect(log, durability="process") as app:
        process.kill()
        runs["r"].result(PATIENCE)
        assert [owner.pid for owner in app.store.owners()] == [os.getpid()]


def test_pause_that_a_killed_process_had_not_seen_is_followed_by_the_next_one(tmp_path: Path) -> None:
    log, ledger = tmp_path / "a.durable.db", tmp_path / "ledger.txt"
    with other_process(log, "held", ledger) as process, connect(log, carry=False):
        runs["r"].pause()
        assert runs["r"].status == "running"
        process.kill()
    with connect(log, durability="process"):
        with pytest.raises(RunPaused):
            runs["r"].result(PATIENCE)
        assert len(lines(ledger)) == 1
        runs["r"].resume()
        assert runs["r"].result(PATIENCE) == 2


# a process that is stopped


@pytest.mark.parametrize("name", ["held", "held_elsewhere"])
def test_run_of_a_stopped_process_stays_its_own_and_goes_on_with_it(name: str, tmp_path: Path) -> None:
    log, ledger = tmp_path / "a.durable.db", tmp_path / "ledger.txt"
    with (
        other_process(log, name, ledger) as process,
        connect(log, durability="process", carriers=0) as app,
    ):
        record, work = runs["r"].record, app.store.work(runs["r"].record.key)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        for _ in range(100):
            assert not app.turn()
        if name == "held":
            assert runs["r"].record == record
        else:
            assert app.store.work(record.key) == work
        process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.write(b"!")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 0
        assert runs["r"].result(PATIENCE) == 1
    assert [line.split()[0] for line in lines(ledger)] == ["hold", "after"]


# a lease that was lost


@step(name="takeover.gated")
def gated(name: str) -> int:
    """The first attempt waits for its gate."""
    attempt = current_step().attempt
    LEDGER.append(("gated", attempt))
    if attempt == 1:
        _gates["in"].set()
        _gates[name].wait(PATIENCE)
    return attempt


@step(name="takeover.mark")
def mark(attempt: int) -> int:
    LEDGER.append(("mark", attempt))
    return attempt


@flow(name="takeover.in_place")
def in_place() -> int:
    return mark(gated("gate"))


@flow(name="takeover.elsewhere")
def elsewhere() -> int:
    return mark(gated.options(timeout=PATIENCE)("gate"))


@flow(name="takeover.caught")
def caught() -> int:
    try:
        return mark(gated("gate"))
    except Exception:
        return mark(-1)


def taken_over(first: App, log: Path) -> App:
    """Another app that holds the first one for dead, as if the system had freed its lock, and is right but for one thread."""
    assert first.runtime is not None
    first.runtime.watcher.stop()
    bytes_of(str(log)).drop(first.owner())
    return connect(log, durability="process")


@pytest.mark.parametrize("taken", [in_place, elsewhere, caught])
def test_carry_whose_lease_was_taken_over_commits_nothing_more(taken: Any, tmp_path: Path) -> None:
    LEDGER.clear()
    _gates.update({"in": threading.Event(), "gate": threading.Event()})
    log = tmp_path / "a.durable.db"
    first = connect(log, durability="process")
    run = taken["r"].start()
    assert _gates["in"].wait(PATIENCE)
    second = taken_over(first, log)
    try:
        assert runs["r"].result(PATIENCE) == 2
        before = second.store.history(run.record.key)
    finally:
        _gates["gate"].set()
        first.close(PATIENCE)
    assert second.store.history(runs["r"].record.key) == before
    assert runs["r"].status in ENDED
    assert LEDGER == [("gated", 1), ("gated", 2), ("mark", 2)]
    second.close()


def compute() -> None:
    """Flow code that takes long, the first time. Flow code reaches it through a step, which travels by name."""
    if not _gates["in"].is_set():
        _gates["in"].set()
        _gates["gate"].wait(PATIENCE)


mark.compute = compute  # type: ignore[attr-defined]


@flow(name="takeover.computing")
def computing() -> int:
    first = mark(1)
    mark.compute()  # type: ignore[attr-defined]
    return mark(first + 1)


def test_flow_code_that_lost_its_lease_begins_no_further_step(tmp_path: Path) -> None:
    LEDGER.clear()
    _gates.update({"in": threading.Event(), "gate": threading.Event()})
    log = tmp_path / "a.durable.db"
    first = connect(log, durability="process")
    run = computing["r"].start()
    next(event for event in run.follow() if isinstance(event, Returned))  # written alone: the flow computes
    second = taken_over(first, log)
    try:
        assert runs["r"].result(PATIENCE) == 2
        before = second.store.history(run.record.key)
    finally:
        _gates["gate"].set()
        first.close(PATIENCE)
    assert LEDGER == [("mark", 1), ("mark", 2)]
    assert second.store.history(runs["r"].record.key) == before
    second.close()


def test_what_an_owner_claims_after_its_burial_is_not_held_for_ever(tmp_path: Path) -> None:
    """It was taken for dead, claims all the same, and dies then: its row is gone, and what it holds must come free."""
    log = tmp_path / "a.durable.db"
    first = connect(log, durability="process", carriers=0)
    bytes_of(str(log)).drop(first.owner())
    with connect(log, durability="process", carriers=0) as second:
        assert [owner.key for owner in second.store.owners()] == [second.owner()]
        run = sleeper["r"].start("unused")
        assert first.store.claim(first.owner(), first.clock.now(), 1)
        first.abandon()
        run_until_idle(second)
        assert (run.status, run.record.owner) == ("waiting", None)


def test_claimed_attempt_that_was_never_begun_is_no_crash_of_its_step(tmp_path: Path, durable_clock: FakeClock) -> None:
    log, ledger = tmp_path / "log.db", tmp_path / "ledger"
    with connect(log, carriers=0, clock=durable_clock) as app:
        claimed["r"].start(str(ledger))
        app.turn()
    for _ in range(7):
        app = connect(log, carriers=0, clock=durable_clock)
        (work,) = app.store.claim_work(app.owner(), durable_clock.now(), 1)
        assert (work.attempt, work.crashes) == (0, 0)
        abandon(app)
    with connect(log, carriers=0, clock=durable_clock) as app:
        assert run_to_end(app, runs["r"]) == 7
    assert ledger.read_text() == "after 1\n"


def test_resume_forgives_the_crashes_of_every_step(tmp_path: Path, durable_clock: FakeClock) -> None:
    log, ledger = tmp_path / "log.db", tmp_path / "ledger"
    with connect(log, carriers=0, clock=durable_clock) as app:
        twice["r"].start(str(ledger))
        app.turn()
    for attempt in range(1, 6):
        app = connect(log, carriers=0, clock=durable_clock)
        for work in app.store.claim_work(app.owner(), durable_clock.now(), 2):
            assert app.store.begin_work(work, durable_clock.now(), begun) == work._replace(
                attempt=attempt, told=attempt, is_open=True
            )
        abandon(app)
    with connect(log, carriers=0, clock=durable_clock) as app:
        with pytest.raises(RunParked, match="begun 5 times in a row"):
            run_to_end(app, runs["r"])
        runs["r"].resume()
        assert run_to_end(app, runs["r"]) == 3


def test_resume_begins_a_step_again_whose_beginnings_are_still_in_the_inbox(
    tmp_path: Path, durable_clock: FakeClock
) -> None:
    log, ledger = tmp_path / "log.db", tmp_path / "ledger"
    with connect(log, carriers=0, clock=durable_clock) as app:
        backwards["r"].start(str(ledger))
        app.turn()
    for life in range(6):  # the first step is known to have crashed before the second begins its last attempt
        app = connect(log, carriers=0, clock=durable_clock)
        work = app.store.claim_work(app.owner(), durable_clock.now(), 2)
        if life == 5:
            app.store.finish_work(work[0], [NewMail("crashed", work[0].ask, 5, None, None, b"{}", "here", True)], 1.0)
        for each in work[1:] if life == 5 else work[:1] if life == 4 else work:
            app.store.begin_work(each, durable_clock.now(), begun)
        abandon(app)
    with connect(log, carriers=0, clock=durable_clock) as app:
        run = runs["r"]
        assert app.runtime is not None
        assert app.runtime.workers.run_one()  # the second step has crashed too often as well
        with pytest.raises(RunParked, match="begun 5 times in a row"):
            run_to_end(app, run)
        assert [mail.kind for mail in app.store.mail(run.record.key)] == ["attempt", "crashed"]
        run.resume()
        assert run_to_end(app, run) == 3
        attempts = [(event.ref, event.attempt) for event in run.history if isinstance(event, AttemptStarted)]
    assert sorted(attempts) == [(ask, number) for ask in (2, 3) for number in range(1, 7)]


def test_every_duty_is_seen_to_although_one_has_freed_something(durable_app: App) -> None:
    seen: list[str] = []
    assert durable_app.runtime is not None
    durable_app.runtime.duties = [lambda: not seen.append("first"), lambda: bool(seen.append("second"))]  # type: ignore[func-returns-value]
    assert durable_app.runtime.look_after()
    assert seen == ["first", "second"]
