"""Answers of steps beside their flow, in one process: handed over in memory, and safe in the log when the flow is busy."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb import App, connect, flow, gather, step

PATIENCE = 60.0
_done = threading.Event()
_go_on = threading.Event()


@step
def square(number: int) -> int:
    return number * number


@step
def beside(number: int) -> int:
    _done.set()
    return number


@step
def hold() -> None:
    assert _go_on.wait(PATIENCE)


@flow
def squares(numbers: int) -> int:
    return sum(gather(square.spawn(number) for number in range(numbers)).result())


@flow
def busy() -> int:
    slow = beside.spawn(5)
    hold()
    return slow.result()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    _done.clear()
    _go_on.clear()
    with connect(tmp_path / "handed.durable.db") as app:
        yield app
        _go_on.set()


def test_many_answers_come_in_and_leave_no_work(app: App) -> None:
    assert squares["a"](200) == sum(number * number for number in range(200))
    record = app.store.run("a")
    assert record is not None
    assert app.store.work(record.key) == []
    kinds = [row.kind for row in app.store.history(record.key)]
    assert kinds.count("step") == kinds.count("returned") == 200


def test_the_answer_is_in_the_log_while_the_flow_is_busy(app: App) -> None:
    run = busy["a"].start()
    assert _done.wait(PATIENCE)
    record = app.store.run("a")
    assert record is not None
    while not any(mail.kind == "returned" for mail in app.store.mail(record.key)):
        assert run.status == "running"
    assert not _go_on.is_set()
    _go_on.set()
    assert run.result(PATIENCE) == 5
    assert app.store.mail(record.key) == []


@flow
def one_then_busy() -> int:
    number = beside.spawn(5).result()
    hold()
    return number


def test_the_work_of_an_answer_is_gone_as_soon_as_the_answer_is_in_the_log(app: App) -> None:
    run = one_then_busy["a"].start()
    record = app.store.run("a")
    assert record is not None
    while not any(row.name == "hold" for row in app.store.history(record.key)):
        assert run.status in ("pending", "running")
    assert app.store.work(record.key) == []
    _go_on.set()
    assert run.result(PATIENCE) == 5


def test_an_answer_that_comes_while_the_thread_is_given_back_is_not_lost(app: App) -> None:
    for number in range(40):
        assert pairs[f"r{number}"].start(number).result(PATIENCE) == [number, 49.0]
    assert app.store.counts() == {"completed": 40}


@step
def slowly(number: int) -> float:
    _done.wait(number / 1000)  # about as long as a thread waits in place: the answer meets the suspension
    return number


@flow
def pairs(number: int) -> list[float]:
    return gather(slowly.spawn(number), slowly.spawn(49.0)).result()
