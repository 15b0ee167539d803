"""runs(…): what is found, in which order, and verbs for all that was found."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_nb import NotInFlow, flow, note, runs, signal, step
from durable_nb.app import App
from durable_nb.errors import BadOption
from durable_nb.flows import registry
from durable_nb.testing import FakeClock, run_until_idle


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})


def ids(found: Any) -> list[str]:
    return [run.id for run in found]


@pytest.fixture
def made(durable_app: App, durable_clock: FakeClock) -> dict[str, Any]:
    """Three that wait for `approve`, one that failed, one that has a child, two hours apart."""

    @flow
    def waiter(number: int) -> bool:
        return signal("approve", bool).result()

    @flow
    def failing() -> None:
        raise OSError("no van")

    @flow
    def parent() -> bool:
        note("on")
        return waiter.spawn(7).result()

    for number in range(3):
        waiter[f"w{number}"].start(number)
    failing["f"].start()
    run_until_idle(durable_app)
    durable_clock.advance("2h")
    parent["p"].start()
    run_until_idle(durable_app)
    return {"waiter": waiter, "failing": failing, "parent": parent}


def test_runs_are_found_newest_first_by_all_that_is_given(made: dict[str, Any], durable_clock: FakeClock) -> None:
    assert ids(runs()) == ["p/3", "p", "f", "w2", "w1", "w0"]
    assert ids(runs(flow="waiter")) == ids(runs(flow=made["waiter"])) == ["p/3", "w2", "w1", "w0"]
    assert ids(runs(status="failed")) == ids(runs(search="VAN")) == ["f"]
    assert ids(runs(status=["failed", "waiting"], flow="failing")) == ["f"]
    assert ids(runs(status=("failed", "waiting"))) == ids(runs())
    assert ids(runs(since="1h")) == ["p/3", "p"]
    assert ids(runs(since=datetime.fromtimestamp(durable_clock.now() - 3600, UTC))) == ["p/3", "p"]
    assert ids(runs(waiting_for="approve")) == ["p/3", "w2", "w1", "w0"]
    assert ids(runs(waiting_for="waiter")) == ["p"]
    assert ids(runs(parent="p")) == ids(runs(parent=runs["p"])) == ["p/3"]
    assert ids(runs(flow="nothing")) == []


def test_a_query_reads_when_it_is_looked_at(made: dict[str, Any]) -> None:
    found = runs(flow="waiter", parent=None)
    made["waiter"]["w3"].start(3)
    assert (len(found), found.count(), bool(found)) == (5, 5, True)
    assert ids(found[:2]) == ["w3", "p/3"]
    assert ids(found[1:4:2]) == ["p/3", "w1"]
    assert found[4].id == "w0"
    assert not runs(flow="nothing")
    with pytest.raises(IndexError, match="there are only 5"):
        found[5]
    with pytest.raises(BadOption, match="a query takes a number"):
        found["w1"]


def test_pages_go_on_where_the_last_one_ended(durable_app: App) -> None:
    @flow
    def one(number: int) -> int:
        return number

    one.start_many((f"r{number}", (number,)) for number in range(450))
    assert ids(runs()) == [f"r{number}" for number in reversed(range(450))]
    assert ids(runs(status=["pending", "failed"])[:3]) == ["r449", "r448", "r447"]


def test_a_query_is_a_frame(made: dict[str, Any]) -> None:
    frame = runs().df
    assert list(frame["id"]) == ids(runs())
    assert str(frame["created_at"].dtype).startswith("datetime64[")
    assert frame.set_index("id").loc["f", "status"] == "failed"
    assert len(runs(flow="nothing").df) == 0


def test_what_makes_no_sense_is_refused(made: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="status='done'"):
        runs(status="done")
    with pytest.raises(BadOption, match="no time zone"):
        runs(since=datetime(2026, 1, 1))

    @flow
    def asker() -> int:
        return len(runs())

    with pytest.raises(NotInFlow, match="runs does not work in a flow"):
        asker["x"]()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(made: dict[str, Any], durable_app: App) -> None:
    before = durable_app.store.counts()
    found = runs().cancel("enough", dry_run=True)
    assert [one.id for one in found if one.is_done] == ["p/3", "p", "w2", "w1", "w0"]
    assert [(one.id, one.sentence) for one in found if not one.is_done] == [
        ("f", "run 'f' is failed; there is nothing to cancel")
    ]
    assert [one.id for one in runs().retry(dry_run=True) if one.is_done] == ["f"]
    assert [one.id for one in runs().delete(dry_run=True) if one.is_done] == ["f"]
    assert [one.id for one in runs().signal("approve", 1, dry_run=True) if one.is_done] == ["p"]
    assert not any(one.is_done for one in runs().resume(dry_run=True))
    assert durable_app.store.counts() == before
    assert all(durable_app.store.mail(run.record.key) == [] for run in runs())


def test_verbs_for_all_go_on_where_one_is_refused(made: dict[str, Any], durable_app: App) -> None:
    told = runs(status=["waiting", "failed"], search="w").signal("approve", True)
    assert {one.id: one.is_done for one in told} == {"p/3": True, "w2": True, "w1": True, "w0": True}
    assert [one.is_done for one in runs(flow="failing").signal("approve", True)] == [False]
    run_until_idle(durable_app)
    assert durable_app.store.counts() == {"completed": 5, "failed": 1}
    assert [one.is_done for one in runs(status="failed").retry()] == [True]
    run_until_idle(durable_app)
    assert all(one.is_done for one in runs().delete())
    assert not runs()


def test_pause_resume_terminate_and_cancel_reach_all(made: dict[str, Any], durable_app: App) -> None:
    assert len([one for one in runs(flow="waiter").pause() if one.is_done]) == 4
    assert ids(runs(status="paused")) == ["p/3", "w2", "w1", "w0"]
    assert all(one.is_done for one in runs(status="paused").resume())
    assert all(one.is_done for one in runs(search="w0").terminate("enough"))
    assert runs["w0"].status == "cancelled"
    runs(status="waiting", flow="waiter").cancel("enough")
    run_until_idle(durable_app)
    assert {run.status for run in runs(flow="waiter")} == {"cancelled"}


def test_a_tree_shows_a_run_with_all_below_it(made: dict[str, Any]) -> None:
    first, second = runs["p"].tree().splitlines()
    assert first.startswith("p  parent  waiting: ")
    assert second == "└─ p/3  waiter  waiting: the signal `approve`"
    assert runs["w1"].tree() == "w1  waiter  waiting: the signal `approve`"


def test_queries_and_trees_work_in_a_step(durable_app: App) -> None:
    @step
    def look() -> int:
        return len(runs())

    @flow
    def looker() -> int:
        return look()

    assert looker["x"]() == 1
