"""The scenarios of the reference engine that favour traps (spec 13), by number, in our words.

Not here: 25, a step that only some processes know, and 38 and 39, sessions and tags, which are proved beside queues.
"""

import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    LogError,
    Refused,
    Run,
    RunCancelled,
    RunConflict,
    Unstorable,
    connect,
    continue_as_new,
    current_run,
    flow,
    gather,
    race,
    runs,
    signal,
    sleep,
    state,
    step,
    timer,
)
from durable_nb.app import App
from durable_nb.client import ENDED
from durable_nb.stores.shapes import NewMail
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end, run_until_idle
from tests.scenarios.everywhere import DONE, did, echo, ended, everywhere, fits, kinds, rows_of, told
from tests.scenarios.test_children import going_on, leaf, many_executions, of_endless, taken, waiting
from tests.scenarios.test_executions import carries, counter, raced_then_new
from tests.scenarios.test_futures import gathered, slow, started
from tests.scenarios.test_signals import gives_back, queue
from tests.scenarios.test_state import counter as state_counter


@flow(name="s13.race")
def raced() -> Any:
    a, b = signal("a"), signal("b")
    won = race(a, b).result()
    return [won.index, echo(won.value)]


def test_s13_01_race_by_history(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = raced["r"].start()
        run_until_idle(app)
        told(run, "b", "B")
        told(run, "a", "A")
        return ended(app)

    assert everywhere(raced, drive, tmp_path).result == [1, "B"]


def test_s13_01_both_there_before_the_race_is_looked_at(durable_app: App, tmp_path: Path) -> None:
    run = raced["r"].start()
    run.signal("b", "B")
    run.signal("a", "A")
    assert run_to_end(durable_app, run) == [1, "B"]  # by the order of the mail, as at any other time
    assert fits(raced, "r", tmp_path) == [1, "B"]


@step(name="s13.serial")
def serial(same: str) -> int:
    did(same)
    return sum(1 for _, _, what in DONE if what == same)


@flow(name="s13.identical")
def identical() -> list[int]:
    one, two = serial.spawn("x"), serial.spawn("x")
    sleep("1h")
    return [one.result(), two.result()]


def test_s13_02_identical_steps_keep_their_own_results(tmp_path: Path) -> None:
    DONE.clear()
    clock = FakeClock()
    with connect(tmp_path / "log.durable.db", carriers=0, clock=clock) as app:
        identical["r"].start()
        run_until_idle(app)
    with connect(tmp_path / "log.durable.db", carriers=0, clock=clock) as app:
        found = ended(app)
        assert sorted(found) == [1, 2]
        assert fits(identical, "r", tmp_path) == found


@flow(name="s13.loser")
def loser() -> Any:
    won = race(slow.spawn("late"), timer("1m")).result()
    sleep("3h")
    return won.index


def test_s13_03_the_answer_of_a_loser_reaches_nobody(durable_app: App, tmp_path: Path) -> None:
    run = loser["r"].start()
    run_until_idle(durable_app)
    late = NewMail("returned", 2, 1, None, None, b'{"json":1}', "a slow worker", True)
    assert isinstance(durable_app.clock, FakeClock)
    durable_app.clock.advance("2m")
    run_until_idle(durable_app)
    durable_app.store.tell(run.record.key, late, durable_app.clock.now())
    assert run_to_end(durable_app, run) == 1
    assert kinds().count("drop") == 1
    assert "returned" not in kinds()
    assert fits(loser, "r", tmp_path) == 1


@flow(name="s13.kept_loser")
def kept_loser() -> Any:
    won = race(slow.spawn("late").keep(), timer("1m")).result()
    sleep("3h")
    return won.index


def test_s13_04_a_removed_drop_is_a_mismatch_and_a_new_one_fits(durable_app: App, tmp_path: Path) -> None:
    run_to_end(durable_app, loser["r"].start())
    run_to_end(durable_app, kept_loser["k"].start())
    with pytest.raises(AssertionError, match="still holds"):
        fits(kept_loser, "r", tmp_path)
    assert fits(loser, "k", tmp_path) == 1


@flow(name="s13.dropped_at_once")
def dropped_at_once() -> Any:
    race(gather(), slow.spawn(1)).result()
    return echo("x")


def test_s13_05_asked_and_given_up_in_one_turn(durable_app: App, tmp_path: Path) -> None:
    run_to_end(durable_app, dropped_at_once["r"].start())
    assert kinds()[:2] == ["step", "drop"]
    assert not durable_app.store.work(runs["r"].record.key)
    assert fits(dropped_at_once, "r", tmp_path) == "x"


@flow(name="s13.last")
def last() -> Any:
    return signal("last").result()


def test_s13_06_cancel_before_the_last_answer_wins_and_the_parent_hears_it(durable_app: App) -> None:
    @flow(name="s13.parent_of_last")
    def parent_of_last() -> Any:
        try:
            return last["child"]()
        except RunCancelled as error:
            return str(error)

    parent = parent_of_last["p"].start()
    run_until_idle(durable_app)
    runs["child"].cancel("too late")
    runs["child"].signal("last", 1)
    assert "too late" in run_to_end(durable_app, parent)
    assert runs["child"].status == "cancelled"


def test_s13_07_cancel_before_the_first_turn(durable_app: App) -> None:
    DONE.clear()
    run = counter["r"].start()
    run.cancel("never mind")
    run_until_idle(durable_app)
    assert run.status == "cancelled"
    assert DONE == []


def test_s13_08_orphan_mail_stops_nobody(durable_app: App) -> None:
    from durable_nb import UnknownRun

    for verb in (lambda: Run("ghost").cancel(), lambda: Run("ghost").signal("x", 1)):
        with pytest.raises(UnknownRun):
            verb()
    Run("ghost").signal("x", 1, before_start=True)
    stray = NewMail("returned", 99, 1, None, None, b'{"json":1}', "nobody", True)
    run = last["r"].start()
    durable_app.store.tell(run.record.key, stray, durable_app.clock.now())
    durable_app.store.tell(12345, stray, durable_app.clock.now())
    run.signal("last", 5)
    assert run_to_end(durable_app, run) == 5
    assert kinds() == ["signal", "received", "completed"]


def test_s13_09_signals_before_the_start_are_kept_when_asked_for(durable_app: App) -> None:
    for n in (1, 2):
        Run("r").signal("item", n, before_start=True)
    run = queue["r"].start(3)
    run.signal("item", 3)
    assert run_to_end(durable_app, run) == [1, 2, 3]


def test_s13_10_five_thousand_signals_in_one_turn(durable_app: App, tmp_path: Path) -> None:
    run = queue["r"].start(5000)
    for n in range(5000):
        run.signal("item", n)
    assert run_to_end(durable_app, run) == list(range(5000))
    assert fits(queue, "r", tmp_path) == list(range(5000))


def test_s13_11_a_signal_that_lost_to_a_timer_in_one_batch_goes_to_the_next_wait(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = gives_back["r"].start()
        run_until_idle(app)
        if run.status not in ENDED and "fired" not in kinds():
            app.clock.advance("2h")  # type: ignore[attr-defined]
        told(run, "go", 7)
        return ended(app)

    assert everywhere(gives_back, drive, tmp_path).result == [0, 7, "after"]


@flow(name="s13.unlooked")
def unlooked() -> Any:
    """Both signals are revealed; only one was looked at, and the other one is given up by the race of races."""
    a, b = signal("x"), signal("y")
    first = race(race(a, timer("9h")), race(b, timer("9h"))).result()
    return [first.index, first.value.value, signal("x").result(), signal("x").result()]


def test_s13_12_what_a_dying_wait_had_taken_goes_back_in_its_order(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = unlooked["r"].start()
        run_until_idle(app)
        told(run, "y", "Y")
        told(run, "x", 1)
        told(run, "x", 2)
        return ended(app)

    assert everywhere(unlooked, drive, tmp_path).result == [1, "Y", 1, 2]


def test_s13_13_a_signal_before_its_wait_is_delivered(durable_app: App) -> None:
    run = last["r"].start()
    run.signal("last", "early")
    assert run_to_end(durable_app, run) == "early"


def test_s13_14_equal_signals_are_two_signals(durable_app: App) -> None:
    run = queue["r"].start(2)
    run.signal("item", "same")
    run.signal("item", "same")
    assert run_to_end(durable_app, run) == ["same", "same"]


@flow(name="s13.fifo")
def fifo() -> Any:
    first, second = signal("q"), signal("q")
    return [second.result(), first.result()]


@flow(name="s13.fifo_gives_turn")
def fifo_gives_turn() -> Any:
    first, second = signal("q"), signal("q")
    race(first, timer("1m")).result()
    return second.result()


def test_s13_15_turns_at_a_mailbox_are_taken_when_signal_is_called(tmp_path: Path, durable_app: App) -> None:
    def drive(app: App) -> Any:
        run = fifo["r"].start()
        told(run, "q", 1)
        told(run, "q", 2)
        return ended(app)

    assert everywhere(fifo, drive, tmp_path).result == [2, 1]
    run = fifo_gives_turn["g"].start()
    run_until_idle(durable_app)
    durable_app.clock.advance("2m")  # type: ignore[attr-defined]
    run_until_idle(durable_app)
    run.signal("q", "only")
    assert run_to_end(durable_app, run) == "only"


@flow(name="s13.carry_forward")
def carry_forward(got: tuple[Any, ...] = ()) -> Any:
    got = (*got, signal("q").result())
    if len(got) < 5:
        continue_as_new(got)
    return list(got)


def test_s13_16_mail_comes_along_in_order(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = carry_forward["r"].start()
        for n in range(3):
            told(run, "q", n)
        run_until_idle(app)
        for n in range(3, 5):
            told(run, "q", n)
        return ended(app)

    assert everywhere(carry_forward, drive, tmp_path).result == [0, 1, 2, 3, 4]


@flow(name="s13.stale")
def stale(n: int = 1) -> Any:
    if n == 1:
        slow.spawn("stale")
        timer("1m")
        waiting["stale-child"].spawn("x")
        continue_as_new(2)
    return signal("end").result()


def test_s13_17_answers_of_an_earlier_execution_are_nothing_to_the_next(durable_app: App, tmp_path: Path) -> None:
    run = stale["r"].start()
    run_until_idle(durable_app)
    for seq in (2, 3, 4):
        mail = NewMail("returned", seq, 1, None, None, b'{"json":"stale"}', "late", True)
        durable_app.store.tell(run.record.key, mail, durable_app.clock.now())
    durable_app.clock.advance("2h")  # type: ignore[attr-defined]
    run_until_idle(durable_app)
    assert run.status == "waiting"
    run.signal("end", "fresh")
    assert run_to_end(durable_app, run) == "fresh"
    assert fits(stale, "r", tmp_path) == "fresh"


def test_s13_18_starts_happen_and_the_rest_is_cancelled_when_a_run_begins_anew(durable_app: App) -> None:
    run_to_end(durable_app, raced_then_new["r"].start())
    run_until_idle(durable_app)
    assert runs["loser"].status == "cancelled"


def test_s13_19_the_last_execution_of_a_child_answers_its_parent(tmp_path: Path) -> None:
    assert everywhere(of_endless, started(of_endless), tmp_path).result == ["ended at 3", "after"]
    assert going_on.name == "children.going_on"


def test_s13_20_a_child_answers_execution_3_after_a_restart(tmp_path: Path) -> None:
    @flow(name="s13.third")
    def third(n: int = 1) -> Any:
        if n < 3:
            leaf(n)
            continue_as_new(n + 1)
        return waiting("go")

    clock = FakeClock()
    with connect(tmp_path / "log.durable.db", carriers=0, clock=clock) as app:
        third["r"].start()
        run_until_idle(app)
        ids = [child.id for child in runs["r"].children]
        assert len(set(ids)) == 3
    with connect(tmp_path / "log.durable.db", carriers=0, clock=clock) as app:
        runs[ids[-1]].signal("go", "here")
        assert ended(app) == "here"
        assert runs["r"].record.execution == 3
    assert many_executions.name == "children.parent_of_many_executions"


def test_s13_21_a_limit_in_a_child_reaches_the_parent_and_nothing_too_large_is_kept(durable_app: App) -> None:
    @flow(name="s13.too_much")
    def too_much() -> None:
        state["k"] = "x" * 2_000_000

    @flow(name="s13.parent_of_too_much")
    def parent_of_too_much() -> Any:
        try:
            too_much["child"]()
        except Unstorable as error:
            return str(error)

    assert "1,048,576 are allowed" in run_to_end(durable_app, parent_of_too_much["p"].start())
    assert runs["child"].state == {}
    assert "set" not in kinds("child")


def test_s13_22_children_of_a_failed_parent_are_cancelled(durable_app: App) -> None:
    @flow(name="s13.dies")
    def dies() -> None:
        waiting["orphan"].spawn()
        sleep("1m")
        raise RuntimeError("died")

    with pytest.raises(RuntimeError):
        run_to_end(durable_app, dies["r"].start())
    run_until_idle(durable_app)
    assert runs["orphan"].status == "cancelled"


def test_s13_26_a_second_start_changes_nothing(durable_app: App) -> None:
    run = last["r"].start()
    last["r"].start()
    with pytest.raises(RunConflict, match="belongs to a run of flow"):
        leaf["r"].start(1)
    many = counter["c"].start()
    with pytest.raises(RunConflict, match="other arguments"):
        counter["c"].start(3)
    run_to_end(durable_app, many)
    assert counter["c"].start().result() == [5, 5]  # also after it has begun anew
    run.signal("last", 1)
    assert run_to_end(durable_app, run) == 1
    leaf["taken"].start("theirs")
    assert run_to_end(durable_app, taken["t"].start()) == "conflict"


def test_s13_27_read_modify_write_is_exact_over_crashes(tmp_path: Path) -> None:
    assert everywhere(state_counter, started(state_counter, 8), tmp_path).result == 8


def test_s13_28_a_removed_key_is_gone_at_once_and_may_come_back(durable_app: App) -> None:
    run_to_end(durable_app, carries["r"].start())
    assert "only-1" not in runs["r"].state

    @flow(name="s13.back")
    def back() -> Any:
        state["k"] = 1
        del state["k"]
        signal("look").result()
        state["k"] = 2
        return dict(state)

    run = back["b"].start()
    run_until_idle(durable_app)
    assert run.state == {}
    run.signal("look")
    assert run_to_end(durable_app, run) == {"k": 2}


def test_s13_29_many_keys_replay_alike(tmp_path: Path) -> None:
    @flow(name="s13.keys")
    def keys() -> Any:
        for n in range(20):
            state[f"k{n}"] = n
        echo("x")
        for key in list(state)[::2]:
            del state[key]
        return sorted(state.values())

    assert everywhere(keys, started(keys), tmp_path).result == list(range(1, 20, 2))


def test_s13_30_retries_and_a_timeout_over_all(durable_app: App, tmp_path: Path) -> None:
    @step(name="s13.errs", retry={"max_attempts": 5, "first": 60, "factor": 1, "jitter": 0})
    def errs() -> None:
        did("errs")
        raise ConnectionError("no")

    @flow(name="s13.gives_up")
    def gives_up() -> Any:
        tries = errs.spawn()
        try:
            tries.result(timeout="90s")
        except TimeoutError:
            sleep("1s")
            return race(tries, timer(0)).result().index

    DONE.clear()
    assert run_to_end(durable_app, gives_up["r"].start()) == 1
    assert len(DONE) == 2
    assert kinds().count("attempt_failed") == 2
    assert not durable_app.store.work(runs["r"].record.key)
    assert fits(gives_up, "r", tmp_path) == 1


@flow(name="s13.timers")
def timers() -> Any:
    won = race(timer(1.5), timer(0.8), signal("s")).result()
    return won.index


def test_s13_31_what_was_due_first_wins_after_downtime(durable_app: App, tmp_path: Path) -> None:
    run = timers["r"].start()
    run_until_idle(durable_app)
    durable_app.clock.advance("1h")  # type: ignore[attr-defined]
    assert run_to_end(durable_app, run) == 1
    assert fits(timers, "r", tmp_path) == 1
    other = timers["s"].start()
    run_until_idle(durable_app)
    other.signal("s")
    assert run_to_end(durable_app, other) == 2


def test_s13_32_a_step_whose_run_has_ended_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    from durable_nb import current_step

    begun, seen = threading.Event(), threading.Event()

    @step(name="s13.endless", timeout=60)
    def endless() -> str:
        begun.set()
        while not current_step().cancelled:
            threading.Event().wait(0.005)
        seen.set()
        return "nobody wants it"

    @flow(name="s13.leaves")
    def leaves() -> str:
        endless.spawn()
        signal("leave").result()
        return "left"

    with connect(tmp_path / "log.durable.db") as app:
        run = leaves["r"].start()
        assert begun.wait(20)
        run.signal("leave")
        assert run.result(timeout=20) == "left"
        assert seen.wait(20)
        assert kinds()[-1] == "completed"
        assert app.store.mail(run.record.key) == []


@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_s13_34_a_failed_commit_of_an_answer_gives_exactly_one_answer(tmp_path: Path, when: str) -> None:
    for commit in range(1, 100):
        clock, path = FakeClock(), tmp_path / f"{commit}.durable.db"
        app = connect(path, carriers=0, clock=clock)
        gathered["r"].start(1)
        with crash_at(commit, when) as point:
            try:
                run_until_idle(app)
            except (SimulatedCrash, LogError):
                assert point.is_dead
            abandon(app)
        with connect(path, carriers=0, clock=clock) as again:
            gathered["r"].start(1)
            assert ended(again) == [0]
            assert kinds().count("returned") == 1
        if not point.is_dead:
            break
    assert commit > 3


def test_s13_35_of_two_who_carry_a_run_only_one_can_write(tmp_path: Path) -> None:
    from durable_nb.stores.protocol import LeaseLost
    from durable_nb.stores.shapes import Commit

    with connect(tmp_path / "log.durable.db", carriers=0, clock=FakeClock()) as app:
        run = last["r"].start()
        owner = app.owner()
        old = app.store.claim_run(run.record.key, owner, 1.0)
        assert old is not None
        new = app.store.wrest(run.record.key, owner)
        assert new is not None
        row = rows_of()[0]._replace(seq=2)
        with pytest.raises(LeaseLost):
            app.store.commit(Commit(old.key, old.lease, old.mail, [row], 2.0))
        assert len(rows_of()) == 1


def test_s13_36_a_new_run_of_a_deleted_id_gets_nothing_of_the_old_one(durable_app: App) -> None:
    old = last["r"].start()
    run_until_idle(durable_app)
    key, uid = old.record.key, old.record.uid
    old.delete(force=True)
    new = last["r"].start()
    assert new.record.uid != uid
    durable_app.store.tell(key, NewMail("returned", 2, 1, None, None, b'{"json":"zombie"}', "x", True), 1.0)
    run_until_idle(durable_app)
    assert new.status == "waiting"
    new.signal("last", "mine")
    assert run_to_end(durable_app, new) == "mine"


def test_s13_40_a_row_of_an_unknown_kind_stops_its_run_alone(durable_app: App) -> None:
    bad, good = last["bad"].start(), last["good"].start()
    run_until_idle(durable_app)
    durable_app.store.database.transact(
        lambda connection: connection.execute(
            "update event set kind = 'from the future' where run = ? and seq = 2", (bad.record.key,)
        )
    )
    for run in (bad, good):
        run.signal("last", 1)
    run_until_idle(durable_app)
    assert good.result() == 1
    assert bad.status == "parked"
    assert "'from the future'" in bad.why()


def test_s13_41_two_thousand_steps_over_several_workers_in_the_order_of_arguments(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db", workers=8, durability="process"):
        assert gathered["r"](2000) == list(range(2000))


def test_s13_42_closing_returns_when_idle_and_another_app_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    with connect(path) as app:
        run = last["r"].start()
        assert run.wait_for_note is not None
        app.close()
    with connect(path):
        runs["r"].signal("last", 9)
        assert runs["r"].result(timeout=20) == 9


def test_s13_23_a_run_keeps_its_version_and_its_next_execution_takes_the_newest(durable_app: App) -> None:
    def define(version: str) -> Any:
        @flow(name="s13.versioned", version=version)
        def versioned(n: int = 1, seen: tuple[Any, ...] = ()) -> Any:
            seen = (*seen, current_run().version, signal("go").result())
            if n < 2:
                continue_as_new(2, seen)
            return list(seen)

        return versioned

    run = define("1")["r"].start()
    run_until_idle(durable_app)
    assert run.record.version == "1"
    define("2")
    run.signal("go", "first")
    run.signal("go", "second")
    assert run_to_end(durable_app, run) == ["1", "first", "2", "second"]
    assert run.record.version == "2"


def test_s13_24_a_run_whose_code_is_missing_parks_and_can_be_deleted_by_force(durable_app: App) -> None:
    run, other = last["r"].start(), last["other"].start()
    run_until_idle(durable_app)
    durable_app.store.database.transact(
        lambda connection: connection.execute("update run set code = 'gone', flow = 'nobody' where key = 1")
    )
    for one in (run, other):
        one.signal("last", 1)
    run_until_idle(durable_app)
    assert (run.status, run.record.reason) == ("parked", "no_code")
    assert other.result() == 1
    with pytest.raises(Refused):
        run.delete()
    run.delete(force=True)
    with pytest.raises(LookupError):
        runs["r"]


def test_s13_33_a_lease_is_not_lost_by_the_clock(durable_app: App) -> None:
    @step(name="s13.long")
    def long() -> str:
        runs["r"].host.clock.advance("30d")  # type: ignore[attr-defined]
        return "still mine"

    @flow(name="s13.long_lived")
    def long_lived() -> Any:
        return [long(), echo("after")]

    DONE.clear()
    assert run_to_end(durable_app, long_lived["r"].start()) == ["still mine", "after"]
    assert kinds() == ["step", "returned", "step", "returned", "completed"]


def test_s13_37_an_endless_run_is_never_deleted_between_its_executions(durable_app: App) -> None:
    run = carry_forward["r"].start()
    for n in range(5):
        with pytest.raises(Refused, match="force"):
            run.delete()
        run.signal("q", n)
        while durable_app.turn():
            if run.status not in ENDED:
                with pytest.raises(Refused, match="force"):
                    run.delete()
    assert run.result() == [0, 1, 2, 3, 4]
    run.delete()
