"""Newer code for a run that has begun: taken where it fits, refused with both sides where it does not."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import Refused, connect, current_run, flow, runs, sleep, step
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end, run_until_idle
from tests.scenarios.cells import cell


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {("step", "upgrade_name"): upgrade_name})


@step
def upgrade_name(text: str) -> str:
    return text


def define(first: str, last: str) -> Any:
    source = f"""
@flow
def story():
    begun = name({first!r})
    sleep("1h")
    return begun + {last!r}
"""
    return cell(source, flow=flow, name=upgrade_name, sleep=sleep)["story"]


class Weather:
    """What a flow should not look at."""

    is_ = "a"


def kinds(run: Any) -> list[str]:
    return [type(event).__name__ for event in run.history]


def test_a_waiting_run_goes_on_with_newer_code_that_fits(durable_app: App) -> None:
    run = define("a", " old")["s"].start()
    run_until_idle(durable_app)
    before = run.record
    define("a", " new")
    run.upgrade()
    assert run.status == "waiting"
    assert run.record.code != before.code
    assert kinds(run)[-1] == "CodeChanged"
    assert run_to_end(durable_app, run) == "a new"


def test_code_that_does_not_fit_is_refused_and_the_run_stays_as_it_was(durable_app: App) -> None:
    run = define("a", " old")["s"].start()
    run_until_idle(durable_app)
    before = run.record
    define("b", " new")
    with pytest.raises(Refused, match="cannot go on with the newest code of flow `story`") as refused:
        run.upgrade()
    assert "in the log" in str(refused.value)
    after = run.record
    assert (after.code, after.status, after.owner) == (before.code, "waiting", None)
    assert run_to_end(durable_app, run) == "a old"


def test_an_upgrade_to_the_code_it_has_changes_nothing(durable_app: App) -> None:
    run = define("a", " old")["s"].start()
    run_until_idle(durable_app)
    run.upgrade()
    assert "CodeChanged" not in kinds(run)


def test_a_paused_run_is_upgraded_and_stays_paused(durable_app: App) -> None:
    run = define("a", " old")["s"].start()
    run_until_idle(durable_app)
    run.pause()
    define("a", " new")
    run.upgrade()
    assert run.status == "paused"
    run.resume()
    assert run_to_end(durable_app, run) == "a new"


def test_an_ended_run_is_not_upgraded(durable_app: App) -> None:
    run = define("a", " old")["s"].start()
    run_to_end(durable_app, run)
    with pytest.raises(Refused, match="others forked"):
        run.upgrade()


def test_a_run_that_was_parked_for_a_mismatch_goes_on_with_code_that_fits(
    durable_app: App, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
from tests.scenarios.test_upgrade import Weather

@flow
def fickle():
    begun = name(Weather.is_)
    sleep("1h")
    return begun
"""
    run = cell(source, flow=flow, name=upgrade_name, sleep=sleep)["fickle"]["s"].start()
    run_until_idle(durable_app)
    monkeypatch.setattr(Weather, "is_", "b")
    durable_clock.advance("2h")
    run_until_idle(durable_app)
    assert (run.status, run.record.reason) == ("parked", "mismatch")
    with pytest.raises(Refused, match="does not fit"):
        run.upgrade()
    assert run.status == "parked"
    cell(source.replace("Weather.is_", "'a'"), flow=flow, name=upgrade_name, sleep=sleep)
    run.upgrade()
    assert run.status == "waiting"
    run_until_idle(durable_app)
    assert run.result() == "a"


def test_the_version_is_shown_and_stays_the_one_it_began_with(durable_app: App) -> None:
    source = """
@flow(version="{0}")
def dated():
    sleep("1h")
    return current_run().version
"""
    run = cell(source.format("v1"), flow=flow, sleep=sleep, current_run=current_run)["dated"]["s"].start()
    run_until_idle(durable_app)
    cell(source.format("v2"), flow=flow, sleep=sleep, current_run=current_run)
    run.upgrade()
    assert run.record.version == "v1"
    assert run_to_end(durable_app, run) == "v1"


def test_a_crash_leaves_the_old_code_or_the_new(tmp_path: Path, durable_clock: FakeClock) -> None:
    results = set()
    for when in ("before commit", "after commit"):
        for number in range(1, 5):
            path = tmp_path / f"{when}{number}.durable.db"
            app = connect(path, carriers=0, clock=durable_clock)
            run = define("a", " old")["s"].start()
            run_until_idle(app)
            define("a", " new")
            with crash_at(number, when):
                try:
                    run.upgrade()
                except SimulatedCrash:
                    pass
            abandon(app)
            with connect(path, carriers=0, clock=durable_clock) as app:
                results.add(run_to_end(app, runs["s"]))
    assert results == {"a old", "a new"}
