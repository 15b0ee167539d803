"""Signals as users meet them: mailboxes, keys, types, before the start, over a crash, in races."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from durable_nb import BadOption, Refused, SignalRejected, UnknownRun, flow, race, runs, signal, step, timer
from durable_nb.app import App
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import did, echo, ended, everywhere, fits, kinds, rows_of, told


@flow(name="signals.approval")
def approval() -> str:
    ok = signal("approve", bool).result()
    return f"{echo('said')} {ok}"


@flow(name="signals.two")
def two() -> list[Any]:
    first, second = signal("a"), signal("b")
    return [second.result(), first.result(), echo("both")]


@flow(name="signals.queue")
def queue(n: int) -> list[Any]:
    return [signal("item").result() for _ in range(n)]


@flow(name="signals.in_time")
def in_time() -> Any:
    asked = signal("go")
    try:
        return asked.result(timeout="1h")
    except TimeoutError as error:
        late = str(error)
    return [late.split(" at ")[0], asked.result()]


@flow(name="signals.gives_back")
def gives_back() -> list[Any]:
    """Both come; the signal loses by the order of the log, and whoever asks next gets it."""
    clock, asked = timer("1h"), signal("go")
    won = race(clock, asked).result()
    return [won.index, signal("go").result(), echo("after")]


@flow(name="signals.sender")
def sender(to: str) -> list[Any]:
    from durable_nb import Run

    return [Run(to).signal("approve", True), echo("sent")]


@step(name="signals.confirm")
def confirm(who: str, at: int = 0) -> str:
    did(f"confirm {who} {at}")
    return f"{who}@{at}"


@flow(name="signals.signup")
def signup() -> str:
    return confirm.when_signalled() + "!"


@flow(name="signals.asignup")
async def asignup() -> str:
    return await confirm.when_signalled() + "!"


class Order(msgspec.Struct):
    item: str
    count: int = 1


@flow(name="signals.typed")
def typed(kind: str) -> Any:
    types: dict[str, Any] = {
        "order": Order,
        "int": int,
        "choice": Literal["a", "b"],
        "list": list[int],
        "none": int | None,
    }
    return repr(signal("in", types[kind]).result())


def test_a_signal_reaches_a_run_that_waits(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = approval["r"].start()
        run_until_idle(app)
        told(run, "approve", True)
        return ended(app)

    lived = everywhere(approval, drive, tmp_path)
    assert lived.result == "said True"
    assert lived.kinds == ["signal", "received", "step", "returned", "completed"]


def test_a_signal_before_the_wait_is_kept(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = approval["r"].start()
        told(run, "approve", False)
        return ended(app)

    lived = everywhere(approval, drive, tmp_path)
    assert lived.result == "said False"
    assert lived.kinds == ["signal", "received", "step", "returned", "completed"]


def test_a_signal_before_the_start_is_kept_for_seven_days(durable_app: App, durable_clock: FakeClock) -> None:
    from durable_nb import Run

    assert Run("r").signal("approve", True, before_start=True) == "early"
    assert Run("late").signal("approve", True, before_start=True) == "early"
    durable_clock.advance("6d")
    assert run_to_end(durable_app, approval["r"].start()) == "said True"
    durable_clock.advance("2d")
    late = approval["late"].start()
    run_until_idle(durable_app)
    assert late.status == "waiting"


def test_a_signal_to_an_unknown_id_is_refused_with_close_matches(durable_app: App) -> None:
    from durable_nb import Run

    approval["order-1"].start()
    with pytest.raises(UnknownRun, match="order-1"):
        Run("order-2").signal("approve", True)


def test_a_signal_to_an_ended_run_is_refused(durable_app: App) -> None:
    run = approval["r"].start()
    run.signal("approve", True)
    run_to_end(durable_app, run)
    with pytest.raises(Refused, match="has ended"):
        run.signal("approve", True)


def test_a_key_makes_a_repeat_a_reported_no_op(durable_app: App) -> None:
    run = queue["r"].start(2)
    assert [run.signal("item", 1, key="one"), run.signal("item", 2, key="one")] == ["told", "repeated"]
    run_until_idle(durable_app)
    assert run.signal("item", 3, key="one") == "repeated"
    assert run.signal("item", 4, key="two") == "told"
    assert run_to_end(durable_app, run) == [1, 4]
    assert run.signal("item", 1, key="one") == "repeated"


def test_early_keys_are_known_to_the_run(durable_app: App) -> None:
    from durable_nb import Run

    assert Run("r").signal("item", 1, key="k", before_start=True) == "early"
    assert Run("r").signal("item", 2, key="k", before_start=True) == "repeated"
    run = queue["r"].start(1)
    assert run.signal("item", 3, key="k") == "repeated"
    assert run_to_end(durable_app, run) == [1]


def test_a_mailbox_is_first_in_first_out_over_crashes(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = queue["r"].start(4)
        told(run, "item", 1)
        told(run, "item", 2)
        run_until_idle(app)
        told(run, "item", 3)
        told(run, "item", 4)
        return ended(app)

    assert everywhere(queue, drive, tmp_path).result == [1, 2, 3, 4]


def test_two_mailboxes_in_any_order(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = two["r"].start()
        run_until_idle(app)
        told(run, "a", 1)
        run_until_idle(app)
        told(run, "b", 2)
        return ended(app)

    lived = everywhere(two, drive, tmp_path)
    assert lived.result == [2, 1, "both"]
    assert lived.kinds == ["signal", "signal", "received", "received", "step", "returned", "completed"]


def test_a_signal_that_does_not_fit_the_open_wait_is_refused_at_the_sender(durable_app: App) -> None:
    run = approval["r"].start()
    run_until_idle(durable_app)
    with pytest.raises(SignalRejected, match="true or false"):
        run.signal("approve", "yes")
    run.signal("approve", True)
    assert run_to_end(durable_app, run) == "said True"


def test_a_signal_that_does_not_fit_when_taken_is_logged_and_the_wait_goes_on(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = approval["r"].start()
        if "rejected" not in kinds():
            told(run, "approve", "yes")
        run_until_idle(app)
        told(run, "approve", True)
        return ended(app)

    lived = everywhere(approval, drive, tmp_path)
    assert lived.result == "said True"
    assert lived.kinds == ["signal", "rejected", "received", "step", "returned", "completed"]


@pytest.mark.parametrize(
    ("kind", "bad", "good", "result"),
    [
        ("order", {"count": 2}, {"item": "tea"}, "Order(item='tea', count=1)"),
        ("int", True, 3, "3"),
        ("choice", "c", "b", "'b'"),
        ("list", [1, "x"], [1, 2], "[1, 2]"),
        ("none", "x", None, "None"),
    ],
)
def test_types_of_signals(durable_app: App, tmp_path: Path, kind: str, bad: Any, good: Any, result: str) -> None:
    run = typed["r"].start(kind)
    run.signal("in", bad)
    run_until_idle(durable_app)
    assert "rejected" in kinds()
    with pytest.raises(SignalRejected):
        run.signal("in", bad)
    run.signal("in", good)
    assert run_to_end(durable_app, run) == result
    assert fits(typed, "r", tmp_path) == result


def test_in_time_and_too_late_are_both_logged(tmp_path: Path) -> None:
    def early(app: App) -> Any:
        run = in_time["r"].start()
        run_until_idle(app)
        told(run, "go", 1)
        return ended(app)

    lived = everywhere(in_time, early, tmp_path)
    assert lived.result == 1
    assert lived.kinds == ["signal", "timer", "received", "completed"]


def test_a_timeout_leaves_the_wait_usable(tmp_path: Path) -> None:
    def late(app: App) -> Any:
        run = in_time["r"].start()
        run_until_idle(app)
        if run.status == "waiting":
            app.clock.advance("1h")  # type: ignore[attr-defined]
            run_until_idle(app)
        told(run, "go", 2)
        return ended(app)

    lived = everywhere(in_time, late, tmp_path)
    assert lived.result == ["<Future signal go open> did not come within 1 h,", 2]
    assert lived.kinds == ["signal", "timer", "fired", "received", "completed"]


def test_the_loser_of_a_race_gives_its_signal_back(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = gives_back["r"].start()
        run_until_idle(app)
        if run.status == "waiting" and "fired" not in kinds():
            app.clock.advance("1h")  # type: ignore[attr-defined]
        told(run, "go", 7)
        return ended(app)

    lived = everywhere(gives_back, drive, tmp_path)
    assert lived.result == [0, 7, "after"]
    assert lived.kinds[:5] == ["timer", "signal", "fired", "signal", "drop"]
    assert lived.kinds[5:] == ["received", "step", "returned", "completed"]


def test_a_flow_signals_another_run(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        approval["to"].start()
        run_until_idle(app)
        sender["r"].start("to")
        ended(app)
        return [ended(app, "to"), runs["r"].result()]

    lived = everywhere(sender, drive, tmp_path)
    assert lived.result == ["said True", ["told", "sent"]]
    assert lived.kinds == ["tell", "returned", "step", "returned", "completed"]


def test_a_flow_that_signals_an_ended_run_can_catch_it(durable_app: App) -> None:
    approval["to"].start().signal("approve", True)
    run_to_end(durable_app, runs["to"])
    with pytest.raises(Refused, match="has ended"):
        run_to_end(durable_app, sender["r"].start("to"))
    with pytest.raises(UnknownRun):
        run_to_end(durable_app, sender["s"].start("nobody"))


@pytest.mark.parametrize("of", [signup, asignup], ids=["sync", "async"])
def test_a_step_waits_to_be_resumed(tmp_path: Path, of: Any) -> None:
    def drive(app: App) -> Any:
        run = of["r"].start()
        run_until_idle(app)
        if run.status == "waiting":
            assert "step:signals.confirm" in run.why()
            run.resume_step(confirm, "bob", at=9)
        return ended(app)

    lived = everywhere(of, drive, tmp_path)
    assert lived.result == "bob@9!"
    assert lived.kinds == ["signal", "received", "step", "returned", "completed"]


def test_resume_step_with_wrong_arguments_is_refused_at_the_sender(durable_app: App) -> None:
    run = signup["r"].start()
    run_until_idle(durable_app)
    with pytest.raises(TypeError, match="confirm"):
        run.resume_step(confirm)
    assert run.status == "waiting"


def test_names_of_mailboxes_are_checked(durable_app: App) -> None:
    run = approval["r"].start()
    for name in ("", "x" * 201, "a\nb", 3):
        with pytest.raises(BadOption):
            run.signal(name, 1)  # type: ignore[arg-type]


def test_a_large_signal_and_one_of_a_class_come_whole(durable_app: App, tmp_path: Path) -> None:
    run = queue["r"].start(3)
    values = [b"\x00\xff" * 100_000, ValueError("as a value"), {1: ("a", {2})}]
    for value in values:
        run.signal("item", value)
    result = run_to_end(durable_app, run)
    assert [repr(one) for one in result] == [repr(one) for one in values]


def test_five_thousand_signals_are_taken_in_one_turn(durable_app: App, tmp_path: Path) -> None:
    run = queue["r"].start(5000)
    for number in range(5000):
        run.signal("item", number)
    assert run_to_end(durable_app, run) == list(range(5000))
    assert fits(queue, "r", tmp_path) == list(range(5000))
    assert sum(row.kind == "received" for row in rows_of()) == 5000


def test_the_key_of_a_rejected_signal_is_free_for_the_right_value(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = approval["r"].start()
        if "rejected" not in kinds() and run.status == "pending":
            run.signal("approve", "yes", key="once")
        run_until_idle(app)
        if run.status == "waiting":
            assert run.signal("approve", True, key="once") in ("told", "repeated")
        return ended(app)

    lived = everywhere(approval, drive, tmp_path)
    assert lived.result == "said True"
    assert lived.kinds == ["signal", "rejected", "received", "step", "returned", "completed"]


def test_the_key_of_a_signal_that_fits_stays_used(durable_app: App) -> None:
    run = approval["r"].start()
    told = [run.signal("approve", "yes", key="once"), run.signal("approve", "yes", key="once")]
    run_until_idle(durable_app)
    assert told == ["told", "repeated"]
    assert run.signal("approve", True, key="once") == "told"
    assert run.signal("approve", True, key="once") == "repeated"
    assert run_to_end(durable_app, run) == "said True"
    assert run.signal("approve", True, key="once") == "repeated"
