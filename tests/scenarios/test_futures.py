"""Futures as users meet them: spawn, map, gather, race, keep, nesting, timeouts, what is given up."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import NotInFlow, StepFailed, connect, flow, gather, race, runs, signal, sleep, step, timer
from durable_nb.app import App
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import Failed, afetch, did, echo, ended, everywhere, fail, fits, kinds, rows_of


@step(name="futures.slow", delay="1h")
def slow(value: Any) -> Any:
    did(f"slow {value}")
    return value


def started(flow: Any, *args: Any) -> Any:
    """A drive: start it and carry it to its end."""

    def drive(app: App) -> Any:
        flow["r"].start(*args)
        return ended(app)

    return drive


@flow(name="futures.gathered")
def gathered(n: int) -> list[Any]:
    return gather(echo.spawn(i) for i in range(n)).result()


@flow(name="futures.mixed")
def mixed() -> list[Any]:
    found = gather(echo.spawn(1), fail.spawn("no"), echo.spawn(2), return_exceptions=True).result()
    return [found[0], repr(found[1]), found[2]]


@flow(name="futures.first_failure")
def first_failure() -> Any:
    kept = slow.spawn(2).keep()
    try:
        gather(slow.spawn(1), fail.spawn("no"), kept).result()
    except ValueError as error:
        return [str(error), kept.result()]


@flow(name="futures.uncaught")
def uncaught() -> Any:
    return gather(fail.spawn("no"), slow.spawn(1)).result()


@flow(name="futures.raced")
def raced() -> Any:
    won = race(slow.spawn("slow"), timer("1m"), echo.spawn("quick")).result()
    return [won.index, won.value, echo("after")]


@flow(name="futures.race_failed")
def race_failed() -> Any:
    try:
        race(slow.spawn(1), fail.spawn("lost")).result()
    except ValueError as error:
        return f"caught {error}"


@flow(name="futures.kept")
def kept() -> Any:
    loser = slow.spawn("kept").keep()
    won = race(loser, timer("1m")).result()
    return [won.index, loser.result()]


@flow(name="futures.given_up")
def given_up() -> Any:
    loser = slow.spawn("lost")
    race(loser, timer("1m")).result()
    try:
        return loser.result()
    except StepFailed as error:
        return str(error)


@flow(name="futures.nested")
def nested() -> Any:
    slowest = gather(slow.spawn(1), slow.spawn(2))
    quick = gather(race(timer("1m"), signal("never")), echo.spawn("x"))
    won = race(slowest, quick, timer("2h")).result()
    return [won.index, won.value[0].index, won.value[1], echo("after")]


@flow(name="futures.mapped")
def mapped(n: int, limit: int | None) -> Any:
    return echo.map(range(n), limit=limit).result()


@flow(name="futures.map_fails")
def map_fails() -> Any:
    try:
        fail.map(["a", "b", "c"], limit=1).result()
    except ValueError as error:
        return str(error)


@flow(name="futures.map_after_others")
def map_after_others() -> Any:
    """The map goes on while the flow waits for something else."""
    running = echo.map(["a", "b", "c"], limit=1)
    sleep("1h")
    mine = echo("mine")
    return [mine, running.result()]


@flow(name="futures.timeouts")
def timeouts() -> Any:
    found: list[Any] = []
    future = slow.spawn("late")
    try:
        future.result(timeout="10m")
    except TimeoutError as error:
        found.append(str(error).split(", at")[0])
    found.append(future.result(timeout="5h"))
    found.append(echo("after"))
    return found


@flow(name="futures.together_in_time")
def together_in_time() -> Any:
    both = gather(slow.spawn(1), signal("x"))
    try:
        return both.result(timeout="10m")
    except TimeoutError as error:
        return str(error).split(", at")[0]


@flow(name="futures.forgotten")
def forgotten() -> Any:
    slow.spawn("never awaited")
    timer("1d")
    signal("nobody")
    return echo("done")


@flow(name="futures.forgotten_last")
def forgotten_last() -> Any:
    done = echo("done")
    echo.spawn("asked last")
    return done


@flow(name="futures.twice")
def twice() -> Any:
    future = afetch.spawn([1])
    return future.result() is future.result()


@flow(name="futures.race_settled")
def race_settled() -> Any:
    """Both are there before the race is made: the first one named wins, as in a replay."""
    one, two = echo.spawn(1), echo.spawn(2)
    sleep("1m")
    return list(race(two, one).result())


@flow(name="futures.race_with_gather_failed")
def race_with_gather_failed() -> Any:
    try:
        race(gather(fail.spawn("inner"), slow.spawn(1)), timer("1m")).result()
    except ValueError as error:
        return [str(error), echo("after")]


@flow(name="futures.empty")
def empty() -> Any:
    return [gather().result(), gather([]).result(), echo.map([]).result(), race(gather(), timer("1h")).result().index]


@flow(name="futures.shared")
def shared() -> Any:
    """One future in two combinations: the race gives it up, the gather says so."""
    one = slow.spawn(1)
    both = gather(one, timer("1m"), return_exceptions=True)
    race(one, timer("2m")).result()
    return [type(value).__name__ for value in both.result()]


@flow(name="futures.drop_then_fail")
def drop_then_fail() -> None:
    race(slow.spawn(1), echo.spawn(2)).result()
    raise RuntimeError("after all")


CASES: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "gathered": (gathered, (3,), [0, 1, 2]),
    "mixed": (mixed, (), [1, "ValueError('no')", 2]),
    "first failure": (first_failure, (), ["no", 2]),
    "uncaught": (uncaught, (), Failed("ValueError", "no")),
    "raced": (raced, (), [2, "quick", "after"]),
    "race failed": (race_failed, (), "caught lost"),
    "kept": (kept, (), [1, "kept"]),
    "nested": (nested, (), [1, 0, "x", "after"]),
    "mapped": (mapped, (5, 2), [0, 1, 2, 3, 4]),
    "mapped one by one": (mapped, (3, 1), [0, 1, 2]),
    "mapped all": (mapped, (3, None), [0, 1, 2]),
    "map fails": (map_fails, (), "a"),
    "map beside": (map_after_others, (), ["mine", ["a", "b", "c"]]),
    "timeouts": (timeouts, (), ["<Future step futures.slow open> did not come within 10 m", "late", "after"]),
    "together in time": (together_in_time, (), "<Future gather of 2, 2 open> did not come within 10 m"),
    "forgotten": (forgotten, (), "done"),
    "forgotten last": (forgotten_last, (), "done"),
    "twice": (twice, (), True),
    "race settled": (race_settled, (), [0, 2]),
    "race with gather failed": (race_with_gather_failed, (), ["inner", "after"]),
    "empty": (empty, (), [[], [], [], 0]),
    "shared": (shared, (), ["StepFailed", "NoneType"]),
    "drop, then fail": (drop_then_fail, (), Failed("RuntimeError", "after all")),
}


@pytest.mark.parametrize("name", CASES)
def test_future_comes_to_the_same_after_a_crash_anywhere(tmp_path: Path, name: str) -> None:
    of, args, result = CASES[name]
    assert everywhere(of, started(of, *args), tmp_path).result == result


def test_gather_asks_first_and_logs_answers_as_they_come(durable_app: App) -> None:
    run_to_end(durable_app, gathered["r"].start(3))
    assert kinds() == ["step"] * 3 + ["attempt", "returned"] * 3 + ["completed"] or kinds().count("returned") == 3
    assert kinds()[:3] == ["step"] * 3


def test_a_race_is_decided_by_the_log_and_its_losers_are_dropped(durable_app: App) -> None:
    run_to_end(durable_app, raced["r"].start())
    assert kinds().count("drop") == 2
    assert not durable_app.store.work(runs["r"].record.key)
    dropped = {row.ref for row in rows_of() if row.kind == "drop"}
    assert not [row for row in rows_of() if row.kind in ("returned", "fired") and row.ref in dropped]


def test_what_was_given_up_says_so(durable_app: App, tmp_path: Path) -> None:
    said = run_to_end(durable_app, given_up["r"].start())
    assert "lost a race" in said
    assert fits(given_up, "r", tmp_path) == said


def test_a_kept_loser_is_not_dropped(durable_app: App) -> None:
    run_to_end(durable_app, kept["r"].start())
    assert "drop" not in kinds()


def test_a_timeout_is_a_timer_in_the_log_and_the_second_one_is_dropped(durable_app: App) -> None:
    run_to_end(durable_app, timeouts["r"].start())
    assert kinds().count("timer") == 2
    assert kinds().count("fired") == 1
    assert kinds().count("drop") == 1


def test_open_futures_are_cancelled_when_the_flow_is_left(durable_app: App, durable_clock: FakeClock) -> None:
    run_to_end(durable_app, forgotten["r"].start())
    record = runs["r"].record
    assert not durable_app.store.work(record.key)
    durable_clock.advance("2d")
    assert run_until_idle(durable_app) == 0
    assert kinds()[-1] == "completed"


def test_a_limited_map_never_begins_more_than_its_limit(tmp_path: Path) -> None:
    import threading

    lock, now, most = threading.Lock(), [0], [0]
    go = threading.Barrier(2, timeout=20)  # two are begun together, or it breaks

    @step
    def counted(n: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        go.wait()
        with lock:
            now[0] -= 1
        return n

    @flow
    def limited() -> list[int]:
        return counted.map(range(6), limit=2).result()

    with connect(tmp_path / "log.durable.db", workers=4) as app:
        assert app.carry(limited, "r", (), {}, limited.options_) == list(range(6))
    assert most == [2]


def test_two_thousand_steps_are_gathered_in_order(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db", workers=8, durability="process"):
        assert gathered["r"](2000) == list(range(2000))
        assert fits(gathered, "r", tmp_path) == list(range(2000))


def test_a_future_belongs_to_the_flow_that_made_it(durable_app: App) -> None:
    @step
    def steal(n: int) -> str:
        try:
            held[0].result()
        except NotInFlow as error:
            return str(error)
        return "stolen"

    held: list[Any] = []

    @flow
    def maker() -> str:
        held.append(timer("1h"))
        return steal(1)

    assert "belongs to the flow" in maker["m"]()


def test_wrong_members_are_refused(durable_app: App) -> None:
    @flow
    def wrong(what: str) -> Any:
        if what == "value":
            return gather(1, 2)
        return race()

    with pytest.raises(TypeError, match="gather takes futures"):
        wrong["a"]("value")
    with pytest.raises(TypeError, match="at least one"):
        wrong["b"]("none")


def test_a_removed_drop_is_a_mismatch_and_a_new_one_fits(durable_app: App, tmp_path: Path) -> None:
    @flow
    def before() -> Any:
        one = slow.spawn(1)
        won = race(one, timer("1m")).result()
        sleep("1m")
        return [won.index, echo("x")]

    @flow
    def without() -> Any:
        one = slow.spawn(1).keep()
        won = race(one, timer("1m")).result()
        sleep("1m")
        return [won.index, echo("x")]

    run_to_end(durable_app, before["r"].start())
    assert fits(before, "r", tmp_path) == [1, "x"]
    with pytest.raises(AssertionError, match="still holds"):
        fits(without, "r", tmp_path)
    run_to_end(durable_app, without["s"].start())
    assert fits(before, "s", tmp_path) == [1, "x"]
