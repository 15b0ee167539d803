"""Runs that begin again: what comes along, what stays behind, and that nothing is lost in between."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    Cancelled,
    continue_as_new,
    current_run,
    flow,
    note,
    race,
    random,
    runs,
    signal,
    sleep,
    state,
    timer,
    uuid4,
)
from durable_nb.app import App
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import did, echo, ended, everywhere, fits, kinds, rows_of, told
from tests.scenarios.test_children import leaf, waiting
from tests.scenarios.test_futures import slow, started


@flow(name="executions.counter")
def counter(n: int = 1) -> Any:
    echo(n)
    if n < 5:
        continue_as_new(n + 1)
    return [n, current_run().execution]


@flow(name="executions.acounter")
async def acounter(n: int = 1) -> Any:
    await echo.spawn(n)
    if n < 3:
        continue_as_new(n + 1)
    return [n, current_run().execution]


@flow(name="executions.adder")
def adder(total: int = 0, n: int = 0) -> Any:
    """One signal per execution: the mailbox comes along."""
    total += signal("add", int).result()
    if n < 3:
        continue_as_new(total, n=n + 1)
    return total


@flow(name="executions.carries")
def carries(n: int = 1) -> Any:
    state["n"] = n
    state[f"only-{n}"] = True
    if n == 2:
        del state["only-1"]
    note(f"at {n}")
    if n < 3:
        continue_as_new(n + 1)
    return dict(state)


@flow(name="executions.leaves_open")
def leaves_open(n: int = 1) -> Any:
    if n == 1:
        leaf["free"].start("free")
        waiting["child"].spawn()
        slow.spawn("never")
        timer("1s")
        leaf["late"].start("late")
        continue_as_new(2)
    sleep("2h")
    return echo("second")


@flow(name="executions.gives_back")
def gives_back(n: int = 1) -> Any:
    """A signal that came and was not looked at goes to the next execution."""
    if n == 1:
        asked, other = signal("go"), signal("other")
        other.result()
        assert asked.is_settled
        continue_as_new(2)
    return [signal("go").result(), echo("x")]


@flow(name="executions.values")
def values(n: int = 1, before: Any = None) -> Any:
    mine = [str(uuid4()), random().random()]
    if n < 2:
        continue_as_new(2, mine)
    return [before[0] != mine[0], before[1] != mine[1], current_run().id]


@flow(name="executions.raced_then_new")
def raced_then_new(n: int = 1) -> Any:
    if n == 1:
        race(waiting["loser"].spawn(), timer("1m")).result()
        continue_as_new(2)
    return echo("new")


@flow(name="executions.bad_arguments")
def bad_arguments(n: int = 1) -> Any:
    continue_as_new(1, 2, 3)


@flow(name="executions.tidies")
def tidies(n: int = 1) -> Any:
    try:
        signal("never").result()
    except Cancelled:
        did_clean = echo(f"cleaned {n}")
        continue_as_new(did_clean)


CASES: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "counter": (counter, (), [5, 5]),
    "async counter": (acounter, (), [3, 3]),
    "carries": (carries, (), {"n": 3, "only-2": True, "only-3": True}),
    "values": (values, (), [True, True, "r"]),
    "raced, then new": (raced_then_new, (), "new"),
}


@pytest.mark.parametrize("name", CASES)
def test_executions_come_to_the_same_after_a_crash_anywhere(tmp_path: Path, name: str) -> None:
    of, args, result = CASES[name]
    assert everywhere(of, started(of, *args), tmp_path).result == result


def test_the_history_of_every_execution_stays_and_only_the_last_is_replayed(durable_app: App, tmp_path: Path) -> None:
    run_to_end(durable_app, counter["r"].start())
    assert kinds() == ["step", "returned", "continued", "started"] * 4 + ["step", "returned", "completed"]
    assert [row.seq for row in rows_of()] == list(range(1, len(rows_of()) + 1))
    assert runs["r"].record.execution == 5
    assert fits(counter, "r", tmp_path) == [5, 5]


def test_the_uid_stays(durable_app: App) -> None:
    run = counter["r"].start()
    uid = run.record.uid
    run_to_end(durable_app, run)
    assert run.record.uid == uid


def test_mailboxes_come_along_in_order_and_what_arrives_meanwhile_comes_last(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = adder["r"].start()
        for value in (1, 10):
            told(run, "add", value)
        run_until_idle(app)
        for value in (100, 1000):
            told(run, "add", value)
        return ended(app)

    lived = everywhere(adder, drive, tmp_path)
    assert lived.result == 1111
    received = [kind for kind in lived.kinds if kind == "received"]
    assert len(received) == 4


def test_a_signal_that_nobody_looked_at_goes_to_the_next_execution(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = gives_back["r"].start()
        run_until_idle(app)
        told(run, "go", 1)
        told(run, "other", 2)
        told(run, "go", 3)
        return ended(app)

    lived = everywhere(gives_back, drive, tmp_path)
    assert lived.result == [1, "x"]


def test_starts_of_that_turn_happen_and_open_asks_are_cancelled(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        leaves_open["r"].start()
        found = ended(app)
        run_until_idle(app)
        return [
            found,
            runs["free"].result(),
            runs["late"].result(),
            runs["child"].status if "child" in ids(app) else None,
        ]

    lived = everywhere(leaves_open, drive, tmp_path)
    assert lived.result[:3] == ["second", "free", "late"]
    assert lived.result[3] in ("cancelled", None)
    assert not [what for what in lived.did if what.startswith("slow")]


def ids(app: App) -> list[str]:
    from durable_nb.stores.shapes import Query

    return [record.id for record in app.store.find(Query())]


def test_a_raced_out_child_is_cancelled_over_the_new_execution(durable_app: App) -> None:
    run_to_end(durable_app, raced_then_new["r"].start())
    run_until_idle(durable_app)
    assert runs["loser"].status == "cancelled"


def test_wrong_arguments_fail_the_run_and_say_so(durable_app: App) -> None:
    with pytest.raises(TypeError, match=r"executions\.bad_arguments"):
        run_to_end(durable_app, bad_arguments["r"].start())
    assert kinds() == ["failed"]


def test_an_answer_of_the_first_execution_does_not_reach_the_second(durable_app: App, durable_clock: FakeClock) -> None:
    """The step of execution 1 is under way when the run begins anew; its answer comes late and is no harm."""
    run = leaves_open["r"].start()
    run_until_idle(durable_app)
    durable_clock.advance("1h")
    run_until_idle(durable_app)
    assert run.status == "waiting"
    assert run_to_end(durable_app, run) == "second"


def test_the_next_execution_has_the_newest_code(durable_app: App) -> None:
    source = (
        "def endless(n=1):\n    signal('go').result()\n    if n < 2:\n        continue_as_new(n + 1)\n    return {!r}\n"
    )

    def define(word: str) -> Any:
        space: dict[str, Any] = {"signal": signal, "continue_as_new": continue_as_new, "__name__": "__main__"}
        import linecache

        text = source.format(word)
        name = f"<cell {word}>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        exec(compile(text, name, "exec"), space)
        return flow(name="executions.endless")(space["endless"])

    first = define("old")
    run = first["r"].start()
    run_until_idle(durable_app)
    define("new")
    run.signal("go")
    run.signal("go")
    assert run_to_end(durable_app, run) == "new"


def test_cancel_in_the_second_execution(durable_app: App) -> None:
    run = adder["r"].start()
    run.signal("add", 1)
    run_until_idle(durable_app)
    assert run.record.execution == 2
    run.cancel("enough")
    run_until_idle(durable_app)
    assert run.status == "cancelled"
    assert kinds()[-2:] == ["cancelling", "cancelled"]


def test_state_is_kept_over_executions_and_seen_from_outside(durable_app: App) -> None:
    run = carries["r"].start()
    run_to_end(durable_app, run)
    assert run.state == {"n": 3, "only-2": True, "only-3": True}
    assert run.note == "at 3"


def test_retry_after_a_failure_in_a_later_execution(durable_app: App) -> None:
    fails = [True]

    from durable_nb import step

    @step
    def sometimes(n: int) -> int:
        did(f"sometimes {n}")
        if n == 2 and fails.pop():
            raise ValueError("no")
        return n

    @flow
    def again(n: int = 1) -> int:
        found = sometimes(n)
        if n < 3:
            continue_as_new(n + 1)
        return found

    run = again["r"].start()
    with pytest.raises(ValueError, match="no"):
        run_to_end(durable_app, run)
    fails.append(False)
    run.retry()
    assert run_to_end(durable_app, run) == 3
