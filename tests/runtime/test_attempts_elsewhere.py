"""Attempts of steps that run elsewhere: each has its number in the log, whatever dies when, and its output before its end."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import Retry, connect, current_step, flow, runs, step
from durable_nb.errors import LogError
from durable_nb.flows import registry
from durable_nb.history import events as e
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end

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
    assert commit > 10
