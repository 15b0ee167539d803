"""Forks: what is kept, what runs again, and that the origin never notices."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    BadArguments,
    Refused,
    RunConflict,
    connect,
    continue_as_new,
    current_step,
    flow,
    gather,
    note,
    now,
    runs,
    signal,
    sleep,
    state,
    step,
    timer,
    uuid4,
)
from durable_nb.app import App
from durable_nb.errors import BadOption
from durable_nb.flows import registry
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end, run_until_idle
from tests.scenarios.cells import cell

calls: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})
    calls.clear()


def kinds(run: Any) -> list[str]:
    return [type(event).__name__ for event in run.history]


def shop(broken: bool = True) -> Any:
    @step
    def pay(order: str) -> str:
        calls.append(("pay", current_step().idempotency_key))
        return f"paid {order}"

    @step
    def ship(receipt: str) -> str:
        calls.append(("ship", current_step().idempotency_key))
        if broken and len(calls) < 3:
            raise OSError("no van")
        return f"shipped, {receipt}"

    @flow
    def order(name: str) -> str:
        return ship(pay(name))

    return order


def test_a_failed_run_is_forked_before_its_failure(durable_app: App) -> None:
    order = shop()
    with pytest.raises(OSError, match="no van"):
        order["a"]("tea")
    before = kinds(runs["a"])
    made = runs["a"].fork(id="b").start()
    assert run_to_end(durable_app, made) == "shipped, paid tea"
    assert [name for name, _ in calls] == ["pay", "ship", "ship"]
    assert calls[1][1] != calls[2][1]  # another run, another key
    assert kinds(runs["a"]) == before
    assert runs["a"].status == "failed"
    assert kinds(made)[:5] == ["Started", "StepAsked", "Returned", "StepAsked", "Forked"]
    assert (made.origin, runs["a"].forks, runs["a"].origin) == (runs["a"], [made], None)
    forked = made.history[4]
    assert (forked.origin, forked.uid, forked.at_event) == ("a", runs["a"].record.uid, 4)
    assert made.record.uid != runs["a"].record.uid


def test_a_given_result_stands_for_the_step_that_failed(durable_app: App) -> None:
    order = shop()
    with pytest.raises(OSError, match="no van"):
        order["a"]("tea")
    made = runs["a"].fork().with_result("ship", "by hand").start()
    assert run_to_end(durable_app, made) == "by hand"
    assert [name for name, _ in calls] == ["pay", "ship"]


def test_another_result_of_a_finished_step_reaches_what_comes_after_it(durable_app: App) -> None:
    order = shop(broken=False)
    order["a"]("tea")
    made = runs["a"].fork(3).with_result(2, "paid twice").start()
    assert run_to_end(durable_app, made) == "shipped, paid twice"
    with pytest.raises(Refused, match=r"the arguments were .*paid tea.* and are now .*paid twice"):
        runs["a"].fork(4, id="c").with_result("pay", "paid twice").start()
    assert durable_app.store.run("c") is None


def test_other_arguments_begin_it_anew(durable_app: App) -> None:
    order = shop(broken=False)
    order["a"]("tea")
    made = runs["a"].fork(1).with_arguments(name="cake").start()
    assert run_to_end(durable_app, made) == "shipped, paid cake"
    assert made.arguments == {"name": "cake"}
    assert runs["a"].arguments == {"name": "tea"}
    with pytest.raises(BadArguments, match="was begun without size; it has name"):
        runs["a"].fork(1).with_arguments(size=3).start()


def test_a_preview_lists_what_runs_again_and_writes_nothing(durable_app: App) -> None:
    order = shop()
    with pytest.raises(OSError, match="no van"):
        order["a"]("tea")
    seen = runs["a"].fork().preview()
    assert [(one.kind, one.name, one.event) for one in seen.again] == [("step", "ship", 4)]
    assert (seen.kept, seen.at, seen.misfit) == (1, 4, None)
    assert str(seen) == (
        "a fork of run 'a' after event 4, with the newest code: 1 finished asks are kept\n"
        "  again: step `ship` (event 4 has no outcome there)"
    )
    assert "nothing runs again" in str(runs["a"].fork().with_result("ship", "x").preview())
    assert [one.name for one in runs["a"].fork(1).preview().again] == ["pay", "ship"]
    assert "would be refused" in str(runs["a"].fork(4).with_result("pay", 1).preview())
    assert durable_app.store.counts() == {"failed": 1}


def test_what_cannot_be_forked_is_refused_with_the_reason(durable_app: App) -> None:
    order = shop(broken=False)
    order["a"]("tea")
    for at, said in ((0, "not of the present execution"), (99, "the last one is 5"), (6, "the last one is 5")):
        with pytest.raises(Refused, match=said):
            runs["a"].fork(at)
    with pytest.raises(BadOption, match="signals="):
        runs["a"].fork(signals="some")
    with pytest.raises(Refused, match="has not called step `fly`"):
        runs["a"].fork(3).with_result("fly", 1).start()
    runs["a"].fork(3, id="b").start()
    with pytest.raises(RunConflict, match="there is a run 'b' already"):
        runs["a"].fork(3, id="b").start()


def test_a_timer_keeps_what_it_has_left(durable_app: App, durable_clock: FakeClock) -> None:
    @flow
    def sleeper() -> float:
        begun = now()
        sleep("10h")
        return (now() - begun).total_seconds() / 3600

    sleeper["a"].start()
    run_until_idle(durable_app)
    durable_clock.advance("6h")
    as_now, as_then = runs["a"].fork(id="now").start(), runs["a"].fork(2, id="then").start()
    run_until_idle(durable_app)
    assert [run.status for run in (as_now, as_then)] == ["waiting"] * 2
    durable_clock.advance("4h")
    run_until_idle(durable_app)
    assert [runs["a"].status, as_now.status, as_then.status] == ["completed", "completed", "waiting"]
    durable_clock.advance("6h")
    run_until_idle(durable_app)
    assert as_then.result() == pytest.approx(16.0)


def test_children_are_begun_again_under_the_ids_of_the_fork(durable_app: App) -> None:
    @flow
    def child(number: int) -> int:
        calls.append(("child", number))
        return number * signal("go", int).result()

    @flow
    def parent() -> list[int]:
        return gather(child.spawn(2), child.spawn(3)).result()

    parent["a"].start()
    run_until_idle(durable_app)
    runs["a/2"].signal("go", 10)
    run_until_idle(durable_app)
    made = runs["a"].fork(id="b").start()
    run_until_idle(durable_app)
    assert [each.id for each in made.children] == ["b/3"]
    assert [each.id for each in runs["a"].children] == ["a/2", "a/3"]
    runs["b/3"].signal("go", 5)
    run_until_idle(durable_app)
    assert made.result() == [20, 15]
    assert runs["a"].status == "waiting"
    again = runs["a"].fork(id="c").with_result(3, 7).start()
    run_until_idle(durable_app)
    assert (again.result(), again.children) == ([20, 7], [])


def test_a_child_with_an_id_of_its_own_is_shared(durable_app: App) -> None:
    @flow
    def child() -> int:
        return signal("go", int).result()

    @flow
    def parent() -> int:
        return child["shared"]() + 1

    parent["a"].start()
    run_until_idle(durable_app)
    made = runs["a"].fork(id="b").start()
    run_until_idle(durable_app)
    runs["shared"].signal("go", 1)
    run_until_idle(durable_app)
    assert (runs["a"].result(), made.result()) == (2, 2)


def test_steps_elsewhere_run_again_for_the_fork(durable_app: App, durable_clock: FakeClock) -> None:
    @step(delay="2h")
    def work(number: int) -> int:
        calls.append(("work", current_step().idempotency_key))
        return number

    @flow
    def both() -> list[int]:
        found = [work.spawn(1), work.spawn(2)]
        sleep("1h")
        return gather(*found).result()

    both["a"].start()
    run_until_idle(durable_app)
    durable_clock.advance("1h")
    made = runs["a"].fork(id="b").start()
    run_until_idle(durable_app)
    assert sorted(one.due - durable_clock.now() for one in durable_app.store.work(made.record.key)) == [3600.0] * 2
    by_hand = runs["a"].fork(id="c").with_result(2, 70).start()
    durable_clock.advance("1h")
    run_until_idle(durable_app)
    assert (runs["a"].result(), made.result(), by_hand.result()) == ([1, 2], [1, 2], [70, 2])
    assert len({key for _, key in calls}) == len(calls) == 5


def test_signals_stay_with_the_origin_or_are_copied(durable_app: App) -> None:
    @flow
    def listener() -> list[Any]:
        return [signal("first").result(), signal("second").result(), signal("second").result()]

    listener["a"].start()
    run_until_idle(durable_app)
    runs["a"].signal("first", 1)
    run_until_idle(durable_app)
    runs["a"].signal("second", {"very": b"large" * 20_000}, key="k")
    run_until_idle(durable_app)
    runs["a"].signal("third", 3)
    left, copied = runs["a"].fork(3, id="left").start(), runs["a"].fork(3, id="copied", signals="copy").start()
    run_until_idle(durable_app)
    assert left.status == copied.status == "waiting"
    assert "`second`" in left.why()
    assert durable_app.store.mail(left.record.key) == []
    assert [mail.name for mail in durable_app.store.mail(copied.record.key)] == ["third"]
    assert copied.signal("second", 2, key="k") == "repeated"
    copied.signal("second", 4)
    run_until_idle(durable_app)
    assert copied.result() == [1, {"very": b"large" * 20_000}, 4]


def test_state_and_note_are_those_of_the_event(durable_app: App) -> None:
    @flow
    def counter(rounds: int) -> int:
        state["total"] = {1, 2}
        state["gone"] = 1
        note("one")
        sleep("1h")
        state["total"] = {3}
        del state["gone"]
        note("two")
        sleep("1h")
        return len(state["total"])

    run = counter["a"].start(2)
    run_to_end(durable_app, run)
    at = next(event.seq for event in run.history if type(event).__name__ == "TimerAsked")
    made = run.fork(at, id="b").start()
    assert (made.state, made.note) == ({"total": {1, 2}, "gone": 1}, "one")
    assert run_to_end(durable_app, made) == 1
    assert (made.state, made.note) == ({"total": {3}}, "two")


def test_chance_is_that_of_the_origin_until_the_fork_and_another_after_it(durable_app: App) -> None:
    @step
    def use(number: str) -> str:
        return number

    @flow
    def drawer() -> list[str]:
        return [use(str(uuid4())) for _ in range(4)]

    first = drawer["a"]()
    made = runs["a"].fork(5, id="b").start()
    second = run_to_end(durable_app, made)
    third = run_to_end(durable_app, made.fork(8, id="c").start())
    assert first[:2] == second[:2]
    assert second[:3] == third[:3]
    assert len({*first, *second, *third}) == 4 + 2 + 1


def test_values_of_every_kind_are_signed_for_the_fork_and_outlive_the_origin(durable_app: App) -> None:
    @step
    def large(words: set[str]) -> list[bytes]:
        return [b"x" * 200_000]

    @flow
    def keeper(words: set[str]) -> int:
        state["large"] = {1, *range(20_000)}
        found = large(words)
        sleep("1h")
        return len(found[0]) + len(state["large"])

    run = keeper["a"].start({"tea"})
    run_until_idle(durable_app)
    made = run.fork(id="b").start()
    run.delete(force=True)
    durable_app.store.gc(durable_app.clock.now())
    assert run_to_end(durable_app, made) == 220_000
    assert made.arguments == {"words": {"tea"}}
    assert made.origin is not None


def test_a_fork_takes_the_newest_code_where_it_fits_and_else_the_pinned(durable_app: App) -> None:
    @step
    def name(text: str) -> str:
        return text

    def define(first: str, last: str) -> Any:
        source = f"""
@flow
def story():
    begun = name({first!r})
    sleep("1h")
    return begun + {last!r}
"""
        return cell(source, flow=flow, name=name, sleep=sleep)["story"]

    define("a", " old")["s"].start()
    run_until_idle(durable_app)
    define("a", " new")
    fitting = runs["s"].fork(id="new").start()
    define("b", " newest")
    assert runs["s"].fork().preview().code == "the code it began with"
    pinned = runs["s"].fork(id="old").start()
    anew = runs["s"].fork(1, id="newest").start()
    assert run_to_end(durable_app, fitting) == "a new"
    assert run_to_end(durable_app, pinned) == "a old"
    assert run_to_end(durable_app, anew) == "b newest"


def test_a_later_execution_is_forked_within_itself(durable_app: App) -> None:
    @flow
    def rounds(number: int) -> int:
        sleep("1h")
        if number < 3:
            continue_as_new(number + 1)
        return number

    run = rounds["a"].start(1)
    run_to_end(durable_app, run)
    base = run.record.base
    with pytest.raises(Refused, match=f"fork from {base + 1} on"):
        run.fork(base)
    made = run.fork(base + 1, id="b").start()
    assert (made.record.execution, made.record.base) == (3, base)
    assert run_to_end(durable_app, made) == 3
    assert made.arguments == {"number": 3}


def test_a_look_a_signal_or_a_start_is_never_done_twice(durable_app: App) -> None:
    @flow
    def other() -> Any:
        return [signal("x").result(), signal("x").result(timeout="1h")]

    @flow
    def teller() -> str:
        runs_of = other["o"]
        runs_of.signal("x", 1)
        sleep("10h")
        return "done"

    other["o"].start()
    run_until_idle(durable_app)
    teller["a"].start()
    run_until_idle(durable_app)
    told = next(event.seq for event in runs["a"].history if type(event).__name__ == "TellAsked")
    made = runs["a"].fork(told, id="b").start()
    run_until_idle(durable_app)
    assert made.history[told].seq == told + 1
    assert sum(type(event).__name__ == "Received" for event in runs["o"].history) == 1


def test_a_cancelled_run_is_forked_before_it_was_told(durable_app: App) -> None:
    @flow
    def patient() -> str:
        timer("1h").result()
        return "done"

    patient["a"].start()
    run_until_idle(durable_app)
    runs["a"].cancel("enough")
    run_until_idle(durable_app)
    assert runs["a"].status == "cancelled"
    assert run_to_end(durable_app, runs["a"].fork(id="b").start()) == "done"


def test_a_crash_leaves_a_whole_fork_or_none(tmp_path: Path, durable_clock: FakeClock) -> None:
    @flow
    def child(number: int) -> int:
        return number * signal("go", int).result()

    @flow
    def parent() -> list[int]:
        state["large"] = b"x" * 100_000
        return [*gather(child.spawn(2), child.spawn(3)).result(), len(state["large"])]

    seen: set[bool] = set()
    for when in ("before commit", "after commit"):
        for number in range(1, 4):
            path = tmp_path / f"{when}{number}.durable.db"
            app = connect(path, carriers=0, clock=durable_clock)
            parent["a"].start()
            run_until_idle(app)
            with crash_at(number, when):
                try:
                    runs["a"].fork(id="b").start()
                except SimulatedCrash:
                    pass
            abandon(app)
            with connect(path, carriers=0, clock=durable_clock) as app:
                run_until_idle(app)
                is_there = app.store.run("b") is not None
                seen.add(is_there)
                if not is_there:
                    assert [record.id for record in app.store.tree(runs["a"].record.key)] == ["a", "a/3", "a/4"]
                    runs["a"].fork(id="b").start()
                    run_until_idle(app)
                for id, value in (("b/3", 5), ("b/4", 6)):
                    runs[id].signal("go", value)
                run_until_idle(app)
                assert runs["b"].result() == [10, 18, 100_000]
    assert seen == {True, False}


def test_forks_of_every_event_end_where_threads_carry_them(tmp_path: Path) -> None:
    @step(timeout="30s")
    def work(number: int) -> int:
        return number * 2

    @flow
    def fan(width: int) -> int:
        found = gather(work.spawn(number) for number in range(width)).result()
        return sum(found) + int(signal("go", int).result())

    with connect(tmp_path / "fan.durable.db", durability="process"):
        run = fan["a"].start(20)
        run.signal("go", 1)
        assert run.result(timeout=30) == 381
        made = [run.fork(at, signals="copy").start() for at in range(1, len(run.history) - 1)]
        assert {fork.result(timeout=30) for fork in made} == {381}
        assert len(run.forks) == len(made) >= 42
