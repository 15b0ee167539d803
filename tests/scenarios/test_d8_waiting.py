"""The rows of the acceptance table D8 that came with signals, gather and children: 14 to 21, 25, 26; and traps of D7."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from durable_nb import Refused, SignalRejected, UnknownRun, connect, flow, gather, runs, signal, sleep, step
from durable_nb.app import App
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import did, echo, ended, everywhere, fits, kinds, told
from tests.scenarios.test_children import leaf
from tests.scenarios.test_futures import gathered, started
from tests.scenarios.test_signals import approval, confirm, in_time, signup, two


def test_d8_14_await_and_resume(durable_app: App, tmp_path: Path) -> None:
    run = signup["bob"].start()
    run_until_idle(durable_app)
    run.resume_step(confirm, "bob", at=1234)
    assert run_to_end(durable_app, run) == "bob@1234!"
    assert fits(signup, "bob", tmp_path) == "bob@1234!"


def test_d8_15_d7_01_a_signal_before_the_await_is_kept(durable_app: App) -> None:
    run = signup["bob"].start()
    run.resume_step(confirm, "bob")
    assert run_to_end(durable_app, run) == "bob@0!"


def test_d8_16_d7_04_the_payload_survives_a_kill_right_after_the_signal(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "log.durable.db"
    with connect(path, carriers=0, clock=clock) as app:
        run = approval["r"].start()
        run_until_idle(app)
        run.signal("approve", True)
        app.abandon()
    with connect(path, carriers=0, clock=clock) as app:
        assert ended(app) == "said True"


SENDER = """
import sys
from durable_nb import Run, connect
with connect(sys.argv[1], carry=False):
    print(Run("r").signal("approve", True))
"""


def test_d8_17_d7_05_another_process_signals(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    with connect(path):
        run = approval["r"].start()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        sent = subprocess.run(
            [sys.executable, "-c", SENDER, str(path)],
            capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=tmp_path,
        )  # fmt: skip
        assert (sent.returncode, sent.stdout) == (0, "told\n"), sent.stderr
        assert run.result(timeout=20) == "said True"


def test_d8_18_d7_06_a_repeated_key_is_reported_and_the_step_runs_once(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = approval["r"].start()
        run_until_idle(app)
        told(run, "approve", True)
        told(run, "approve", True)
        return ended(app)

    lived = everywhere(approval, drive, tmp_path)
    assert lived.did == {"echo said": 1}


def test_d8_19_a_wrong_signal_is_a_clear_error_and_changes_nothing(durable_app: App) -> None:
    from durable_nb import Run

    run = approval["r"].start()
    run_until_idle(durable_app)
    with pytest.raises(SignalRejected, match="approve"):
        run.signal("approve", {"no": "bool"})
    with pytest.raises(UnknownRun):
        Run("nobody").signal("approve", True)
    assert run.signal("something else", 1) == "told"  # its mailbox is there whenever the flow asks
    run.signal("approve", False)
    assert run_to_end(durable_app, run) == "said False"
    with pytest.raises(Refused):
        run.signal("approve", True)


def test_d8_20_d7_07_two_awaits_in_any_order(durable_app: App) -> None:
    for id, order in (("r", "ab"), ("s", "ba")):
        run = two[id].start()
        run_until_idle(durable_app)
        for name in order:
            run.signal(name, name.upper())
        assert run_to_end(durable_app, run) == ["B", "A", "both"]


def test_d8_21_an_await_with_a_time_out(durable_app: App, tmp_path: Path) -> None:
    run = in_time["r"].start()
    run_until_idle(durable_app)
    durable_app.clock.advance("1h")  # type: ignore[attr-defined]
    run_until_idle(durable_app)
    run.signal("go", 2)
    found = run_to_end(durable_app, run)
    assert found[1] == 2
    assert fits(in_time, "r", tmp_path) == found


def test_d8_25_d7_18_parallel_steps_are_numbered_alike_in_every_replay(tmp_path: Path) -> None:
    lived = everywhere(gathered, started(gathered, 5), tmp_path)
    assert lived.result == list(range(5))
    assert lived.kinds[:5] == ["step"] * 5


def test_d8_26_d7_19_a_flow_that_calls_flows_even_itself(durable_app: App) -> None:
    @flow(name="d8.factorial")
    def factorial(n: int) -> int:
        return 1 if n == 0 else echo(n) * factorial(n - 1)

    assert run_to_end(durable_app, factorial["r"].start(4)) == 24
    assert runs["r/4"].parent == runs["r"]
    assert kinds("r/4/4") == ["step", "returned", "child", "returned", "completed"]
    assert leaf.name == "children.leaf"


def test_d7_08_what_comes_with_the_signal_is_the_steps_argument_and_its_result_is_the_flows(durable_app: App) -> None:
    @step
    def double(n: int | None) -> int | None:
        return None if n is None else n * 2

    @flow
    def doubles() -> Any:
        return [double.when_signalled(), double.when_signalled()]

    run = doubles["r"].start()
    run_until_idle(durable_app)
    run.resume_step(double, 21)
    run.resume_step(double, None)
    assert run_to_end(durable_app, run) == [42, None]


def test_d7_09_an_awaited_step_that_calls_steps_calls_plain_functions(durable_app: App) -> None:
    @step
    def outer(n: int) -> int:
        return int(inner(n)) + 1

    @step
    def inner(n: int) -> int:
        return n * 10

    @flow
    def nests() -> Any:
        return outer.when_signalled()

    run = nests["r"].start()
    run_until_idle(durable_app)
    run.resume_step(outer, 4)
    assert run_to_end(durable_app, run) == 41
    assert kinds() == ["signal", "received", "step", "returned", "completed"]


@step(name="d7.later", delay="1h")
def later(n: int) -> int:
    did(f"later {n}")
    return n


@flow(name="d7.delayed_await")
def delayed_await() -> Any:
    return later.when_signalled()


def test_d7_10_delay_and_await_on_one_step(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = delayed_await["r"].start()
        run_until_idle(app)
        if run.status == "waiting" and "received" not in kinds():
            run.signal("step:d7.later", ((3,), {}), key="once")
        return ended(app)

    lived = everywhere(delayed_await, drive, tmp_path)
    assert lived.result == 3
    assert lived.did == {"later 3": 1}


def test_d7_02_d7_03_a_thread_that_waits_sees_every_signal_once(tmp_path: Path) -> None:
    """No lost wake-up and no spurious one, as fast as signals can be sent, with real threads."""

    @flow(name="d7.all_of_them")
    def all_of_them(n: int) -> list[int]:
        return [signal("n").result() for _ in range(n)]

    with connect(tmp_path / "log.durable.db", durability="process"):
        run = all_of_them["r"].start(200)
        for n in range(200):
            run.signal("n", n)
        assert run.result(timeout=60) == list(range(200))


def test_d7_20_a_waiting_run_needs_no_thread(tmp_path: Path) -> None:
    import threading

    @flow(name="d7.waits")
    def waits_long() -> Any:
        return signal("never").result()

    with connect(tmp_path / "log.durable.db", durability="process") as app:
        before = threading.active_count()
        waits_long.start_many([()] * 200)
        while app.store.counts().get("waiting", 0) < 200:
            threading.Event().wait(0.01)
        assert threading.active_count() <= before + 5  # its carriers, however many wait


def test_d7_28_a_clock_that_jumps_back_neither_loses_nor_doubles_a_timer(durable_app: App) -> None:
    @flow
    def naps() -> Any:
        sleep("1h")
        return gather(echo.spawn(1)).result()

    run = naps["r"].start()
    run_until_idle(durable_app)
    clock = durable_app.clock
    assert isinstance(clock, FakeClock)
    clock.jump_to(clock.now() - 86_400)
    run_until_idle(durable_app)
    assert run.status == "waiting"
    assert run_to_end(durable_app, run) == [1]
    assert kinds().count("fired") == 1
