"""Runs that are parked because their code is nowhere to be found, and go on by themselves when it is there."""

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_nb import App, RunParked, connect, flow, runs, sleep, step
from durable_nb.flows import registry
from durable_nb.history import events as e
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.stores.examples import until

ORDER = """
from dataclasses import dataclass

class Order:
    def __init__(self, n):
        self.n = n
    def __reduce__(self):
        return Order, (self.n,)

@dataclass
class Item:
    n: int
"""


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})


class Shop:
    """A module beside the log that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "no_code_shop.py"

    def open(self) -> Any:
        self._file.write_text(ORDER)
        importlib.invalidate_caches()
        return importlib.import_module("no_code_shop")

    def close(self) -> None:
        self._file.unlink()
        sys.modules.pop("no_code_shop")
        importlib.invalidate_caches()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Shop(folder)
    sys.modules.pop("no_code_shop", None)


def parks(run: Any) -> list[tuple[str, str]]:
    return [(event.reason, event.sentence) for event in run.history if isinstance(event, e.Parked)]


@pytest.mark.parametrize("kind", ["Order", "Item"])
@pytest.mark.parametrize("where", ["result", "argument"])
def test_value_of_a_class_that_is_gone_parks_the_run_for_want_of_code(
    shop: Shop, tmp_path: Path, durable_clock: FakeClock, kind: str, where: str
) -> None:
    make = getattr(shop.open(), kind)

    @step(name="no_code.fetch")
    def fetch(order: Any) -> Any:
        return make(1) if where == "result" else 1

    @flow(name="no_code.buy")
    def buy(order: Any) -> Any:
        fetched = fetch(0)
        sleep("1h")
        return getattr(fetched, "n", 1) + getattr(order, "n", 1)

    log = tmp_path / "log.db"
    with connect(log, carriers=0, clock=durable_clock) as app:
        buy["r"].start(make(1) if where == "argument" else 1)
        run_until_idle(app)
    shop.close()
    durable_clock.advance("2h")
    with connect(log, carriers=0, clock=durable_clock) as app:
        run_until_idle(app)
        ((reason, sentence),) = parks(runs["r"])
        assert reason == "no_code"
        assert f"`{kind}` of no_code_shop is not known here" in sentence
        assert "run its cell or import its module" in sentence
        assert ("result of step `no_code.fetch`" if where == "result" else "flow `no_code.buy`") in sentence
        with pytest.raises(RunParked, match="no_code"):
            runs["r"].result()
    with connect(log, carriers=0, clock=durable_clock) as app:  # it is still gone: nothing is written
        run_until_idle(app)
        assert len(parks(runs["r"])) == 1
    shop.open()
    with connect(log, carriers=0, clock=durable_clock) as app:
        assert run_to_end(app, runs["r"]) == 2


def forget(app: App, kind: str) -> None:
    """As if the log had never got that code."""
    app.store.database.transact(lambda connection: connection.execute("delete from code where kind = ?", (kind,)))


def forget_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process, which has run no cell."""
    monkeypatch.setattr(registry, "_known", {})


def define_nap() -> Any:
    @flow(name="no_code.nap")
    def nap() -> str:
        sleep("1h")
        return "rested"

    return nap


def define_napping_steps() -> Any:
    lock = threading.Lock()  # cannot travel: the step runs only where it is defined

    @step(name="no_code.bound")
    def bound() -> str:
        return f"bound {lock.locked()}"

    return bound


def parked_nap(log: Path, clock: FakeClock) -> None:
    """A run whose code is in nobody's hands."""
    with connect(log, carriers=0, clock=clock) as app:
        define_nap()["r"].start()
        run_until_idle(app)
        forget(app, "flow")


def test_run_whose_flow_is_unknown_goes_on_when_its_cell_is_run(
    tmp_path: Path, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked_nap(tmp_path / "log.db", durable_clock)
    forget_definitions(monkeypatch)
    durable_clock.advance("2h")
    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        run_until_idle(app)
        assert parks(runs["r"]) == [
            (
                "no_code",
                "the code of flow `no_code.nap` is not in the log: run its cell or import its module, then resume",
            )
        ]
        length = len(runs["r"].history)
        step(name="no_code.other")(len_of)  # some other cell
        assert not app.turn()
        assert len(runs["r"].history) == length
        define_nap()
        assert runs["r"].status == "parked"  # not in the middle of the user's import
        assert app.turn()
        assert run_to_end(app, runs["r"]) == "rested"


def len_of(text: str) -> int:
    return len(text)


def test_run_goes_on_by_itself_in_the_background_when_its_flow_is_defined(
    tmp_path: Path, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked_nap(tmp_path / "log.db", durable_clock)
    forget_definitions(monkeypatch)
    durable_clock.advance("2h")
    with connect(tmp_path / "log.db", carriers=2, clock=durable_clock):
        until(lambda: runs["r"].status == "parked")
        define_nap()
        until(lambda: runs["r"].status == "completed")
        assert runs["r"].result() == "rested"


def test_closed_app_hears_of_no_definitions(tmp_path: Path) -> None:
    before = list(registry._listeners)
    with connect(tmp_path / "log.db", carriers=0):
        assert len(registry._listeners) == len(before) + 1
    assert registry._listeners == before
    app = connect(tmp_path / "log.db", carriers=0)
    app.abandon()
    assert registry._listeners == before


@pytest.mark.parametrize("used", ["called", "spawned"])
def test_run_whose_step_is_unknown_is_parked_and_goes_on_when_the_step_is_defined(
    tmp_path: Path, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch, used: str
) -> None:
    bound = define_napping_steps()

    @flow(name="no_code.uses")
    def uses(used: str) -> str:
        sleep("1h")
        if used == "spawned":
            return str(bound.spawn().result())
        return str(bound())

    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        uses["r"].start(used)
        run_until_idle(app)
    forget_definitions(monkeypatch)
    durable_clock.advance("2h")
    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        run_until_idle(app)
        ((reason, sentence),) = parks(runs["r"])
        assert (reason, sentence.split(":")[0]) == (
            "no_code",
            "step `no_code.bound` is not defined here and its code is not in the log",
        )
        define_nap()  # not what it waits for
        run_until_idle(app)
        assert len(parks(runs["r"])) == 1
        define_napping_steps()
        assert run_to_end(app, runs["r"]) == "bound False"


def test_definition_is_not_disturbed_by_a_log_that_cannot_be_read(
    tmp_path: Path, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked_nap(tmp_path / "log.db", durable_clock)
    forget_definitions(monkeypatch)
    durable_clock.advance("2h")
    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        run_until_idle(app)
        app.store.close()
        define_nap()


IMPORTS = """
import sys
from durable_nb import connect, flow, runs, sleep, step
from durable_nb.testing import FakeClock, run_until_idle
"""
FIRST = """
class Made:
    def __init__(self, n):
        self.n = n

@step
def make():
    return Made(41)

@flow
def waits():
    made = make()
    sleep("1h")
    return made.n + 1

with connect(sys.argv[1], carriers=0, clock=FakeClock()) as app:
    waits["r"].start()
    run_until_idle(app)
    app.store.database.transact(lambda c: c.execute("delete from code where kind = 'class'"))
    app.store.database.transact(lambda c: c.execute("delete from code where kind = 'step'"))
"""
SECOND = """
clock = FakeClock()
clock.advance("2h")
with connect(sys.argv[1], carriers=0, clock=clock) as app:
    @step
    def make():
        return None

    run_until_idle(app)
    print(runs["r"].status, runs["r"].record.reason, runs["r"].record.sentence)

    @step
    def some_cell():
        return None

    run_until_idle(app)
    print(runs["r"].status, len(runs["r"].history))

    class Made:
        def __init__(self, n):
            self.n = n

    @step
    def another_cell():
        return None

    run_until_idle(app)
    print(runs["r"].result())
"""


def test_value_of_a_notebook_class_without_its_source_parks_the_run_until_the_cell_is_run(tmp_path: Path) -> None:
    told = [in_a_process(tmp_path, text) for text in (FIRST, SECOND)][1].splitlines()
    assert told[0].startswith(
        "parked no_code the result of step `make` cannot be read: class `Made` of __main__ is not defined here"
    )
    assert "run its cell or import its module" in told[0]
    assert told[1:] == ["parked 5", "42"]


def in_a_process(folder: Path, text: str) -> str:
    script = folder / f"script{len(text)}.py"
    script.write_text(IMPORTS + text)
    log = str(folder / "log.db")
    done = subprocess.run([sys.executable, str(script), log], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_damaged_value_is_corrupt_and_no_want_of_code(
    shop: Shop, tmp_path: Path, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = shop.open().Order

    @step(name="no_code.fetch")
    def fetch() -> Any:
        return make(1)

    @flow(name="no_code.buy")
    def buy() -> Any:
        fetched = fetch()
        sleep("1h")
        return fetched.n

    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        buy["r"].start()
        run_until_idle(app)
        monkeypatch.setattr(make, "__init__", lambda self: None)  # it is there, and does not take what was stored
        durable_clock.advance("2h")
        run_until_idle(app)
        assert [reason for reason, _ in parks(runs["r"])] == ["corrupt"]


INSTALLED = """
from durable_nb import flow, step

@step(name="no_code.packed")
def packed(n: int) -> int:
    return n + 1

@flow(name="no_code.packing")
def packing(n: int) -> int:
    return packed.spawn(n).result()
"""


def test_a_step_of_an_installed_package_is_known_by_its_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable_clock: FakeClock
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "no_code_package.py").write_text(INSTALLED)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("no_code_package")
    log = tmp_path / "log.db"
    with connect(log, carriers=0, clock=durable_clock) as app:
        module.packing["r"].start(1)
        assert app.turn()  # asks for the step, and nobody begins it
    forget_definitions(monkeypatch)
    sys.modules.pop("no_code_package")
    with connect(log, carriers=0, clock=durable_clock) as app:
        assert app.runtime is not None
        assert app.runtime.workers.run_one()  # the step first, whoever has met its flow
        assert run_to_end(app, runs["r"]) == 2
    sys.modules.pop("no_code_package")
