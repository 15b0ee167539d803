"""Weaknesses of the original (spec D7) that no row of D8 asks about: 14, 17, 21, 22, 23, 25, 26, each with a test."""

import sqlite3
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from durable_nb import NewerSchema, ResultExpired, connect, flow, runs, step
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.test_d8 import killed, ledger, save, script, told

pytestmark = pytest.mark.usefixtures("own_names")


@pytest.mark.slow
def test_d7_14_a_failure_after_a_recovery_is_kept_and_found(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
@step
def work():
    note("work")
    if len(open("ledger.txt").readlines()) == 1:
        die()
    raise LookupError("nothing there")

@flow
def job():
    work()

with connect("log.db"):
    if sys.argv[1] == "start":
        job["r"].start().result()
    run = runs["r"]
    try:
        run.result("60s")
    except LookupError as error:
        found = str(error)
    print(json.dumps([found, run.status, [failed.id for failed in runs(status="failed")], run.why()]))
""",
    )
    killed(path, "start")
    found, status, failed, why = told(path, "look")
    assert (found, status, failed) == ("nothing there", "failed", ["r"])
    assert "LookupError: nothing there" in why
    assert ledger(tmp_path) == ["work", "work"]


def test_d7_17_one_run_that_is_called_twice_at_once_runs_once(tmp_path: Path) -> None:
    calls: list[int] = []
    both = threading.Barrier(2, timeout=60)

    @step
    def work(n: int) -> int:
        calls.append(n)
        return n

    @flow
    def job() -> int:
        return work(1) + work(2)

    results: list[int] = []

    def call() -> None:
        both.wait()
        results.append(job["r"]())

    with connect(tmp_path / "log.db", durability="process"):
        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        kinds = [type(event).__name__ for event in runs["r"].history]
    assert (results, calls) == ([3, 3], [1, 2])
    assert kinds == ["Started", *["StepAsked", "Returned"] * 2, "Completed"]


@pytest.mark.slow
def test_d7_21_an_import_starts_nothing_and_makes_nothing(tmp_path: Path) -> None:
    save(
        tmp_path,
        "shop.py",
        """
from pathlib import Path
from durable_nb import flow, step

@step
def work():
    with Path("ledger.txt").open("a") as file:
        file.write("work\\n")
    return "done"

@flow
def job():
    return work()
""",
    )
    path = save(
        tmp_path,
        "main.py",
        """
import json, os, sys, threading
from durable_nb import connect, runs
import shop
if sys.argv[1] == "start":
    with connect("log.db", carry=False):
        shop.job["r"].start()
    files = sorted(os.listdir("."))
elif sys.argv[1] == "import":
    files = sorted(os.listdir("."))
    assert threading.active_count() == 1
elif sys.argv[1] == "look":
    with connect("log.db", carry=False):
        files = [runs["r"].status]
else:
    with connect("log.db"):
        files = [runs["r"].result("60s")]
print(json.dumps(files))
""",
    )
    assert [name for name in told(path, "import") if name.startswith("log")] == []
    files = told(path, "start")
    assert told(path, "import") == files
    assert (told(path, "look"), ledger(tmp_path)) == (["pending"], [])
    assert (told(path, "carry"), ledger(tmp_path)) == (["done"], ["work"])


class Shape(ABC):
    """An interface with a subclass; flows take whatever it is."""

    @abstractmethod
    def area(self) -> float: ...


@dataclass(frozen=True)
class Square(Shape):
    side: float

    def area(self) -> float:
        return self.side**2


class HasArea(Protocol):
    def area(self) -> float: ...


def test_d7_22_arguments_of_every_kind_and_private_flows_are_recovered(tmp_path: Path) -> None:
    @step
    def area(shape: HasArea | None) -> float:
        return 0.0 if shape is None else shape.area()

    @flow
    def _hidden(number: int, share: float, is_new: bool, name: str | None, shape: Shape | None) -> list[Any]:
        return [number, share, is_new, name, area(shape)]

    class _Register:
        @flow
        def _entry(self, at: datetime, *more: int, **named: Any) -> list[Any]:
            return [at, more, named, area(Square(3.0))]

    now = datetime(2026, 11, 20, tzinfo=UTC)
    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()) as app:
        _hidden["nothing"].start(0, 0.0, False, None, None)
        _hidden["all"].start(2**70, float("inf"), True, "x", Square(2.0))
        _Register._entry["method"].start(now, 1, 2, key=(1, "a"))
        app.abandon()
    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()) as app:
        run_until_idle(app)
        assert app.result("nothing", 0) == [0, 0.0, False, None, 0.0]
        assert app.result("all", 0) == [2**70, float("inf"), True, "x", 4.0]
        assert app.result("method", 0) == [now, (1, 2), {"key": (1, "a")}, 9.0]
        assert [type(one) for one in app.result("all", 0)] == [int, float, bool, str, float]


def test_d7_22_what_cannot_be_recovered_is_parked_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @step
    def area(shape: Shape) -> float:
        return shape.area()

    @flow
    def measure(shape: Shape) -> float:
        return area(shape)

    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()) as app:
        measure["r"].start(Square(2.0))
    with sqlite3.connect(tmp_path / "log.db") as log:
        log.execute("update event set data = 'x' where kind = 'started'")
    log.close()
    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()) as app:
        run_until_idle(app)
        assert (runs["r"].status, runs["r"].record.reason) == ("parked", "corrupt")
        assert "event 1" in runs["r"].why()


@pytest.mark.slow
def test_d7_23_a_flow_and_its_steps_may_be_renamed_and_moved(tmp_path: Path) -> None:
    before = script(
        tmp_path,
        """
@step(name="book")
def reserve(what):
    note(f"reserve {what}")
    return what

@step(name="pay")
def charge():
    note("charge")
    die()

@flow(name="trip")
def travel(what):
    return [reserve(what), charge()]

with connect("log.db"):
    travel["r"]("seat")
""",
    )
    killed(before)
    (tmp_path / "agency").mkdir()
    save(tmp_path / "agency", "__init__.py", "")
    save(
        tmp_path / "agency",
        "journeys.py",
        """
from durable_nb import flow, step

class Desk:
    @step(name="book")
    def take(self, what):
        raise AssertionError("it has its outcome")

    @step(name="pay")
    def collect(self):
        return "paid in the agency"

    @flow(name="trip")
    def journey(self, what):
        return [self.take(what), self.collect()]
""",
    )
    after = save(
        tmp_path,
        "after.py",
        """
import json
from agency import journeys
from durable_nb import connect, runs
with connect("log.db"):
    print(json.dumps([runs["r"].result("60s"), [type(event).__name__ for event in runs["r"].history]]))
""",
    )
    result, kinds = told(after)
    assert result == ["seat", "paid in the agency"]
    assert kinds.count("CodeChanged") == 1
    assert ledger(tmp_path) == ["reserve seat", "charge"]


@dataclass
class Order:
    item: str
    count: int = 1


def test_d7_25_values_are_text_that_sql_reads_and_survive_a_change_of_their_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @step
    def take(order: Order) -> Order:
        return Order(order.item, order.count + 1)

    @flow
    def sell(order: Order) -> Order:
        return take(order)

    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()):
        sell["r"](Order("tea"))
    log = sqlite3.connect(tmp_path / "log.db")
    text = "select json_extract(cast(data as text), ?) from event where kind = ?"
    for path, kind, count in (("$.arguments.json.order.preview", "step", 1), ("$.preview", "returned", 2)):
        assert log.execute(text, (path, kind)).fetchone() == (f"Order(item='tea', count={count})",)
    log.close()

    @dataclass
    class Changed:
        item: str
        count: int = 1
        price: float = 2.5

    Changed.__qualname__, Changed.__name__, Changed.__module__ = "Order", "Order", __name__
    monkeypatch.setattr(f"{__name__}.Order", Changed)
    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()):
        assert runs["r"].result() == Changed("tea", 2, 2.5)


def test_d7_26_a_relative_path_stays_the_same_file_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def job(n: int) -> int:
        return n

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with connect("log.db", durability="process"):
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert job["r"].start(1).result("60s") == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with connect("../log.db", carry=False):
        assert runs["r"].result() == 1


def test_d7_26_the_log_says_its_version_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    with connect(tmp_path / "log.db", carry=False) as app:
        known = app.store.log().schema
    with sqlite3.connect(tmp_path / "log.db") as log:
        log.execute(f"pragma user_version = {known + 1}")
    log.close()
    with pytest.raises(NewerSchema):
        connect(tmp_path / "log.db")


def test_d7_26_old_runs_go_and_say_that_they_were_there(durable_app: App) -> None:
    @flow
    def job(n: int) -> int:
        return n

    for n in range(3):
        run_to_end(durable_app, job[f"job-{n}"].start(n))
    assert durable_app.prune(keep=1).runs == 2
    with pytest.raises(ResultExpired):
        runs["job-0"].result()
    assert runs["job-2"].result() == 2


def test_d7_26_a_look_at_a_status_reads_neither_history_nor_values(durable_app: App) -> None:
    @step
    def make() -> bytes:
        return bytes(1_000_000)

    @flow
    def job() -> int:
        return len(make())

    run = job["r"].start()
    run_to_end(durable_app, run)
    read: list[str] = []
    reader = durable_app.store.database._reader  # type: ignore[attr-defined]
    reader.set_trace_callback(read.append)
    assert (run.status, [found.id for found in runs(status="completed")], run.result()) == (
        "completed",
        ["r"],
        1_000_000,
    )
    reader.set_trace_callback(None)
    assert len(read) >= 3
    assert [sql for sql in read if "from event" in sql or "chunk" in sql] == []


def test_d7_23_a_run_whose_code_is_nowhere_waits_and_says_for_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow(name="d7.gone")
    def gone() -> int:
        return 1

    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()) as app:
        gone["r"].start()
    with sqlite3.connect(tmp_path / "log.db") as log:
        log.execute("delete from code")
    log.close()
    monkeypatch.setattr(registry, "_known", {})
    with connect(tmp_path / "log.db", carriers=0, clock=FakeClock()) as app:
        run_until_idle(app)
        assert runs["r"].status == "parked"
        assert "d7.gone" in runs["r"].why()
        registry.register("flow", gone)
        run_until_idle(app)
        assert runs["r"].result() == 1
