"""Who waits for another run, in the same process, hears of its end at once, and so does who is given up by an end."""

import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import Run, RunCancelled, connect, flow, gather, note, runs, signal, step
from durable_nb.app import App
from durable_nb.testing import run_to_end

SOON = 3.0  # seconds; whoever is not told looks again after five
PATIENCE = 60.0
_may_end = threading.Event()


@step(name="family.hold")
def hold() -> str:
    assert _may_end.wait(PATIENCE)
    return "held"


@flow(name="family.holding")
def holding() -> str:
    return hold()


@flow(name="family.calling")
def calling() -> Any:
    return [holding["kid"]()]


@flow(name="family.watching")
def watching() -> Any:
    return [holding["kid"].start().result()]


@flow(name="family.watching_by_id")
def watching_by_id() -> Any:
    return [Run("kid").result()]


@flow(name="family.waiting")
def waiting() -> Any:
    return signal("never").result()


@flow(name="family.giving_up")
def giving_up() -> Any:
    kid = waiting["kid"].spawn()
    note("waits")
    signal("go").result()
    return [kid.is_settled]


def until_waiting(run: Run) -> None:
    while (status := run.status) != "waiting":
        assert status in ("pending", "running")


def test_a_parent_that_let_go_goes_on_when_its_child_ends(tmp_path: Path) -> None:
    for number, parent in enumerate((calling, watching)):
        _may_end.clear()
        with connect(tmp_path / f"{number}.durable.db", durability="process"):
            run = parent["r"].start()
            until_waiting(run)
            _may_end.set()
            assert run.result(SOON) == ["held"]


def test_who_watches_a_run_of_its_own_goes_on_when_that_ends(tmp_path: Path) -> None:
    _may_end.clear()
    with connect(tmp_path / "log.durable.db", durability="process"):
        holding["kid"].start()
        run = watching_by_id["r"].start()
        until_waiting(run)
        _may_end.set()
        assert run.result(SOON) == ["held"]


def test_a_child_that_is_given_up_by_an_end_hears_of_it(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db", durability="process"):
        run = giving_up["r"].start()
        run.wait_for_note(timeout=PATIENCE)
        until_waiting(runs["kid"])
        run.signal("go")
        assert run.result(SOON) == [False]
        with pytest.raises(RunCancelled, match="has ended"):
            runs["kid"].result(SOON)


@flow(name="family.at_once")
def at_once() -> Any:
    """All of it is one commit: the child is told before it is there."""
    kid = waiting["kid"].spawn()
    end = gather(kid, return_exceptions=True)
    told = Run("kid").signal("never", 3)
    return [told, end.result(), Run("kid").result()]


def test_a_child_can_be_told_in_the_commit_that_begins_it(durable_app: App) -> None:
    assert run_to_end(durable_app, at_once["r"].start()) == ["told", [3], 3]


@flow(name="family.cancelled_at_once")
def cancelled_at_once() -> Any:
    kid = waiting["kid"].spawn()
    Run("kid").cancel("no more")
    try:
        return kid.result()
    except RunCancelled as error:
        return str(error)


def test_a_child_can_be_cancelled_in_the_commit_that_begins_it(durable_app: App) -> None:
    assert "no more" in run_to_end(durable_app, cancelled_at_once["r"].start())
