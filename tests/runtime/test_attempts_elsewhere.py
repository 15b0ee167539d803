"""Attempts of steps that run elsewhere: each has its number in the log, whatever dies when, and its output before its end."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from durable_nb import App, Retry, RunParked, connect, current_step, flow, runs, step
from durable_nb.errors import LogError, LogFull, Uncapturable
from durable_nb.flows import registry
from durable_nb.history import events as e
from durable_nb.runtime import wakeups
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end, run_until_idle

begun: list[int] = []


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})
    begun.clear()


def flow_of(body: Any) -> Any:
    @flow(name="attempts.one")
    def one() -> Any:
        return body()

    return one


def numbers(run: Any) -> list[int]:
    return [event.attempt for event in run.history if isinstance(event, e.AttemptStarted)]


def life(log: Path, clock: FakeClock, one: Any, commit: int | None, when: str) -> bool:
    """One process that carries the run to its end, or dies at that commit."""
    with crash_at(commit, when) as point:
        app = None
        try:
            app = connect(log, carriers=0, clock=clock, durability="process")
            run_to_end(app, one["r"] if app.store.run("r") else one["r"].start())
        except (SimulatedCrash, LogError):
            assert point.is_dead  # what a dead process still tried to write
        except RunParked:
            pass  # and it goes on with its own life
        if point.is_dead and app is not None:
            abandon(app)
    if app is not None and not point.is_dead:
        app.close()
    return point.is_dead


@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_numbers_of_attempts_have_no_holes_whichever_commit_is_the_last(tmp_path: Path, when: str) -> None:
    @step(name="attempts.shaky", retry=Retry(max_attempts=3, first=1, jitter=0), timeout=60)
    def shaky() -> str:
        begun.append(current_step().attempt)
        if len(begun) < 3:
            raise ConnectionError("still down")
        return "up"

    one = flow_of(shaky)
    for commit in range(1, 100):
        begun.clear()
        log, clock = tmp_path / f"{commit}.db", FakeClock()
        if not life(log, clock, one, commit, when):
            break
        assert not life(log, clock, one, None, when)
        with connect(log, carry=False, clock=clock):
            told = numbers(runs["r"])
            assert runs["r"].result() == "up"
        assert told == list(range(1, len(told) + 1)), f"dead {when} {commit}"
        assert sorted(set(begun)) == [number for number in told if number in begun]
    assert commit > 12


def test_budget_counts_the_first_attempt_that_this_process_began_with_the_ask(tmp_path: Path) -> None:
    @step(name="attempts.down", retry=Retry(max_attempts=3, first=0.05, jitter=0), timeout=60)
    def down() -> str:
        begun.append(current_step().attempt)
        raise ConnectionError("down for good")

    with connect(tmp_path / "log.db", durability="process"):
        with pytest.raises(ConnectionError):
            flow_of(down)["r"]()
        assert begun == [1, 2, 3]
        assert numbers(runs["r"]) == [1, 2, 3]
        with pytest.raises(ConnectionError):
            flow_of(down)["r"]()  # a retry: new numbers
        assert begun == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_next_attempt_goes_on_where_the_last_one_came_to_whichever_commit_is_the_last(
    tmp_path: Path, when: str
) -> None:
    seen: list[tuple[int, int]] = []

    @step(name="attempts.walk", retry=Retry(max_attempts=2, first=1, jitter=0), timeout=60)
    def walk() -> None:
        for item in current_step().progress([10, 20, 30, 40]):
            seen.append((current_step().attempt, item))
            if item == 30 and len(seen) == 3:
                raise ConnectionError("on the third item")

    one = flow_of(walk)
    for commit in range(1, 100):
        seen.clear()
        log, clock = tmp_path / f"{commit}.db", FakeClock()
        if not life(log, clock, one, commit, when):
            break
        assert not life(log, clock, one, None, when)
        with connect(log, carry=False, clock=clock):
            failed = {event.attempt for event in runs["r"].history if isinstance(event, e.AttemptFailed)}
        if failed:  # an attempt that is known to have failed has told how far it came
            (number,) = failed
            assert [item for attempt, item in seen if attempt > number][:1] == [30]
    assert commit > 6


def once(app: App, verb: str, monkeypatch: pytest.MonkeyPatch, is_done: bool = False) -> None:
    """The next call of that verb of the store fails, before its commit or (is_done) after it."""
    verbs = {verb: getattr(app.store, verb)}

    def broken(*what: Any) -> Any:
        monkeypatch.setattr(app.store, verb, verbs[verb])
        if is_done:
            verbs[verb](*what)
        raise LogFull

    monkeypatch.setattr(app.store, verb, broken)


def second_time() -> Any:
    @step(name="attempts.second", retry=Retry(max_attempts=2, first=0.001, jitter=0), timeout=60)
    def second() -> str:
        begun.append(current_step().attempt)
        if len(begun) == 1:
            raise ConnectionError("not yet")
        return "up"

    return second


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("verb", ["begin_work", "postpone_work", "finish_work"])
def test_work_of_which_nothing_could_be_written_is_not_owned_for_ever(
    durable_app: App, monkeypatch: pytest.MonkeyPatch, verb: str, is_done: bool
) -> None:
    run = flow_of(second_time())["r"].start()
    durable_app.turn()
    once(durable_app, verb, monkeypatch, is_done)
    with pytest.raises(LogFull):
        run_to_end(durable_app, run)
    assert run_to_end(durable_app, run) == "up"
    assert numbers(run) == list(range(1, len(numbers(run)) + 1))
    assert sorted(set(begun)) == [number for number in numbers(run) if number in begun]
    assert durable_app.store.work(run.record.key) == []


def test_work_that_could_not_be_begun_is_no_crash(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    run = flow_of(second_time())["r"].start()
    durable_app.turn()
    once(durable_app, "begin_work", monkeypatch, is_done=True)
    with pytest.raises(LogFull):
        durable_app.turn()
    assert durable_app.runtime is not None
    assert durable_app.runtime.look_after()
    assert not durable_app.runtime.look_after()
    (work,) = durable_app.store.work(run.record.key)
    assert (work.owner, work.attempt, work.crashes, work.is_open) == (None, 1, 0, False)


def test_work_stays_ours_while_the_log_is_full(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    run = flow_of(second_time())["r"].start()
    durable_app.turn()
    once(durable_app, "begin_work", monkeypatch)
    with pytest.raises(LogFull):
        durable_app.turn()
    assert durable_app.runtime is not None
    give_back = durable_app.store.give_back_work
    monkeypatch.setattr(durable_app.store, "give_back_work", lambda work, now: False)
    assert not durable_app.runtime.look_after()
    monkeypatch.setattr(durable_app.store, "give_back_work", give_back)
    assert durable_app.runtime.look_after()
    assert run_to_end(durable_app, run) == "up"


@pytest.mark.parametrize("verb", ["begin_work", "postpone_work", "finish_work", "run_by_key", "history"])
def test_threads_try_again_what_could_not_be_written_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(wakeups, "_LIVENESS", 0.01)
    one = flow_of(second_time().options(delay=0.001))
    with connect(tmp_path / "log.db", durability="process") as app:
        once_called: list[str] = []
        job_of = app.runtime.workers._errands.job_of  # type: ignore[union-attr]

        def breaking(work: Any) -> Any:
            if not once_called:
                once_called.append(verb)
                once(app, verb, monkeypatch)
            return job_of(work)

        monkeypatch.setattr(app.runtime.workers._errands, "job_of", breaking)  # type: ignore[union-attr]
        run = one["r"].start()
        assert run.result(60) == "up"
        assert once_called
        assert numbers(run) == list(range(1, len(numbers(run)) + 1))


def test_body_of_work_that_is_not_ours_any_more_does_not_run(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    run = flow_of(second_time())["r"].start()
    durable_app.turn()
    monkeypatch.setattr(durable_app.store, "begin_work", lambda *what: None)
    assert durable_app.turn()
    assert begun == []
    assert numbers(run) == []


def test_step_that_cannot_be_run_here_fails_in_an_attempt_of_its_own(
    durable_app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str, data: bytes, run: Any) -> Any:
        raise Uncapturable(f"no {name}")

    run = flow_of(second_time())["r"].start()
    durable_app.turn()
    assert durable_app.runtime is not None
    monkeypatch.setattr(durable_app.runtime.shared.definitions, "step_of", unknown)
    with pytest.raises(Uncapturable, match=r"no attempts\.second"):
        run_to_end(durable_app, run)
    assert numbers(run) == [1]


def test_first_attempt_of_this_process_needs_no_commit_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @step(name="attempts.plain", timeout=60)
    def plain() -> int:
        return current_step().attempt

    with connect(tmp_path / "log.db", durability="process") as app:
        for verb in ("begin_work", "tell"):
            monkeypatch.setattr(app.store, verb, None)
        assert flow_of(plain)["r"]() == 1


def test_killed_first_attempt_of_this_process_is_known_and_a_crash(tmp_path: Path) -> None:
    log, clock = tmp_path / "log.db", FakeClock()
    apps: list[App] = []
    died = threading.Event()

    @step(name="attempts.dies", timeout=60)
    def dies() -> int:
        if current_step().attempt == 1:
            abandon(apps[0])
            died.set()
        return current_step().attempt

    one = flow_of(lambda: dies())
    apps.append(connect(log, carriers=1, workers=1, clock=clock))
    one["r"].start()
    assert died.wait(60)
    assert apps[0].runtime is not None
    for threads in (apps[0].runtime.carriers, apps[0].runtime.workers):
        threads.stop(time.monotonic() + 60)  # they would die with their process
    with connect(log, carriers=0, clock=clock) as app:
        (work,) = app.store.work(runs["r"].record.key)
        assert (work.attempt, work.crashes, work.is_open, work.told) == (1, 1, False, 0)
        assert run_to_end(app, runs["r"]) == 2
        assert numbers(runs["r"]) == [1, 2]


@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_who_dies_at_the_same_commit_again_and_again_parks_only_what_was_begun(tmp_path: Path, when: str) -> None:
    @step(name="attempts.healthy", delay=1, timeout=60)
    def healthy() -> int:
        begun.append(current_step().attempt)
        return current_step().attempt

    one = flow_of(healthy)
    parked = []
    for commit in range(1, 100):
        log, clock = tmp_path / f"{commit}.db", FakeClock()
        app = connect(log, carriers=0, clock=clock, durability="process")
        one["r"].start()
        run_until_idle(app)
        abandon(app)
        deaths = 0
        while deaths < 8 and life(log, clock, one, commit, when):
            deaths += 1
        if not deaths:
            break
        with connect(log, carriers=0, clock=clock) as app:
            run = runs["r"]
            try:
                assert run_to_end(app, run) == len(numbers(run))
            except RunParked:
                parked.append(run.record.reason)
                assert numbers(run) == [1, 2, 3, 4, 5]
    # Once it died between the beginning and the answer every time; nobody can tell that from a step that kills.
    assert parked == ["crashes"]
    assert commit > 6
