"""Retrying a run with children: they go on with it, in one commit, and what they had undone is asked about."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    Cancelled,
    Run,
    RunConflict,
    Saga,
    UnknownRun,
    connect,
    flow,
    gather,
    race,
    runs,
    signal,
    state,
    state_of,
    step,
    timer,
)
from durable_nb.app import App
from durable_nb.errors import Refused
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end, run_until_idle

LEDGER: list[str] = []
BROKEN: set[str] = set()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    LEDGER.clear()
    BROKEN.clear()


@step(name="retrying.book")
def book(what: str) -> str:
    LEDGER.append(f"book {what}")
    if what in BROKEN:
        raise LookupError(f"no {what}")
    return what


@step(name="retrying.undo")
def undo(what: str) -> None:
    LEDGER.append(f"undo {what}")


@flow(name="retrying.trip")
def trip() -> str:
    with Saga() as saga:
        saga.undo(undo, book("flight"))
        return book("hotel")


@flow(name="retrying.stay")
def stay() -> str:
    return book("hotel")


@flow(name="retrying.careful")
def careful() -> Any:
    try:
        return signal("never").result()
    except Cancelled:
        undo("waiting")
        raise


@flow(name="retrying.patient")
def patient() -> Any:
    return signal("never").result()


@flow(name="retrying.agency")
def agency() -> str:
    return f"agency {trip['trip']()}"


@flow(name="retrying.office")
def office() -> str:
    return f"office {agency['agency']()}"


@flow(name="retrying.both")
def both() -> Any:
    return gather(careful["careful"].spawn(), stay["stay"].spawn()).result()


@flow(name="retrying.family")
def family() -> Any:
    return gather(patient["patient"].spawn(), stay["stay"].spawn()).result()


@flow(name="retrying.grandparent")
def grandparent() -> Any:
    return family["family"]()


@flow(name="retrying.raced")
def raced() -> Any:
    won = race(patient["patient"].spawn(), timer("1m")).result()
    return [won.index, book("hotel")]


def failed(app: App, of: Any) -> Any:
    BROKEN.add("hotel")
    run = of["r"].start()
    with pytest.raises(LookupError):
        run_to_end(app, run)
    run_until_idle(app)
    BROKEN.clear()
    return run


def kinds(id: str) -> list[str]:
    return [type(event).__name__ for event in runs[id].history]


def test_a_childs_finished_compensation_is_named_and_nothing_goes_on(durable_app: App) -> None:
    run = failed(durable_app, office)
    said = r"run 'trip'.*has finished `retrying.undo` after.*redo=True"
    (done,) = runs(flow=office).retry(dry_run=True)
    assert not done.is_done
    with pytest.raises(Refused, match=said):
        run.retry()
    assert str(Refused(done.sentence or "")) == _sentence(run)
    assert [runs[id].status for id in ("r", "agency", "trip")] == ["failed"] * 3
    assert not any("Retried" in kinds(id) for id in ("r", "agency", "trip"))
    (done,) = runs(flow=office).retry(redo=True)
    assert done.is_done
    assert run_to_end(durable_app, run) == "office agency hotel"
    assert LEDGER == ["book flight", "book hotel", "undo flight", "book hotel"]


def _sentence(run: Any) -> str:
    with pytest.raises(Refused) as refused:
        run.retry()
    return str(refused.value)


def test_what_a_child_did_when_it_was_given_up_is_asked_about_too(durable_app: App) -> None:
    run = failed(durable_app, both)
    assert runs["careful"].status == "cancelled"
    with pytest.raises(Refused, match=r"run 'careful'.*`retrying.undo`"):
        run.retry()
    assert [runs[id].status for id in ("r", "stay", "careful")] == ["failed", "failed", "cancelled"]
    run.retry(redo=True)
    run_until_idle(durable_app)
    runs["careful"].signal("never", 7)
    assert run_to_end(durable_app, run) == [7, "hotel"]
    assert LEDGER == ["book hotel", "undo waiting", "book hotel"]


@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_a_family_goes_on_whole_or_not_at_all_wherever_the_process_dies(tmp_path: Path, when: str) -> None:
    """At every commit of the retry, and of what comes after it."""
    for number in itertools.count(1):
        LEDGER.clear()
        path, clock = tmp_path / f"{number}.durable.db", FakeClock()
        app = connect(path, carriers=0, clock=clock, durability="process")
        run = failed(app, grandparent)
        with crash_at(number, when) as point:
            try:
                run.retry()
            except SimulatedCrash:
                pass
            commits = point.commits
        abandon(app)
        with connect(path, carriers=0, clock=clock, durability="process") as app:
            statuses = {id: runs[id].status for id in ("r", "family", "stay", "patient")}
            before = {"r": "failed", "family": "failed", "stay": "failed", "patient": "cancelled"}
            assert statuses in (before, dict.fromkeys(before, "waiting")), (number, statuses)
            if statuses == before:
                runs["r"].retry()
            run_until_idle(app)
            runs["patient"].signal("never", 7)
            assert run_to_end(app, runs["r"]) == [7, "hotel"]
            assert LEDGER == ["book hotel", "book hotel"]
            assert all(kinds(id).count("Retried") == 1 for id in before)
        if commits < number:
            return


def test_a_child_that_is_being_steered_refuses_the_retry_and_nothing_stays_held(durable_app: App) -> None:
    run = failed(durable_app, office)
    agency_record = runs["agency"].record
    held = durable_app.store.seize(agency_record.key, durable_app.store.register("another", 0.0))
    assert held is not None
    with pytest.raises(Refused, match=r"run 'agency' is being carried right now"):
        run.retry(redo=True)
    assert [runs[id].record.owner for id in ("r", "trip")] == [None, None]
    assert [runs[id].status for id in ("r", "agency", "trip")] == ["failed"] * 3
    durable_app.store.give_back(held.key, held.lease, 0.0)
    run.retry(redo=True)
    assert run_to_end(durable_app, run) == "office agency hotel"


def test_a_child_that_was_told_to_end_and_has_not_heard_it_yet_goes_on(durable_app: App) -> None:
    BROKEN.add("hotel")
    run = family["r"].start()
    while run.status != "failed":
        assert durable_app.turn()
    assert runs["patient"].status == "waiting", "its cancel lies in the inbox"
    BROKEN.clear()
    run.retry()
    run_until_idle(durable_app)
    assert runs["patient"].status == "waiting"
    runs["patient"].signal("never", 7)
    assert run_to_end(durable_app, run) == [7, "hotel"]
    assert "Cancelling" not in kinds("patient")


def test_a_child_that_is_still_cleaning_up_is_waited_for(durable_app: App) -> None:
    @step(name="retrying.slow", delay="1h")
    def slow() -> None:
        LEDGER.append("slow")

    @flow(name="retrying.slow_to_end")
    def slow_to_end() -> Any:
        try:
            return signal("never").result()
        except Cancelled:
            slow()
            raise

    @flow(name="retrying.with_slow")
    def with_slow() -> Any:
        return gather(slow_to_end["slow"].spawn(), stay["stay"].spawn()).result()

    BROKEN.add("hotel")
    run = with_slow["r"].start()
    run_until_idle(durable_app)
    assert (run.status, runs["slow"].status) == ("failed", "waiting")
    with pytest.raises(Refused, match=r"run 'slow'.*is still being cancelled"):
        run.retry()
    (done,) = runs(flow=with_slow).retry(dry_run=True)
    assert "still being cancelled" in (done.sentence or "")


def test_a_child_that_had_lost_a_race_stays_cancelled(durable_app: App) -> None:
    run = failed(durable_app, raced)
    run.retry()
    assert run_to_end(durable_app, run) == [1, "hotel"]
    assert runs["patient"].status == "cancelled"
    assert kinds("patient").count("Retried") == 0


def test_a_child_that_was_deleted_is_begun_again(durable_app: App) -> None:
    run = failed(durable_app, agency)
    runs["trip"].delete()
    run.retry()
    assert run_to_end(durable_app, run) == "agency hotel"
    assert runs["trip"].parent == run


@pytest.mark.usefixtures("own_names")
def test_a_child_that_was_asked_for_and_never_begun_is_begun(durable_app: App) -> None:
    @flow(name="own.leaf")
    def leaf() -> str:
        return "leaf"

    @flow(name="own.hasty")
    def hasty() -> str:
        leaf["leaf"].spawn()
        raise ValueError("hasty")

    run = hasty["r"].start()
    with pytest.raises(ValueError, match="hasty"):
        run_to_end(durable_app, run)

    @flow(name="own.hasty")
    def mended() -> Any:
        return leaf["leaf"].spawn().result()

    run.retry()
    assert run_to_end(durable_app, run) == "leaf"


@pytest.mark.usefixtures("own_names")
def test_a_child_whose_own_line_failed_goes_on_with_its_newest_code(durable_app: App) -> None:
    @flow(name="own.child")
    def broken() -> str:
        raise ValueError("a slip")

    @flow(name="own.parent")
    def parent() -> Any:
        return broken["kid"]()

    run = parent["r"].start()
    with pytest.raises(ValueError, match="a slip"):
        run_to_end(durable_app, run)

    @flow(name="own.child")
    def mended() -> str:
        return "mended"

    run.retry()
    assert run_to_end(durable_app, run) == "mended"
    assert "CodeChanged" in kinds("kid")


def test_signals_that_were_received_after_the_failure_are_there_again(durable_app: App) -> None:
    @flow(name="retrying.asks_after")
    def asks_after() -> Any:
        try:
            found = book("hotel")
        except LookupError:
            signal("said", int).result()
            raise
        return [found, signal("said", int).result(), signal("said", int).result()]

    BROKEN.add("hotel")
    run = asks_after["r"].start()
    run.signal("said", 1)
    run.signal("said", 2)
    with pytest.raises(LookupError):
        run_to_end(durable_app, run)
    BROKEN.clear()
    run.retry(redo=True)
    assert run_to_end(durable_app, run) == ["hotel", 1, 2]


def test_a_signal_that_was_received_before_the_failure_is_not_received_twice(durable_app: App) -> None:
    @flow(name="retrying.asks_before")
    def asks_before() -> Any:
        found = gather(book.spawn("hotel"), signal("said", int)).result()
        return [*found, signal("said", int).result()]

    run = asks_before["r"].start()
    run.signal("said", 1)
    BROKEN.add("hotel")
    with pytest.raises(LookupError):
        run_to_end(durable_app, run)
    assert len(durable_app.store.mail(run.record.key)) == 1, "given up with the rest"
    BROKEN.clear()
    run.retry()
    run_until_idle(durable_app)
    run.signal("said", 2)
    assert run_to_end(durable_app, run) == ["hotel", 1, 2]


# asks that have their answer at once: a retry asks them again


@flow(name="retrying.looks")
def looks() -> Any:
    return [book("flight"), state_of("shelf")["books"]]


@flow(name="retrying.shelf")
def shelf() -> None:
    signal("fill").result()
    state["books"] = 7
    signal("never").result()


@flow(name="retrying.tells")
def tells() -> Any:
    return [book("flight"), Run("shelf").signal("fill")]


@flow(name="retrying.starts")
def starts() -> Any:
    return [book("flight"), patient["taken"].start().id]


@flow(name="retrying.calls")
def calls() -> Any:
    return [book("flight"), stay["taken"]()]


def refused(app: App, of: Any, error: type[Exception]) -> Any:
    run = of["r"].start()
    with pytest.raises(error):
        run_to_end(app, run)
    return run


def again(app: App, run: Any, how: str) -> Any:
    if how == "fork":
        return run_to_end(app, run.fork(id="fork").start())
    run.retry()
    return run_to_end(app, run)


@pytest.mark.parametrize("how", ["retry", "fork"])
def test_a_look_that_found_nothing_looks_again(durable_app: App, how: str) -> None:
    shelf["shelf"].start()
    run_until_idle(durable_app)
    run = refused(durable_app, looks, KeyError)
    runs["shelf"].signal("fill")
    run_until_idle(durable_app)
    assert again(durable_app, run, how) == ["flight", 7]
    assert LEDGER == ["book flight"]


@pytest.mark.parametrize("how", ["retry", "fork"])
def test_a_signal_that_was_refused_is_sent_again(durable_app: App, how: str) -> None:
    run = refused(durable_app, tells, UnknownRun)
    shelf["shelf"].start()
    run_until_idle(durable_app)
    assert again(durable_app, run, how)[0] == "flight"
    assert runs["shelf"].state == {"books": 7}


@pytest.mark.parametrize("how", ["retry", "fork"])
def test_a_start_that_was_refused_is_made_again(durable_app: App, how: str) -> None:
    shelf["taken"].start()
    run = refused(durable_app, starts, RunConflict)
    with pytest.raises(RunConflict):
        again(durable_app, run, how)
    runs["taken"].delete(force=True)
    if how == "fork":
        runs["fork"].delete()
    assert again(durable_app, run, how) == ["flight", "taken"]


@pytest.mark.parametrize("how", ["retry", "fork"])
def test_a_child_whose_id_was_taken_is_asked_for_again_and_never_another_run(durable_app: App, how: str) -> None:
    shelf["taken"].start()
    run = refused(durable_app, calls, RunConflict)
    with pytest.raises(RunConflict):
        again(durable_app, run, how)
    runs["taken"].delete(force=True)
    if how == "fork":
        runs["fork"].delete()
    assert again(durable_app, run, how) == ["flight", "hotel"]
    assert LEDGER == ["book flight", "book hotel"]
