"""Ending runs from outside: cancel with clean-up, in every place; terminate; the cascade; before the start."""

import asyncio
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    Cancelled,
    DurableWarning,
    Refused,
    Run,
    RunCancelled,
    connect,
    current_step,
    flow,
    gather,
    runs,
    signal,
    sleep,
    step,
    timer,
)
from durable_nb.app import App
from durable_nb.client import ENDED
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import Failed, afetch, echo, ended, everywhere, fits, kinds, rows_of
from tests.scenarios.test_children import leaf, waiting
from tests.scenarios.test_futures import slow


@flow(name="cancel.plain")
def plain() -> Any:
    echo("before")
    return signal("go").result()


@flow(name="cancel.tidy")
def tidy() -> Any:
    try:
        signal("go").result()
    except Cancelled as cancelled:
        echo(f"tidied: {cancelled}")
        sleep("1m")
        raise


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DurableWarning)  # a user may have his reasons

    @flow(name="cancel.finally")
    def with_finally() -> Any:
        try:
            timer("1d").result()
        finally:
            echo("tidied")


@flow(name="cancel.returns")
def returns() -> Any:
    try:
        signal("go").result()
    except Cancelled:
        return [echo("instead")]


@flow(name="cancel.raises")
def raises() -> Any:
    try:
        signal("go").result()
    except Cancelled:
        raise RuntimeError("worse") from None


@flow(name="cancel.atidy")
async def atidy() -> Any:
    try:
        await signal("go")
    except asyncio.CancelledError:
        await afetch("tidied")
        raise


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DurableWarning)

    @flow(name="cancel.agroup")
    async def agroup() -> Any:
        async def one(name: str) -> None:
            try:
                await timer("1d")
            finally:
                await afetch(f"tidied {name}")

        async with asyncio.TaskGroup() as group:
            group.create_task(one("a"))
            group.create_task(one("b"))


@flow(name="cancel.areturns")
async def areturns() -> Any:
    try:
        await timer("1d")
    except asyncio.CancelledError:
        return await afetch("instead")


@flow(name="cancel.gathering")
def gathering() -> Any:
    return gather(slow.spawn(1), waiting["child"].spawn(), timer("1d")).result()


@flow(name="cancel.parent")
def parent() -> Any:
    return waiting["child"]()


@flow(name="cancel.grandparent")
def grandparent() -> Any:
    return parent["middle"]()


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DurableWarning)  # a user may have his reasons

    @flow(name="cancel.slow_tidy")
    def slow_tidy() -> Any:
        try:
            signal("go").result()
        finally:
            sleep("1h")
            echo("never")


@flow(name="cancel.canceller")
def canceller(id: str) -> Any:
    Run(id).cancel("by a flow")
    return echo("told")


@flow(name="cancel.busy")
def busy(n: int) -> Any:
    return [echo(i) for i in range(n)]


def cancelled(of: Any) -> Any:
    """A drive: start, wait, cancel, and what came of it."""

    def drive(app: App) -> Any:
        run = of["r"].start()
        run_until_idle(app)
        if run.status not in ENDED and "cancelling" not in kinds():
            run.cancel("enough")
        return ended(app)

    return drive


WAS = Failed("RunCancelled", "run 'r' of flow `{}` was cancelled: enough")
CASES: dict[str, tuple[Any, Any]] = {
    "plain": (plain, Failed("RunCancelled", "run 'r' of flow `cancel.plain` was cancelled: enough")),
    "tidy": (tidy, Failed("RunCancelled", "run 'r' of flow `cancel.tidy` was cancelled: enough")),
    "finally": (with_finally, Failed("RunCancelled", "run 'r' of flow `cancel.finally` was cancelled: enough")),
    "returns": (returns, ["instead"]),
    "raises": (raises, Failed("RuntimeError", "worse")),
    "async tidy": (atidy, Failed("RunCancelled", "run 'r' of flow `cancel.atidy` was cancelled: enough")),
    "async group": (agroup, Failed("RunCancelled", "run 'r' of flow `cancel.agroup` was cancelled: enough")),
    "async returns": (areturns, "instead"),
    "gathering": (gathering, Failed("RunCancelled", "run 'r' of flow `cancel.gathering` was cancelled: enough")),
    "parent": (parent, Failed("RunCancelled", "run 'r' of flow `cancel.parent` was cancelled: enough")),
}


@pytest.mark.parametrize("name", CASES)
def test_cancel_comes_to_the_same_after_a_crash_anywhere(tmp_path: Path, name: str) -> None:
    of, result = CASES[name]
    assert everywhere(of, cancelled(of), tmp_path).result == result


def test_the_rows_of_a_cancelled_run(durable_app: App, tmp_path: Path) -> None:
    with pytest.raises(RunCancelled):
        cancelled(tidy)(durable_app)
    assert kinds() == ["signal", "cancelling", "step", "returned", "timer", "fired", "cancelled"]
    assert fits(tidy, "r", tmp_path) is None


def test_a_run_that_has_not_begun_ends_without_a_step(durable_app: App) -> None:
    run = busy["r"].start(3)
    run.cancel("never mind")
    run_until_idle(durable_app)
    assert run.status == "cancelled"
    assert kinds() in (["step", "cancelling", "cancelled"], ["cancelling", "cancelled"], ["cancelled"])
    assert not [row for row in rows_of() if row.kind == "returned"]


def test_a_delayed_run_is_cancelled_at_once(durable_app: App) -> None:
    run = busy.options(delay="1h")["r"].start(3)
    run.cancel("never mind")
    assert run.status == "cancelled"
    assert run_until_idle(durable_app) == 0


def test_an_ended_run_cannot_be_cancelled_and_unknown_ones_are_named(durable_app: App) -> None:
    from durable_nb import UnknownRun

    run_to_end(durable_app, busy["r"].start(1))
    with pytest.raises(Refused, match="completed"):
        runs["r"].cancel()
    with pytest.raises(Refused, match="completed"):
        runs["r"].terminate()
    with pytest.raises(UnknownRun):
        Run("nobody").cancel()


def test_the_cascade_reaches_grandchildren_with_the_reason(durable_app: App) -> None:
    run = grandparent["r"].start()
    run_until_idle(durable_app)
    run.cancel("enough")
    run_until_idle(durable_app)
    assert [runs[id].status for id in ("r", "middle", "child")] == ["cancelled"] * 3
    assert "r" in (runs["middle"].record.sentence or "") or "parent" in (runs["middle"].record.sentence or "")


def test_terminate_is_immediate_and_cascades(durable_app: App) -> None:
    run = grandparent["r"].start()
    run_until_idle(durable_app)
    run.terminate("now")
    assert (run.status, run.record.reason) == ("cancelled", "terminated")
    assert kinds()[-1] == "cancelled"
    run_until_idle(durable_app)
    assert [runs[id].status for id in ("middle", "child")] == ["cancelled"] * 2
    with pytest.raises(RunCancelled, match="now"):
        run.result()


def test_clean_up_that_takes_longer_than_its_grace_is_ended(durable_app: App, durable_clock: FakeClock) -> None:
    run = slow_tidy["r"].start()
    run_until_idle(durable_app)
    run.cancel("enough")
    run_until_idle(durable_app)
    assert run.status == "waiting"
    durable_clock.advance("11m")
    run_until_idle(durable_app)
    assert run.status == "cancelled"
    assert "600 s" in (run.record.sentence or "")


def test_a_second_cancel_changes_nothing(durable_app: App) -> None:
    run = tidy["r"].start()
    run_until_idle(durable_app)
    run.cancel("one")
    run_until_idle(durable_app)
    run.cancel("two")
    with pytest.raises(RunCancelled, match="one"):
        run_to_end(durable_app, run)
    assert kinds().count("cancelling") == 1


def test_a_flow_cancels_another_run(durable_app: App) -> None:
    plain["other"].start()
    run_until_idle(durable_app)
    assert run_to_end(durable_app, canceller["r"].start("other")) == "told"
    run_until_idle(durable_app)
    assert runs["other"].status == "cancelled"
    assert "by a flow" in (runs["other"].record.sentence or "")


def test_a_paused_run_can_be_cancelled(durable_app: App) -> None:
    run = plain["r"].start()
    run_until_idle(durable_app)
    run.pause()
    run.cancel("enough")
    run_until_idle(durable_app)
    assert run.status == "cancelled"


def test_cancel_during_a_step_in_place_is_met_at_the_next_ask(durable_app: App) -> None:
    @step
    def cancels_me() -> str:
        runs["r"].cancel("from inside")
        return "done"

    @flow
    def steps() -> Any:
        try:
            return [cancels_me(), echo("never")]
        except Cancelled:
            echo("tidied")
            raise

    with pytest.raises(RunCancelled, match="from inside"):
        run_to_end(durable_app, steps["r"].start())
    said = [row.kind for row in rows_of()]
    assert said.count("returned") == 2
    assert "cancelling" in said


def test_a_running_step_elsewhere_is_told_and_its_answer_comes_to_nobody(tmp_path: Path) -> None:
    is_there, may_go = threading.Event(), threading.Event()
    seen: list[bool] = []

    @step(timeout=60)
    def long() -> str:
        me = current_step()
        is_there.set()
        while not me.cancelled and not may_go.wait(0.01):
            pass
        seen.append(me.cancelled)
        return "late"

    @flow
    def waits_for_it() -> Any:
        return long()

    with connect(tmp_path / "log.durable.db") as app:
        run = waits_for_it["r"].start()
        assert is_there.wait(20)
        run.cancel("enough")
        with pytest.raises(RunCancelled):
            run.result(timeout=20)
        deadline = threading.Event()
        while not seen and not deadline.wait(0.01):
            pass
        assert seen == [True]
        assert [row.kind for row in app.store.history(run.record.key)][-1] == "cancelled"
        assert leaf.name == "children.leaf"
