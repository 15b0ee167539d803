"""Rows of the acceptance table C7 that no other file of this folder shows: arguments, data, fan-out, clean-up, custom errors."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from durable_nb import BadArguments, Saga, StepFailed, connect, flow, gather, race, runs, signal, sleep, step, timer
from durable_nb.app import App
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import DONE, did, echo, ended, everywhere, fail, fits, kinds
from tests.scenarios.test_children import Spoiled, failing
from tests.scenarios.test_futures import slow, started


@dataclass
class Point:
    x: int
    y: float


RICH: list[Any] = [Point(1, 2.5), datetime(2026, 1, 2, tzinfo=UTC), b"\x00", (1, (2,)), {1: {2}}, float("inf"), None]


@flow(name="c7.typed")
def typed(a: int, /, b: str = "b", *rest: int, key: float = 0.5, **more: Any) -> Any:
    return [a, b, list(rest), key, more, echo("x")]


def test_c7_signature_binding(durable_app: App, tmp_path: Path) -> None:
    run = typed["r"].start(1, "two", 3, 4, key=1.5, other=[5])
    assert run_to_end(durable_app, run) == [1, "two", [3, 4], 1.5, {"other": [5]}, "x"]
    assert fits(typed, "r", tmp_path) == run.result()
    with pytest.raises(BadArguments, match=r"c7\.typed"):
        typed["s"].start()
    with pytest.raises(LookupError):
        runs["s"]


@flow(name="c7.rich")
def rich(values: list[Any]) -> Any:
    through = [echo.spawn(value) for value in values]
    sleep("1h")
    return gather(through).result()


def test_c7_rich_data_comes_back_as_it_was_over_a_restart(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "log.durable.db"
    with connect(path, carriers=0, clock=clock) as app:
        rich["r"].start(RICH)
        run_until_idle(app)
    with connect(path, carriers=0, clock=clock) as app:
        assert ended(app) == RICH
        assert [type(value) for value in runs["r"].result()] == [type(value) for value in RICH]
        assert fits(rich, "r", tmp_path) == RICH


@flow(name="c7.chain")
def chain(n: int) -> int:
    return sum(echo(i) for i in range(n))


def test_c7_sequential_chain(durable_app: App) -> None:
    DONE.clear()
    assert run_to_end(durable_app, chain["r"].start(50)) == sum(range(50))
    assert len(DONE) == 50


def test_c7_fan_out_with_a_limit(tmp_path: Path) -> None:
    @flow(name="c7.fan")
    def fan(n: int) -> Any:
        return echo.map(range(n), limit=20).result()

    with connect(tmp_path / "log.durable.db", durability="process"):
        assert fan["r"](1000) == list(range(1000))
        assert fits(fan, "r", tmp_path) == list(range(1000))


@flow(name="c7.race_of_many")
def race_of_many() -> Any:
    inner = race(slow.spawn(1), timer("50m"), signal("a"))
    won = race(inner, signal("b"), race(timer("30m"), signal("c")), slow.spawn(2)).result()
    try:
        race(fail.spawn("lost"), slow.spawn(3)).result()
    except ValueError as error:
        return [won.index, won.value.index, str(error)]


def test_c7_race_of_many_and_nested(tmp_path: Path) -> None:
    assert everywhere(race_of_many, started(race_of_many), tmp_path).result == [2, 0, "lost"]


def test_c7_timer_over_a_restart_fires_once_at_its_time(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "log.durable.db"

    @flow(name="c7.minute")
    def minute() -> str:
        sleep(60)
        return "rung"

    for _ in range(3):
        with connect(path, carriers=0, clock=clock) as app:
            minute["r"].start()
            run_until_idle(app)
            assert runs["r"].status == "waiting"
            clock.advance(19)
    clock.advance(3)
    with connect(path, carriers=0, clock=clock) as app:
        assert ended(app) == "rung"
        assert kinds() == ["timer", "fired", "completed"]


def test_c7_exceptions_of_steps_and_children_keep_class_data_and_traceback(durable_app: App) -> None:
    @step
    def spoils() -> None:
        raise Spoiled("egg", 60)

    @flow
    def both() -> Any:
        found = []
        for call in (spoils.spawn, lambda: failing.spawn("milk")):
            try:
                call().result()
            except Spoiled as error:
                found.append([error.grams, error.args])
        return found

    assert run_to_end(durable_app, both["r"].start()) == [[60, ("egg", 60)], [7, ("milk", 7)]]
    raised = [event for event in runs["r"].history if type(event).__name__ == "Raised"]
    assert [event.failure.type.split(".")[-1] for event in raised] == ["Spoiled", "Spoiled"]
    assert "in spoils" in raised[0].failure.traceback


@step(name="c7.undo")
def undo(what: str) -> None:
    did(f"undo {what}")


@flow(name="c7.saga")
def saga() -> Any:
    try:
        with Saga() as doing:
            doing.undo(undo, echo("first"))
            sleep("1h")
            doing.undo(undo, echo("second"))
            fail("third")
    except ValueError as error:
        return str(error)


def test_c7_clean_up_runs_once_at_the_real_exit(tmp_path: Path) -> None:
    lived = everywhere(saga, started(saga), tmp_path)
    assert lived.result == "third"
    assert (lived.did["undo first"], lived.did["undo second"]) == (1, 1)


def test_c7_a_failure_that_cannot_be_restored_is_step_failed_with_the_same_words(durable_app: App) -> None:
    @step
    def odd() -> None:
        class Local(Exception):
            def __reduce__(self) -> Any:
                raise TypeError("no")

        raise Local("odd")

    @flow
    def catches() -> Any:
        try:
            odd.spawn().result()
        except StepFailed as error:
            return str(error)

    assert "odd" in run_to_end(durable_app, catches["r"].start())
