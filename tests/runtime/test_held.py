"""What earlier processes left is taken up when somebody says so, or waits for it."""

from pathlib import Path

from durable_nb import connect, flow, signal, step
from durable_nb.opening import opened
from durable_nb.runtime.options import RuntimeOptions


@step
def held_double(n: int) -> int:
    return 2 * n


@flow
def held_flow(n: int) -> int:
    first: int = held_double.spawn(n).result()
    return first + signal("more", int).result()


def leave_due(path: Path) -> None:
    with connect(path, carry=False):
        held_flow["left"].start(3).signal("more", 1)


def test_a_held_app_claims_nothing_and_then_everything(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    leave_due(path)
    with opened(str(path), "process", RuntimeOptions(carriers=0, is_held=True)) as app:
        assert not app.turn()
        assert app.record("left").status == "pending"
        assert app.take_up()
        assert not app.take_up()
        assert app.turn()
        assert app.result("left", None) == 7


def test_who_waits_for_a_run_takes_up_what_is_held(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    leave_due(path)
    with opened(str(path), "process", RuntimeOptions(is_held=True)) as app:
        assert app.result("left", 30) == 7


def test_who_carries_a_run_takes_up_what_is_held(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    leave_due(path)
    with opened(str(path), "process", RuntimeOptions(is_held=True)):
        assert held_flow["left"](3) == 7


def test_a_run_begun_here_is_carried_although_older_ones_are_held(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    leave_due(path)
    with opened(str(path), "process", RuntimeOptions(is_held=True)) as app:
        run = held_flow["new"].start(4)
        for event in app.follow("new"):
            if event.__class__.__name__ == "SignalAsked":
                break
        assert app.record("left").status == "pending"
        run.signal("more", 2)
        assert run.result(30) == 10
