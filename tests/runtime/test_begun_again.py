"""What is begun a second time: replays with large arguments, steps elsewhere after a retry, delayed starts carried here."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import Retry, connect, current_step, flow, runs, step
from durable_nb.app import App
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.testing import FakeClock, run_to_end, run_until_idle

attempts: list[int] = []
fails = [True]


@step(name="again.make")
def make(size: int) -> bytes:
    return bytes(range(256)) * (size // 256)


@step(name="again.measure")
def measure(data: bytes) -> int:
    return len(data)


@flow(name="again.large")
def large() -> int:
    return measure(make(200_000)) + measure(make(200_000) + b"!")


@step(name="again.shaky", retry=Retry(max_attempts=2, first=1, jitter=0), timeout=60)
def shaky() -> str:
    attempts.append(current_step().attempt)
    if fails[0]:
        raise ConnectionError("still down")
    return "up"


@flow(name="again.elsewhere")
def elsewhere() -> str:
    return shaky()


@flow(name="again.short")
def short() -> int:
    return measure(b"abc")


class ReadOnly:
    """The payloads of a log, and no way to add one."""

    def __init__(self, app: App) -> None:
        self.payload = app.store.payload
        self.code = app.store.code

    def put_chunks(self, *what: Any) -> None:
        raise AssertionError("a replay has written chunks")

    def put_payload(self, *what: Any) -> bool:
        raise AssertionError("a replay has written a payload")


def test_a_replay_writes_no_payload(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    assert large["a"]() == 399_873
    record = durable_app.client.record("a")
    rows = durable_app.store.history(record.key)
    monkeypatch.setattr(durable_app.values, "_payloads", ReadOnly(durable_app))
    outcome, wrong = rehearse(rows, large, record, durable_app.values)
    assert wrong is None
    assert outcome.value == 399_873  # type: ignore[union-attr]


def test_large_arguments_are_stored_once(durable_app: App) -> None:
    large["a"]()
    digests = durable_app.store.database.read("select digest from payload")
    assert len(digests) == 2  # both results of `make` are the same bytes; the second argument has one byte more


def test_a_step_elsewhere_goes_on_counting_after_a_retry(durable_app: App) -> None:
    attempts.clear()
    fails[0] = True
    run = elsewhere["a"].start()
    with pytest.raises(ConnectionError):
        run_to_end(durable_app, run)
    assert attempts == [1, 2]
    run.retry()
    with pytest.raises(ConnectionError):
        run_to_end(durable_app, run)
    assert attempts == [1, 2, 3, 4]  # new numbers, and a whole new budget
    fails[0] = False
    run.retry()
    assert run_to_end(durable_app, run) == "up"
    assert attempts == [1, 2, 3, 4, 5]


def test_a_delayed_run_that_is_called_begins_when_it_is_due(tmp_path: Path) -> None:
    clock = FakeClock()
    with connect(tmp_path / "a.durable.db", clock=clock, carriers=0, durability="process") as app:
        run = short.options(delay="1h")["late"].start()
        run_until_idle(app)
        assert run.status == "pending"
        clock.advance("59m")
        run_until_idle(app)
        assert run.status == "pending"
        clock.advance("1m")
        run_until_idle(app)
        assert runs["late"].result() == 3


def test_calling_a_run_that_is_delayed_does_not_begin_it_early(tmp_path: Path) -> None:
    with connect(tmp_path / "a.durable.db", durability="process") as app:
        assert short.options(delay="300ms")["late"]() == 3
        row = app.store.history(app.client.record("late").key)
        assert row[1].at >= row[0].at + 0.3


def test_output_is_captured_while_any_app_is_open(tmp_path: Path) -> None:
    with connect(tmp_path / "a.durable.db", durability="process"):
        with connect(tmp_path / "b.durable.db", durability="process"):
            short["b"]()
        assert printing["a"]() is None
        assert [piece.text for piece in runs["a"].output] == ["hello\n"]


@step(name="again.walk", retry=Retry(max_attempts=3, first=0.001, jitter=0))
def walk() -> list[int]:
    seen = []
    for item in current_step().progress([10, 20, 30, 40]):
        seen.append(item)
        if item == 30 and current_step().attempt == 1:
            raise ConnectionError("on the third item")
    return seen


@flow(name="again.walking")
def walking() -> list[int]:
    return walk()


@pytest.mark.parametrize("carriers", [0, 2])
def test_a_further_attempt_goes_on_after_the_last_finished_item(carriers: int, tmp_path: Path) -> None:
    with connect(tmp_path / "a.durable.db", carriers=carriers, durability="process"):
        assert walking["a"]() == [30, 40]


@step(name="again.say")
def say() -> None:
    print("hello")


@flow(name="again.printing")
def printing() -> None:
    say()
