"""Code that changes under runs: `patched`, versions, mismatches and what they say."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import flow, patched, runs, signal
from durable_nb.app import App
from durable_nb.testing import run_to_end, run_until_idle
from tests.scenarios.everywhere import echo, ended, everywhere, fits, kinds
from tests.scenarios.test_futures import started


@flow(name="patched.new")
def new() -> Any:
    found = [echo("first")]
    if patched("audit"):
        found.append(echo("audit"))
    signal("go").result() if found == [] else None
    if patched("audit"):
        found.append("again")
    return [*found, echo("last")]


@flow(name="patched.old")
def old() -> Any:
    return [echo("first"), echo("last")]


@flow(name="patched.three")
def three() -> Any:
    return [patched("a"), patched("b"), patched("a"), echo("x")]


@flow(name="patched.waits_old")
def waits_old() -> Any:
    found = [echo("first"), signal("go").result()]
    return [*found, echo("last")]


@flow(name="patched.waits_new")
def waits_new() -> Any:
    found = [echo("first"), signal("go").result()]
    if patched("after"):
        found.append(echo("extra"))
    return [*found, echo("last")]


@flow(name="patched.in_loop")
def in_loop(n: int) -> Any:
    return [echo("new") if patched("p") else echo("old") for _ in range(n)]


@flow(name="patched.in_loop_old")
def in_loop_old(n: int) -> Any:
    return [echo("old") for _ in range(n)]


@pytest.mark.parametrize(
    ("of", "args", "result"),
    [
        (new, (), ["first", "audit", "again", "last"]),
        (three, (), [True, True, True, "x"]),
        (in_loop, (3,), ["new"] * 3),
    ],
    ids=["new", "three", "in a loop"],
)
def test_a_new_run_has_the_patch_over_crashes(tmp_path: Path, of: Any, args: Any, result: Any) -> None:
    assert everywhere(of, started(of, *args), tmp_path).result == result


def test_the_patch_is_one_row_per_run(durable_app: App) -> None:
    run_to_end(durable_app, new["r"].start())
    assert kinds() == ["step", "returned", "patched", "step", "returned", "step", "returned", "completed"]


def test_an_old_history_goes_on_without_the_patch(durable_app: App, tmp_path: Path) -> None:
    run_to_end(durable_app, old["r"].start())
    assert fits(new, "r", tmp_path) == ["first", "last"]
    run_to_end(durable_app, in_loop_old["s"].start(3))
    assert fits(in_loop, "s", tmp_path) == ["old"] * 3


def test_a_run_that_waits_before_the_patch_gets_it_and_one_that_has_passed_it_does_not(
    durable_app: App, tmp_path: Path
) -> None:
    before = waits_old["before"].start()
    run_until_idle(durable_app)
    assert fits(waits_new, "before", tmp_path) is None  # it still waits, and fits
    before.signal("go", 1)
    assert run_to_end(durable_app, before) == ["first", 1, "last"]
    assert fits(waits_new, "before", tmp_path) == ["first", 1, "last"]


def test_removing_a_patch_from_the_code_is_a_mismatch(durable_app: App, tmp_path: Path) -> None:
    run_to_end(durable_app, new["r"].start())
    with pytest.raises(AssertionError, match="patched"):
        fits(old, "r", tmp_path)


def test_every_kind_of_change_is_told_with_both_sides(durable_app: App, tmp_path: Path) -> None:
    @flow
    def swapped() -> Any:
        return [echo("last"), echo("first")]

    @flow
    def shorter() -> Any:
        return [echo("first")]

    @flow
    def waits_between() -> Any:
        return [echo("first"), signal("x").result(), echo("last")]

    run_to_end(durable_app, old["r"].start())
    for of, says in (
        (swapped, "arguments were"),
        (shorter, "ends before event 4"),
        (waits_between, "the log has a step"),
    ):
        with pytest.raises(AssertionError, match=says) as told:
            fits(of, "r", tmp_path)
        assert "in the log" in str(told.value)


def test_a_mismatch_parks_and_the_other_runs_go_on(durable_app: App) -> None:
    import random as unwise

    @flow
    def unsteady() -> Any:
        echo(unwise.random())
        return signal("go").result()

    bad = unsteady["bad"].start()
    good = waits_old["good"].start()
    run_until_idle(durable_app)
    bad.signal("go")
    good.signal("go", 1)
    assert run_to_end(durable_app, good) == ["first", 1, "last"]
    run_until_idle(durable_app)
    assert (bad.status, bad.record.reason) == ("parked", "mismatch")
    assert "≠" in bad.why()
    assert "test_patched.py" in bad.why()
    assert ended.__name__ == "ended"
    assert runs["bad"].record.ended_at is None
