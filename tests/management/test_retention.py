"""Pruning: what goes, what stays, and that a pruned id says so."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import ResultExpired, connect, flow, runs, signal, state, step
from durable_nb.app import App
from durable_nb.errors import BadOption
from durable_nb.flows import registry
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_until_idle


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})


def ids(found: Any = None) -> list[str]:
    return [run.id for run in (runs() if found is None else found)]


@pytest.fixture
def bill() -> Any:
    @flow
    def bill(number: int) -> int:
        if number < 0:
            raise OSError("negative")
        return number

    return bill


def test_what_ended_longer_ago_goes_and_its_id_says_so(bill: Any, durable_app: App, durable_clock: FakeClock) -> None:
    bill["old"](1)
    durable_clock.advance("8d")
    bill["new"](2)
    would = durable_app.prune(older_than="7d", dry_run=True)
    assert (would.ids, would.runs, ids()) == (("old",), 1, ["new", "old"])
    assert durable_app.prune(older_than="7d") == would
    assert ids() == ["new"]
    for ask in (
        lambda: runs["old"],
        lambda: bill["old"].result(),
        lambda: bill["old"](1),
        lambda: bill["old"].start(1),
        lambda: bill.start_many([("old", (1,))]),
    ):
        with pytest.raises(ResultExpired, match=r"run 'old' completed at .* and was pruned at .*UTC"):
            ask()
    assert durable_app.prune(older_than="7d").ids == ()


def test_an_expired_id_is_used_again_only_on_purpose(bill: Any, durable_app: App) -> None:
    bill["a"](1)
    assert durable_app.prune(keep=0).ids == ("a",)
    assert bill.options(on_conflict="replace")["a"](5) == 5
    assert runs["a"].result() == 5
    runs["a"].delete()
    assert bill["a"](7) == 7


def test_the_newest_of_each_flow_stay(bill: Any, durable_app: App, durable_clock: FakeClock) -> None:
    @flow
    def other() -> None:
        return None

    for number in range(4):
        bill[f"b{number}"](number)
        durable_clock.advance("1h")
    other["o"]()
    assert durable_app.prune(keep=2).ids == ("b0", "b1")
    assert durable_app.prune(flow=bill, keep=0, older_than="30m").ids == ("b2", "b3")
    assert ids() == ["o"]


def test_only_the_status_that_was_named_is_pruned(bill: Any, durable_app: App) -> None:
    bill["done"](1)
    with pytest.raises(OSError, match="negative"):
        bill["failed"](-1)
    assert durable_app.prune(status="failed", keep=0).ids == ("failed",)
    assert ids() == ["done"]
    for wrong in ({}, {"keep": -1}, {"status": "waiting", "keep": 0}):
        with pytest.raises(BadOption):
            durable_app.prune(**wrong)


def test_what_lives_or_a_live_fork_refers_to_stays(durable_app: App, durable_clock: FakeClock) -> None:
    @step
    def first() -> bytes:
        return b"x" * 100_000

    @flow
    def waiter() -> int:
        state["kept"] = first()
        return len(state["kept"]) if signal("go", bool).result() else 0

    run = waiter["a"].start()
    run_until_idle(durable_app)
    made = run.fork(id="b").start()
    run_until_idle(durable_app)
    run.signal("go", True)
    run_until_idle(durable_app)
    durable_clock.advance("1d")
    assert durable_app.prune(keep=0).ids == ()
    durable_app.gc()
    made.signal("go", True)
    run_until_idle(durable_app)
    assert made.result() == 100_000
    durable_clock.advance("1d")
    assert durable_app.prune(keep=0).ids == ("a", "b")
    durable_app.gc()
    assert durable_app.du()["chunk"] == 0


def test_children_go_with_their_parent_and_not_alone(durable_app: App) -> None:
    @flow
    def child() -> int:
        return 1

    @flow
    def parent() -> int:
        return child.spawn().result() + int(signal("go", bool).result())

    parent["p"].start()
    run_until_idle(durable_app)
    assert durable_app.prune(keep=0).ids == ()
    runs["p"].signal("go", True)
    run_until_idle(durable_app)
    gone = durable_app.prune(keep=0)
    assert (gone.ids, gone.runs) == (("p",), 2)
    with pytest.raises(ResultExpired):
        runs["p/2"]


def test_many_runs_are_pruned_batch_after_batch(bill: Any, durable_app: App) -> None:
    bill.start_many((f"b{number}", (number,)) for number in range(230))
    run_until_idle(durable_app)
    assert durable_app.prune(keep=5).runs == 225
    assert len(runs()) == 5


def test_retention_is_looked_after_at_the_start_and_every_hour(
    bill: Any, tmp_path: Path, durable_clock: FakeClock
) -> None:
    path = tmp_path / "kept.durable.db"
    with connect(path, carriers=0, clock=durable_clock):
        bill["a"](1)
        with pytest.raises(OSError, match="negative"):
            bill["f"](-1)
    durable_clock.advance("2d")
    with connect(path, carriers=0, clock=durable_clock, retention={"completed": "1d"}) as app:
        assert ids() == ["f"]
        bill["b"](2)
        durable_clock.advance("25h")
        run_until_idle(app)
        assert ids() == ["f"]
        bill["c"](3)
        durable_clock.advance("30m")
        run_until_idle(app)
        assert ids() == ["c", "f"]
    with connect(path, carriers=0, clock=durable_clock, carry=False, retention=0):
        assert ids() == ["c", "f"]  # who carries nothing removes nothing
    with connect(path, carriers=0, clock=durable_clock, retention=0):
        assert ids() == []
    for wrong in ({"waiting": "1d"}, "soon"):
        with pytest.raises(BadOption):
            connect(path, retention=wrong)  # type: ignore[arg-type]


def test_a_crash_prunes_a_batch_or_nothing(bill: Any, tmp_path: Path, durable_clock: FakeClock) -> None:
    for number, when in enumerate(("before commit", "after commit")):
        path = tmp_path / f"{number}.durable.db"
        app = connect(path, carriers=0, clock=durable_clock)
        bill["a"](1)
        bill["b"](2)
        with crash_at(1, when), pytest.raises(SimulatedCrash):
            app.prune(keep=0)
        abandon(app)
        with connect(path, carriers=0, clock=durable_clock) as app:
            assert ids() == ([] if number else ["b", "a"])
            assert (app.store.expired("a") is not None) == bool(number)
            app.prune(keep=0)
            assert ids() == []
