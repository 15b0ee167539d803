"""Who waits for another run, in the same process, hears of its end at once, and so does who is given up by an end."""

import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import Run, RunCancelled, connect, flow, note, runs, signal, step

SOON = 3.0  # seconds; whoever is not told looks again after five
PATIENCE = 60.0
_may_end = threading.Event()


@step
def hold() -> str:
    assert _may_end.wait(PATIENCE)
    return "held"


@flow
def holding() -> str:
    return hold()


@flow
def calling() -> Any:
    return [holding["kid"]()]


@flow
def watching() -> Any:
    return [holding["kid"].start().result()]


@flow
def waiting() -> Any:
    return signal("never").result()


@flow
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


def test_a_child_that_is_given_up_by_an_end_hears_of_it(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db", durability="process"):
        run = giving_up["r"].start()
        run.wait_for_note(timeout=PATIENCE)
        until_waiting(runs["kid"])
        run.signal("go")
        assert run.result(SOON) == [False]
        with pytest.raises(RunCancelled, match="has ended"):
            runs["kid"].result(SOON)
