"""Children as users meet them: called, spawned, detached, watched, failing, cancelled, with ids that are taken."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    Run,
    RunCancelled,
    RunConflict,
    RunFailed,
    continue_as_new,
    flow,
    gather,
    race,
    runs,
    signal,
    sleep,
    step,
    timer,
)
from durable_nb.app import App
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import Failed, echo, ended, everywhere, fail, fits, kinds, told


class Spoiled(Exception):
    """A user's own class, with data."""

    def __init__(self, what: str, grams: int) -> None:
        super().__init__(what, grams)
        self.grams = grams


@flow(name="children.leaf")
def leaf(value: Any) -> Any:
    return echo(value)


@flow(name="children.aleaf")
async def aleaf(value: Any) -> Any:
    return await echo.spawn(value)


@flow(name="children.failing")
def failing(what: str) -> None:
    echo("before")
    raise Spoiled(what, 7)


@flow(name="children.waiting")
def waiting(name: str = "never") -> Any:
    return signal(name).result()


@flow(name="children.going_on")
def going_on(n: int = 0) -> Any:
    echo(n)
    if n < 3:
        continue_as_new(n + 1)
    return f"ended at {n}"


@flow(name="children.calls")
def calls() -> list[Any]:
    return [leaf("a"), leaf["named"]("b"), leaf.spawn("c").result(), aleaf.spawn("d").result(), echo("own")]


@flow(name="children.fan")
def fan(n: int) -> list[Any]:
    return gather(leaf.spawn(i) for i in range(n)).result()


@flow(name="children.async_calls")
async def async_calls() -> list[Any]:
    import asyncio

    return [*await asyncio.gather(aleaf("a"), aleaf["named"]("b")), leaf("c")]


@flow(name="children.catches")
def catches() -> Any:
    try:
        failing("milk")
    except Spoiled as error:
        return [str(error), error.grams, echo("caught")]


@flow(name="children.fails_with")
def fails_with() -> None:
    failing("milk")


@flow(name="children.of_endless")
def of_endless() -> Any:
    return [going_on(), echo("after")]


@flow(name="children.detached")
def detached() -> Any:
    run = leaf["other"].start("x")
    automatic = leaf.start("y")
    return [run.id, automatic.id]


@flow(name="children.taken")
def taken() -> Any:
    try:
        return leaf["taken"]("mine")
    except RunConflict:
        return echo("conflict")


@flow(name="children.attached")
def attached() -> Any:
    return leaf.options(on_conflict="attach")["taken"]("whatever")


@flow(name="children.watching")
def watching(id: str) -> Any:
    return [Run(id).result(), echo("seen")]


@flow(name="children.raced")
def raced() -> Any:
    won = race(waiting["loser"].spawn(), timer("1m")).result()
    sleep("1m")
    return [won.index, echo("after")]


@flow(name="children.left_open")
def left_open() -> str:
    waiting["child"].spawn()
    sleep("1m")
    return "left"


@flow(name="children.parent_of_many_executions")
def many_executions(n: int = 1) -> Any:
    found = leaf(n)
    if n < 3:
        continue_as_new(n + 1)
    return [found, leaf("again")]


def started(of: Any, *args: Any) -> Any:
    def drive(app: App) -> Any:
        of["r"].start(*args)
        return ended(app)

    return drive


CASES: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "calls": (calls, (), ["a", "b", "c", "d", "own"]),
    "fan": (fan, (4,), [0, 1, 2, 3]),
    "async calls": (async_calls, (), ["a", "b", "c"]),
    "catches": (catches, (), ["('milk', 7)", 7, "caught"]),
    "fails with": (fails_with, (), Failed("Spoiled", "('milk', 7)")),
    "of endless": (of_endless, (), ["ended at 3", "after"]),
    "raced": (raced, (), [1, "after"]),
    "left open": (left_open, (), "left"),
    "many executions": (many_executions, (), [3, "again"]),
}


@pytest.mark.parametrize("name", CASES)
def test_children_come_to_the_same_after_a_crash_anywhere(tmp_path: Path, name: str) -> None:
    of, args, result = CASES[name]
    assert everywhere(of, started(of, *args), tmp_path).result == result


def test_a_child_is_an_ask_and_its_end_an_answer(durable_app: App) -> None:
    run_to_end(durable_app, calls["r"].start())
    assert kinds() == ["child", "returned"] * 4 + ["step", "returned", "completed"]
    assert [child.id for child in runs["r"].children] == ["r/2", "named", "r/6", "r/8"]
    assert runs["named"].parent == runs["r"]
    assert runs["r"].parent is None
    assert kinds("r/2") == ["step", "returned", "completed"]


def test_children_of_different_executions_never_share_an_id(durable_app: App) -> None:
    run_to_end(durable_app, many_executions["r"].start())
    ids = [child.id for child in runs["r"].children]
    assert len(ids) == len(set(ids)) == 4
    assert ids[0] == "r/2"
    assert all(id.startswith(("r/2.", "r/3.")) for id in ids[1:])


def test_the_class_of_a_childs_failure_is_restored(durable_app: App, tmp_path: Path) -> None:
    with pytest.raises(Spoiled) as caught:
        run_to_end(durable_app, fails_with["r"].start())
    assert caught.value.grams == 7
    assert isinstance(fits(fails_with, "r", tmp_path), Spoiled)


def test_a_detached_run_outlives_the_flow(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        detached["r"].start()
        found = ended(app)
        run_until_idle(app)
        return [runs[id].result() for id in found]

    lived = everywhere(detached, drive, tmp_path)
    assert lived.result == ["x", "y"]
    assert lived.kinds == ["start", "returned", "start", "returned", "completed"]


def test_a_child_whose_id_is_taken_is_a_failure_that_can_be_caught(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        leaf["taken"].start("theirs")
        taken["r"].start()
        return ended(app)

    lived = everywhere(taken, drive, tmp_path)
    assert lived.result == "conflict"
    assert lived.kinds == ["child", "raised", "step", "returned", "completed"]


def test_a_taken_id_can_be_attached_to(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        leaf["taken"].start("theirs")
        attached["r"].start()
        return ended(app)

    assert everywhere(attached, drive, tmp_path).result == "theirs"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_flow_waits_for_the_end_of_a_run_that_is_not_its_child(tmp_path: Path, is_first: bool) -> None:
    def drive(app: App) -> Any:
        leaf["w"].start("theirs")
        if is_first:
            ended(app, "w")
        watching["r"].start("w")
        return ended(app)

    lived = everywhere(watching, drive, tmp_path)
    assert lived.result == ["theirs", "seen"]
    assert lived.kinds == ["watch", "returned", "step", "returned", "completed"]


def test_a_watched_run_that_is_deleted_is_told(durable_app: App) -> None:
    waiting["w"].start()
    run = watching["r"].start("w")
    run_until_idle(durable_app)
    runs["w"].delete(force=True)
    with pytest.raises(RunFailed, match="deleted"):
        run_to_end(durable_app, run)


def test_a_run_cannot_wait_for_itself_or_for_nobody(durable_app: App) -> None:
    from durable_nb import Refused, UnknownRun

    with pytest.raises(Refused, match="its own end"):
        run_to_end(durable_app, watching["r"].start("r"))
    with pytest.raises(UnknownRun):
        run_to_end(durable_app, watching["s"].start("nobody"))


def test_a_raced_out_child_is_cancelled_with_the_reason(durable_app: App) -> None:
    run_to_end(durable_app, raced["r"].start())
    run_until_idle(durable_app)
    assert runs["loser"].status == "cancelled"
    assert "its parent gave it up" in (runs["loser"].record.sentence or "")
    assert kinds("loser") == ["signal", "cancelling", "cancelled"]


def test_a_child_that_is_open_at_the_end_is_cancelled(durable_app: App) -> None:
    run_to_end(durable_app, left_open["r"].start())
    run_until_idle(durable_app)
    assert runs["child"].status == "cancelled"


def test_the_parent_learns_that_its_child_was_cancelled_or_terminated(durable_app: App) -> None:
    @flow
    def parent(id: str) -> Any:
        try:
            return waiting[id]()
        except RunCancelled as error:
            return str(error)

    for id, verb in (("one", "cancel"), ("two", "terminate")):
        run = parent[f"p-{id}"].start(id)
        run_until_idle(durable_app)
        getattr(runs[id], verb)("enough")
        assert "was cancelled" in run_to_end(durable_app, run)
        assert "enough" in run.result()


def test_a_parked_child_is_named_in_its_parents_why(durable_app: App) -> None:
    @flow(name="children.will_park")
    def will_park(n: int) -> Any:
        try:
            return signal("x").result()
        except BaseException:
            return "swallowed"

    @flow
    def parent() -> Any:
        return will_park["bad"](1)

    run = parent["p"].start()
    run_until_idle(durable_app)
    assert runs["bad"].status == "parked"
    assert run.status == "waiting"
    assert "bad" in run.why()
    assert "parked" in run.why()


def test_wrong_arguments_of_a_child_are_refused_at_the_call(durable_app: App) -> None:
    @flow
    def parent() -> Any:
        return leaf(1, 2, 3)  # type: ignore[call-arg]

    with pytest.raises(TypeError, match=r"children\.leaf"):
        parent["p"]()
    assert kinds("p") == ["failed"]


def test_a_child_completed_while_the_parent_was_down_is_seen(tmp_path: Path) -> None:
    """Everything in another life than the one before: parent asks, child ends, parent goes on."""
    from durable_nb import connect

    clock = FakeClock()
    path = tmp_path / "log.durable.db"
    for _ in range(20):
        with connect(path, carriers=0, clock=clock, durability="process") as app:
            of_endless["r"].start()
            if not app.turn():
                break
    with connect(path, carriers=0, clock=clock) as app:
        assert runs["r"].result() == ["ended at 3", "after"]


def test_signals_to_children_by_their_automatic_id(durable_app: App) -> None:
    @flow
    def parent() -> Any:
        return waiting("go")

    run = parent["p"].start()
    run_until_idle(durable_app)
    told(runs["p/2"], "go", 5)
    assert run_to_end(durable_app, run) == 5


def test_a_failing_child_fails_a_gather_and_the_others_are_cancelled(durable_app: App) -> None:
    @flow
    def parent() -> Any:
        return gather(waiting["one"].spawn(), failing["two"].spawn("egg")).result()

    with pytest.raises(Spoiled):
        run_to_end(durable_app, parent["p"].start())
    run_until_idle(durable_app)
    assert runs["one"].status == "cancelled"
    assert fail.name == "everywhere.fail"


@step(name="children.once_broken")
def once_broken(path: str) -> str:
    if not Path(path).exists():
        raise ValueError("spoiled")
    return "mended"


@flow(name="children.breaks")
def breaks(path: str) -> str:
    return once_broken(path)


@flow(name="children.gathers")
def gathers(path: str) -> Any:
    return gather(waiting["kid"].spawn(), breaks.spawn(path)).result()


def test_a_retry_goes_on_with_the_child_that_failed_and_those_given_up_for_it(durable_app: App, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    run = gathers["r"].start(str(mended))
    run_until_idle(durable_app)
    assert (run.status, runs["kid"].status, runs["r/3"].status) == ("failed", "cancelled", "failed")
    mended.touch()
    run.retry()
    run_until_idle(durable_app)
    assert (run.status, runs["kid"].status, runs["r/3"].status) == ("waiting", "waiting", "completed")
    runs["kid"].signal("never", 5)
    assert run_to_end(durable_app, run)[1] == "mended"


@flow(name="children.same_id")
def same_id() -> Any:
    found = gather(leaf["x"].spawn("a"), leaf["x"].spawn("a"), return_exceptions=True).result()
    again = leaf.options(on_conflict="attach")["x"].spawn("other").result()
    run = leaf["y"].start("d")
    return [type(one).__name__ if isinstance(one, Exception) else one for one in found] + [again, run.id]


@flow(name="children.same_id_attached")
def same_id_attached() -> Any:
    attach = leaf.options(on_conflict="attach")
    detached = [leaf["y"].start("d").id, leaf["y"].start("d").id]
    return [*gather(leaf["x"].spawn("a"), attach["x"].spawn("b")).result(), *detached]


@pytest.mark.parametrize(
    ("of", "result"), [(same_id, ["a", "RunConflict", "a", "y"]), (same_id_attached, ["a", "a", "y", "y"])]
)
def test_one_id_that_is_asked_for_twice_in_one_turn_is_one_run(tmp_path: Path, of: Any, result: Any) -> None:
    assert everywhere(of, started(of), tmp_path).result == result
