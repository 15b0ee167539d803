"""What the engine cannot decide by itself parks one run: the reason, the sentence, and how it goes on."""

import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import RunParked, connect, flow, runs, signal, sleep, step, timer
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import echo, kinds


def forget(kind: str, name: str) -> None:
    """As a process in which nobody has defined it."""
    registry._known.pop((kind, name))


def swallower() -> Any:
    @flow(name="parking.swallows")
    def swallows() -> Any:
        try:
            return signal("go").result()
        except BaseException:
            return "swallowed"

    return swallows


def test_a_swallowed_suspension_parks_naming_the_line_and_ends_nothing(durable_app: App) -> None:
    run = swallower()["r"].start()
    run_until_idle(durable_app)
    assert (run.status, run.record.reason) == ("parked", "swallowed")
    assert "test_parking.py" in run.why()
    assert "except Exception" in run.why()
    assert kinds() == ["signal", "parked"]
    with pytest.raises(RunParked):
        run.result()


def test_a_bare_except_that_asks_again_writes_nothing(durable_app: App) -> None:
    @flow
    def asks_on() -> Any:
        try:
            return timer("1h").result()
        except:  # noqa: E722 - what users write
            return echo("never")

    run = asks_on["r"].start()
    run_until_idle(durable_app)
    assert run.status in ("parked", "waiting")
    assert "step" not in kinds()


def test_a_parked_run_keeps_its_mail_and_its_clock(durable_app: App, durable_clock: FakeClock) -> None:
    run = swallower()["r"].start()
    run_until_idle(durable_app)
    run.signal("go", 5)
    run_until_idle(durable_app)
    assert run.status == "parked"
    run.resume()
    assert run_to_end(durable_app, run) == 5
    assert "resumed" in kinds()


def test_a_parked_run_can_be_terminated_and_says_so_when_cancelled(durable_app: App) -> None:
    from durable_nb import Refused

    run = swallower()["r"].start()
    run_until_idle(durable_app)
    with pytest.raises(Refused, match="terminate"):
        run.cancel()
    run.terminate("no use")
    assert run.status == "cancelled"


def test_a_value_changed_in_place_parks_naming_step_and_argument(durable_app: App) -> None:
    @step(name="parking.big")
    def big() -> bytearray:
        return bytearray(100_000)

    @step
    def use(data: Any) -> int:
        return len(data)

    @flow
    def changes() -> Any:
        data = big()
        data[0] = 1
        return use(data)

    run = changes["r"].start()
    run_until_idle(durable_app)
    assert (run.status, run.record.reason) == ("parked", "value_changed")
    assert "big" in run.why()
    assert "`data`" in run.why()


def test_an_unknown_flow_parks_as_no_code_and_goes_on_when_it_is_known(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "log.durable.db"
    holder: dict[str, Any] = {}

    def define() -> Any:
        @flow(name="parking.comes_back")
        def comes_back() -> Any:
            sleep("1h")
            return "back"

        return comes_back

    with connect(path, carriers=0, clock=clock) as app:
        define()["r"].start()
        run_until_idle(app)
        app.store.database.transact(lambda connection: connection.execute("update run set code = 'gone'"))
    forget("flow", "parking.comes_back")
    clock.advance("2h")
    with connect(path, carriers=0, clock=clock) as app:
        run_until_idle(app)
        assert (runs["r"].status, runs["r"].record.reason) == ("parked", "no_code")
        holder["flow"] = define()
        runs["r"].resume()
        run_until_idle(app)
        assert runs["r"].status in ("completed", "parked")
        assert "parking.comes_back" in runs["r"].why()


def test_a_corrupt_row_of_the_new_kinds_parks_its_run_only(durable_app: App) -> None:
    @flow
    def waits_twice() -> Any:
        return [signal("a").result(), signal("b").result()]

    bad, good = waits_twice["bad"].start(), waits_twice["good"].start()
    for run in (bad, good):
        run.signal("a", 1)
    run_until_idle(durable_app)
    durable_app.store.database.transact(
        lambda connection: connection.execute(
            "update event set data = '{' where kind = 'received' and run = ?", (bad.record.key,)
        )
    )
    for run in (bad, good):
        run.signal("b", 2)
    run_until_idle(durable_app)
    assert good.result() == [1, 2]
    assert (bad.status, bad.record.reason) == ("parked", "corrupt")


def test_mail_that_cannot_be_read_parks_its_run_only(durable_app: App) -> None:
    @flow
    def waits_once() -> Any:
        return signal("a").result()

    bad, good = waits_once["bad"].start(), waits_once["good"].start()
    run_until_idle(durable_app)
    for run in (bad, good):
        run.signal("a", 1)
    durable_app.store.database.transact(
        lambda connection: connection.execute("update inbox set value = 'rubbish' where run = ?", (bad.record.key,))
    )
    run_until_idle(durable_app)
    assert good.result() == 1
    assert (bad.status, bad.record.reason) == ("parked", "corrupt")


_lock = threading.Lock()


def test_a_step_that_nobody_knows_waits_for_somebody_who_does(durable_app: App, durable_clock: FakeClock) -> None:
    @step(name="parking.bound")
    def bound(number: int) -> int:
        with _lock:  # no lock travels: the step runs only where it is defined
            return number + 1

    @flow(name="parking.asks")
    def asks() -> Any:
        return bound.spawn(1).result()

    run = asks["r"].start()
    durable_app.turn()
    forget("step", "parking.bound")
    for _ in range(3):
        run_until_idle(durable_app)
        durable_clock.advance(30)
    assert run.status == "waiting"
    assert "a process that knows it" in run.why()
    registry.register("step", bound)
    durable_clock.advance(60)
    assert run_to_end(durable_app, run) == 2
    assert kinds().count("raised") == 0
