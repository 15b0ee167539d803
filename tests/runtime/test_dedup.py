"""Queues that take each piece of work once at a time: what is queued or runs there is not queued again."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import AlreadyQueued, BadOption, Queue, Refused, connect, flow, gather, race, sleep, step
from durable_nb.app import App
from durable_nb.codec.digest import digest_bytes
from durable_nb.flows import queue as queues, registry
from durable_nb.history import events as e
from durable_nb.testing import FakeClock, run_to_end, run_until_idle
from tests.scenarios.everywhere import echo, ended, everywhere

BEGUN: list[str] = []


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})
    monkeypatch.setattr(queues, "_known", {})
    BEGUN.clear()


def indexing(queue: Any, **options: Any) -> Any:
    @step(name="dedup.index", queue=queue, **options)
    def index(customer: Any, day: int = 1) -> str:
        BEGUN.append(f"{customer} {day}")
        return f"indexed {customer}"

    @flow(name="dedup.refresh")
    def refresh(customer: Any, day: int = 1) -> str:
        try:
            return index(customer, day)
        except AlreadyQueued as error:
            return f"left alone: {error}"

    return refresh


def test_equal_arguments_are_queued_once_and_the_second_caller_is_told_by_whom(durable_app: App) -> None:
    refresh = indexing(Queue("index", dedup=True))
    first, second, other = (refresh[id].start(*args) for id, args in {"1": ("a",), "2": ("a",), "3": ("b",)}.items())
    run_until_idle(durable_app)
    assert first.result() == "indexed a"
    assert second.result().startswith("left alone: `dedup.index` is in queue `index` already, for run '1'")
    assert other.result() == "indexed b"
    assert sorted(BEGUN) == ["a 1", "b 1"]


def test_the_key_is_free_when_the_step_has_ended(durable_app: App) -> None:
    refresh = indexing(Queue("index", dedup=True))
    assert run_to_end(durable_app, refresh["1"].start("a")) == "indexed a"
    assert run_to_end(durable_app, refresh["2"].start("a")) == "indexed a"


def test_the_key_is_held_through_a_delay_and_the_pause_before_another_attempt(durable_app: App) -> None:
    @step(
        queue=Queue("index", dedup=lambda name: name), delay="1h", retry={"max_attempts": 2, "first": "1h", "jitter": 0}
    )
    def twice(name: str) -> int:
        BEGUN.append(name)
        if len(BEGUN) == 1:
            raise OSError("again")
        return len(BEGUN)

    @flow
    def one() -> int:
        return twice("x")

    run = one["1"].start()
    run_until_idle(durable_app)
    for _ in range(2):
        with pytest.raises(AlreadyQueued):
            run_to_end_of(durable_app, one.start())
        assert isinstance(durable_app.clock, FakeClock)
        durable_app.clock.advance("1h")
        run_until_idle(durable_app)
    assert run.result() == 2


def run_to_end_of(app: App, run: Any) -> Any:
    run_until_idle(app)
    return run.result(1)


def test_a_function_says_what_is_equal_and_none_is_equal_to_nothing(durable_app: App) -> None:
    refresh = indexing(Queue("index", dedup=lambda customer, day: None if customer == "any" else str(customer).lower()))
    found = [refresh.start(*args) for args in [("A", 1), ("a", 2), ("any", 1), ("any", 1)]]
    run_until_idle(durable_app)
    assert [run.result().split(":")[0] for run in found] == ["indexed A", "left alone", "indexed any", "indexed any"]


def test_long_keys_that_begin_alike_are_not_equal(durable_app: App) -> None:
    refresh = indexing(Queue("index", dedup=lambda customer, day: customer))
    found = [refresh.start("x" * 300 + end) for end in "abb"]
    run_until_idle(durable_app)
    assert [run.result().split(" ")[0] for run in found] == ["indexed", "indexed", "left"]


def test_another_queue_or_step_has_keys_of_its_own(durable_app: App) -> None:
    Queue("one", dedup=True), Queue("two", dedup=True)

    @step(queue="one")
    def here(name: str) -> str:
        return f"here {name}"

    @step(queue="one")
    def there(name: str) -> str:
        return f"there {name}"

    @flow
    def both() -> list[str]:
        return gather(here.spawn("x"), there.spawn("x"), here.options(queue="two").spawn("x")).result()

    assert run_to_end(durable_app, both["r"].start()) == ["here x", "there x", "here x"]


def test_the_same_flow_may_be_told_too(durable_app: App) -> None:
    @step(queue=Queue("index", dedup=True))
    def index(name: str) -> str:
        return name

    @flow
    def twice() -> list[Any]:
        return gather(index.spawn("x"), index.spawn("x"), return_exceptions=True).result()

    first, second = run_to_end(durable_app, twice["r"].start())
    assert first == "x"
    assert isinstance(second, AlreadyQueued)


def test_arguments_that_cannot_be_compared_need_a_function(durable_app: App) -> None:
    refresh = indexing(Queue("index", dedup=True), check_arguments=False)
    with pytest.raises(Refused, match=r"dedup=True.*give a function"):
        run_to_end(durable_app, refresh.start(re.compile("x")))


@pytest.mark.parametrize("given", [False, 3, "x"])
def test_dedup_is_true_or_a_function(given: Any) -> None:
    with pytest.raises(BadOption, match="dedup"):
        Queue("index", dedup=given)


def test_the_log_says_the_same_in_a_replay(durable_app: App, tmp_path: Path) -> None:
    from durable_nb import testing

    @step(queue=Queue("index", dedup=True))
    def index(name: str) -> str:
        return name

    @flow
    def caught(name: str) -> str:
        try:
            found = index(name)
        except AlreadyQueued:
            found = "left"
        sleep("1h")
        return found

    one, two = caught["1"].start("a"), caught["2"].start("a")
    run_until_idle(durable_app)
    two.freeze(tmp_path / "two.json")
    assert testing.replay(tmp_path / "two.json", caught) is None
    assert [run_to_end(durable_app, run) for run in (one, two)] == ["a", "left"]
    (raised,) = [event for event in two.history if isinstance(event, e.Raised)]
    assert raised.failure.type == "durable_nb.errors.AlreadyQueued"


def test_a_body_that_still_runs_holds_the_key_although_its_flow_gave_it_up(tmp_path: Path) -> None:
    is_begun, may_end = threading.Event(), threading.Event()

    @step(queue=Queue("index", dedup=True))
    def long(name: str) -> str:
        BEGUN.append(name)
        is_begun.set()
        assert may_end.wait(60)
        return name

    @step
    def quick() -> str:
        assert is_begun.wait(60)
        return "quick"

    @flow
    def impatient() -> str:
        return str(race(long.spawn("x"), quick.spawn()).result().value)

    @flow
    def other() -> str:
        return long("x")

    with connect(tmp_path / "log.db", durability="process") as app:
        assert impatient["1"].start().result(60) == "quick"
        with pytest.raises(AlreadyQueued, match="for run '1'"):
            other["2"].start().result(60)
        may_end.set()
        for _ in range(60_000):
            if not app.is_busy:
                break
            threading.Event().wait(0.001)
        assert other["3"].start().result(60) == "x"
    assert BEGUN == ["x", "x"]


@flow(name="dedup.twice")
def twice_at_once() -> Any:
    index = step(echo).options(queue=Queue("everywhere", dedup=True))
    found = gather(index.spawn("x"), index.spawn("x"), index.spawn("y"), return_exceptions=True).result()
    return [one if isinstance(one, str) else type(one).__name__ for one in found]


def test_what_was_refused_stays_so_over_a_crash_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register("step", echo)
    registry.register("flow", twice_at_once)

    def drive(app: App) -> Any:
        twice_at_once["r"].start()
        return ended(app)

    lived = everywhere(twice_at_once, drive, tmp_path)
    assert lived.result == ["x", "AlreadyQueued", "y"]
    assert lived.did == {"echo x": 1, "echo y": 1}


def test_the_function_travels_with_the_code_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    refresh = indexing(Queue("index", dedup=lambda customer, day: str(customer).lower()))
    with connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process") as app:
        for name in ("A", "a"):
            refresh[name].start(name)
    monkeypatch.setattr(registry, "_known", {})
    monkeypatch.setattr(queues, "_known", {})
    with connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process") as app:
        for _ in range(2):
            app.turn()
        held = [work.dedup for id in ("A", "a") for work in app.store.work(app.record(id).key)]
        assert held == [digest_bytes(b"a")]
