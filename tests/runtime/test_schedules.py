"""Schedules: runs that begin by themselves, once per tick, with the newest code."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from durable_nb import BadOption, NotInFlow, UnknownSchedule, connect, flow, runs, schedules
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.stores.shapes import Query
from durable_nb.testing import FakeClock, abandon, run_until_idle

START = datetime(2026, 11, 21, 5, 0, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})


@pytest.fixture
def clock(durable_clock: FakeClock) -> FakeClock:
    durable_clock.jump_to(START)
    return durable_clock


def reporting() -> Any:
    @flow
    def report(region: str = "north") -> str:
        return f"report of {region}"

    return report


def ids(app: App) -> list[str]:
    return sorted(record.id for record in app.store.find(Query()))


def test_a_schedule_starts_a_run_at_each_tick(clock: FakeClock, durable_app: App) -> None:
    reporting().schedule("0 6 * * *", "south", id="nightly")
    run_until_idle(durable_app)
    assert ids(durable_app) == []
    assert durable_app.next_due() == START + 3600
    clock.advance("1h")
    run_until_idle(durable_app)
    assert runs["nightly@2026-11-21T06:00:00Z"].result(1) == "report of south"
    clock.advance("24h")
    run_until_idle(durable_app)
    assert ids(durable_app) == ["nightly@2026-11-21T06:00:00Z", "nightly@2026-11-22T06:00:00Z"]


def test_the_id_is_the_flows_name_and_intervals_count_from_now(clock: FakeClock, durable_app: App) -> None:
    made = reporting().schedule("every 10m")
    assert (made.id, made.next) == ("report", datetime(2026, 11, 21, 5, 10, tzinfo=UTC))
    clock.advance("10m")
    run_until_idle(durable_app)
    assert ids(durable_app) == ["report@2026-11-21T05:10:00Z"]


@pytest.mark.parametrize(("misfire", "hours"), [("skip", []), ("one", ["08"]), ("all", ["06", "07", "08"])])
def test_ticks_that_nobody_saw_are_treated_as_told(
    tmp_path: Path, clock: FakeClock, misfire: str, hours: list[str]
) -> None:
    with connect(tmp_path / "log.db", carriers=0, clock=clock) as app:
        reporting().schedule("0 * * * *", id="r", misfire=misfire)
    clock.advance("3h30m")
    with connect(tmp_path / "log.db", carriers=0, clock=clock) as app:
        run_until_idle(app)
        assert ids(app) == [f"r@2026-11-21T{hour}:00:00Z" for hour in hours]
        assert app.next_due() == START + 4 * 3600


def test_the_newest_code_is_started(clock: FakeClock, durable_app: App) -> None:
    reporting().schedule("every 1h", id="r")

    @flow
    def report(region: str = "north") -> str:
        return f"better report of {region}"

    clock.advance("1h")
    run_until_idle(durable_app)
    assert runs["r@2026-11-21T06:00:00Z"].result(1) == "better report of north"


def test_a_schedule_outlives_the_process_that_defined_it(tmp_path: Path, clock: FakeClock) -> None:
    with connect(tmp_path / "log.db", carriers=0, clock=clock) as app:
        reporting().schedule("every 1h", id="r")
    registry._known.clear()
    clock.advance("1h")
    with connect(tmp_path / "log.db", carriers=0, clock=clock) as app:
        run_until_idle(app)
        assert runs["r@2026-11-21T06:00:00Z"].result(1) == "report of north"


def test_a_paused_schedule_starts_nothing_and_resumes_with_its_next_tick(clock: FakeClock, durable_app: App) -> None:
    made = reporting().schedule("every 1h", id="r")
    made.pause()
    assert (made.next, durable_app.next_due()) == (None, None)
    clock.advance("3h10m")
    run_until_idle(durable_app)
    assert ids(durable_app) == []
    schedules["r"].resume()
    clock.advance("1h")
    run_until_idle(durable_app)
    assert ids(durable_app) == ["r@2026-11-21T09:10:00Z"]


def test_schedules_are_listed_and_deleted(clock: FakeClock, durable_app: App) -> None:
    for id in ("b", "a"):
        reporting().schedule("every 1h", id=id)
    assert [each.id for each in schedules] == ["a", "b"]
    assert (len(schedules), "a" in schedules, "c" in schedules) == (2, True, False)
    schedules["a"].delete()
    assert [each.id for each in schedules] == ["b"]
    with pytest.raises(UnknownSchedule, match="there is 'b'"):
        schedules["a"]
    clock.advance("1h")
    run_until_idle(durable_app)
    assert ids(durable_app) == ["b@2026-11-21T06:00:00Z"]


def test_the_same_schedule_again_keeps_its_next_tick_and_another_has_a_new_one(
    clock: FakeClock, durable_app: App
) -> None:
    made = reporting().schedule("every 1h", id="r")
    made.pause()
    clock.advance("30m")
    reporting().schedule("every 1h", "west", id="r")
    assert (made.record.next_at, made.record.paused) == (START + 3600, True)
    reporting().schedule("every 20m", id="r")
    assert (made.record.next_at, made.record.paused) == (clock.now() + 1200, False)


def test_what_cannot_be_started_is_paused_and_holds_up_nobody(clock: FakeClock, durable_app: App) -> None:
    reporting().schedule("every 1h", "north", id="broken")
    reporting().schedule("every 1h", id="fine")

    @flow
    def report() -> str:
        return "without regions"

    clock.advance("1h")
    run_until_idle(durable_app)
    assert ids(durable_app) == ["fine@2026-11-21T06:00:00Z"]
    record = schedules["broken"].record
    assert record.paused
    assert record.sentence is not None
    assert "region" in record.sentence


@pytest.mark.parametrize(
    "options",
    [
        {"spec": "nonsense"},
        {"tz": "Mars"},
        {"misfire": "two"},
        {"id": "a/b"},
        {"id": "x" * 161},
        {"id": "~aaaaaaaaaaaa"},
    ],
    ids=str,
)
def test_a_schedule_that_makes_no_sense_is_refused(durable_app: App, options: dict[str, Any]) -> None:
    with pytest.raises(BadOption if "/" not in str(options.get("id")) else ValueError):
        reporting().schedule(options.pop("spec", "every 1h"), **options)
    assert len(schedules) == 0


def test_large_arguments_are_refused(durable_app: App) -> None:
    with pytest.raises(BadOption, match="too large"):
        reporting().schedule("every 1h", "x" * 1_000_000)


def test_a_flow_makes_no_schedule(durable_app: App) -> None:
    report = reporting()

    @flow
    def outer() -> None:
        report.schedule("every 1h")

    with pytest.raises(NotInFlow, match="do it in a step"):
        outer["o"]()


def test_one_process_fires_each_tick(tmp_path: Path, clock: FakeClock) -> None:
    apps = [connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process") for _ in range(4)]
    reporting().schedule("every 1m", id="r", misfire="all")
    clock.advance("30m")
    ready = threading.Barrier(len(apps))

    def fire(app: App) -> None:
        ready.wait()
        app.timetable.fire()

    threads = [threading.Thread(target=fire, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids(apps[0])) == 30
    for app in apps:
        app.close()


def test_a_tick_is_not_lost_between_its_run_and_the_next_time(tmp_path: Path, clock: FakeClock) -> None:
    from durable_nb.testing import SimulatedCrash, crash_at

    with connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process"):
        reporting().schedule("every 1h", id="r")
    clock.advance("1h")
    for commit in range(1, 8):
        app = connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process")
        with crash_at(commit):
            try:
                run_until_idle(app)
            except SimulatedCrash:
                pass
        abandon(app)
    with connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process") as app:
        run_until_idle(app)
        assert ids(app) == ["r@2026-11-21T06:00:00Z"]
        assert runs["r@2026-11-21T06:00:00Z"].result(1) == "report of north"
        assert schedules["r"].record.next_at == START + 7200


def test_schedules_fire_in_the_background(tmp_path: Path) -> None:
    with connect(tmp_path / "log.db", durability="process") as app:
        reporting().schedule("every 50ms", id="r")
        for _ in range(60_000):
            if len(ids(app)) >= 3:
                break
            threading.Event().wait(0.001)
        schedules["r"].delete()
        assert {runs[id].result(60) for id in ids(app)} == {"report of north"}


def test_the_times_to_come_are_told_and_there_are_none_while_it_is_paused(clock: FakeClock, durable_app: App) -> None:
    made = reporting().schedule("0 6 * * *")
    assert made.times(3) == [datetime(2026, 11, day, 6, 0, tzinfo=UTC) for day in (21, 22, 23)]
    assert made.times(1) == [made.next]
    made.pause()
    assert made.times() == []
    for wrong in (0, -1, True, "2"):
        with pytest.raises(BadOption, match="count"):
            made.times(wrong)
