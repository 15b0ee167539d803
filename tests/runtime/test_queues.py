"""Queues as users meet them: limits over runs and processes, rates, turns, priorities."""

import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import BadOption, Queue, connect, flow, gather, race, sleep, step
from durable_nb.app import App
from durable_nb.flows import queue as queues, registry
from durable_nb.history import events as e
from durable_nb.testing import FakeClock, run_to_end, run_until_idle

BEGUN: list[str] = []


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})
    monkeypatch.setattr(queues, "_known", {})
    BEGUN.clear()


def rendering(queue: Any, **options: Any) -> Any:
    @step(queue=queue, **options)
    def render(name: str) -> str:
        BEGUN.append(name)
        return name.upper()

    @flow
    def film(*names: str) -> list[str]:
        return gather(render.spawn(name) for name in names).result()

    return film


def test_a_queued_step_is_done_and_its_queue_is_in_the_log(durable_app: App) -> None:
    run = rendering(Queue("gpu", concurrency=1))["r"].start("a", "b")
    assert run_to_end(durable_app, run) == ["A", "B"]
    asked = [event for event in run.history if isinstance(event, e.StepAsked)]
    assert [(event.queue, event.elsewhere) for event in asked] == [("gpu", True)] * 2
    assert durable_app.store.limits("gpu") == (1, None, None, None)


def test_a_queue_is_named_before_or_after_it_is_defined(durable_app: App) -> None:
    run = rendering("gpu")["r"].start("a")
    run_until_idle(durable_app)
    assert BEGUN == []
    assert "for queue `gpu`, which nobody has defined" in run.why()
    Queue("gpu")
    assert run_to_end(durable_app, run) == ["A"]


def test_a_rate_spreads_steps_over_time(durable_app: App) -> None:
    run = rendering(Queue("api", rate="2/s"))["r"].start(*"abcde")
    assert run_to_end(durable_app, run) == list("ABCDE")
    begun = [event.at - run.record.created_at for event in run.history if isinstance(event, e.AttemptStarted)]
    assert begun == pytest.approx([0, 0, 1, 1, 2])


def test_why_names_the_queue_that_is_full(durable_app: App) -> None:
    run = rendering(Queue("api", rate="1/h"))["r"].start("a", "b")
    run_until_idle(durable_app)
    assert BEGUN == ["a"]
    assert "for its turn in queue `api`" in run.why()


def test_each_key_has_its_turn(durable_app: App) -> None:
    film = rendering(Queue("gpu", concurrency=1, key=lambda name: name[0]))
    film["big"].start("a1", "a2", "a3")
    film["small"].start("b1")
    run_until_idle(durable_app)
    assert BEGUN.index("b1") < BEGUN.index("a3")


def test_the_key_travels_with_the_code_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    film = rendering(Queue("gpu", concurrency=1, key=lambda name: name[0]))
    with connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process") as app:
        run = film["r"].start("a1", "b1")
    monkeypatch.setattr(registry, "_known", {})
    monkeypatch.setattr(queues, "_known", {})
    with connect(tmp_path / "log.db", carriers=0, clock=clock, durability="process") as app:
        app.turn()
        assert [work.queue_key for work in app.store.work(app.record(run.id).key)] == ["a", "b"]


def test_steps_and_runs_of_a_higher_priority_go_first(durable_app: App) -> None:
    film = rendering(Queue("gpu", concurrency=1))
    film["plain"].start("p")
    film.options(priority=3)["urgent"].start("u")
    run_until_idle(durable_app)
    assert BEGUN == ["u", "p"]
    assert durable_app.record("urgent").priority == 3


def test_children_have_the_priority_of_their_parent(durable_app: App) -> None:
    child = rendering(Queue("gpu"))

    @flow
    def parent() -> list[str]:
        child.options(priority=-2)["other"].start("o")
        return child["own"]("c")

    run = parent.options(priority=4)["p"].start()
    run_to_end(durable_app, run)
    assert [durable_app.record(id).priority for id in ("own", "other")] == [4, -2]


def test_a_step_given_up_keeps_its_place_until_its_body_ends(tmp_path: Path) -> None:
    is_begun, may_end = threading.Event(), threading.Event()

    @step(queue=Queue("gpu", concurrency=1))
    def long(name: str) -> str:
        BEGUN.append(name)
        if name == "first":
            is_begun.set()
            assert may_end.wait(60)
        return name

    @step
    def quick() -> str:
        assert is_begun.wait(60)
        return "quick"

    @flow
    def impatient() -> str:
        race(long.spawn("first"), quick.spawn()).result()
        return long("second")

    with connect(tmp_path / "log.db", durability="process") as app:
        run = impatient["r"].start()
        assert is_begun.wait(60)
        until(lambda: any(isinstance(event, e.Dropped) for event in run.history))
        until(lambda: len(app.store.work(run.record.key)) == 1)
        assert app.runtime is not None
        app.runtime.workers.look()
        assert not app.store.has_room("gpu", app.clock.now())
        assert BEGUN == ["first"]
        may_end.set()
        assert run.result(60) == "second"


def until(is_so: Any) -> None:
    for _ in range(60_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen within a minute")


def test_limits_hold_with_threads_of_one_process(tmp_path: Path) -> None:
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()
    here = threading.Barrier(3, timeout=60)

    @step(queue=Queue("gpu", concurrency=3))
    def work(number: int) -> int:
        with lock:
            running.append(number)
            most.append(len(running))
        here.wait()  # three at a time, or never
        with lock:
            running.remove(number)
        return number

    @flow
    def many() -> int:
        return sum(gather(work.spawn(number) for number in range(12)).result())

    with connect(tmp_path / "log.db", durability="process"):
        assert many["r"].start().result(60) == 66
    assert max(most) == 3


def test_limits_can_be_changed_while_work_waits(tmp_path: Path) -> None:
    Queue("gpu", rate="1/h")
    film = rendering("gpu")
    with connect(tmp_path / "log.db", durability="process") as app:
        run = film["r"].start(*"abc")
        until(lambda: len(BEGUN) == 1)
        until(lambda: not app.is_busy)
        Queue("gpu")
        assert run.result(60) == list("ABC")


def test_queued_steps_go_on_after_a_wait(durable_app: App) -> None:
    film = rendering(Queue("gpu", concurrency=1, rate="1/m"))

    @flow
    def slow() -> list[str]:
        sleep("10s")
        return film("x", "y")

    run = slow["r"].start()
    assert run_to_end(durable_app, run) == ["X", "Y"]


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"per_worker": True},
        {"rate": "10"},
        {"rate": "0/s"},
        {"rate": "10/fortnight"},
        {"rate": 10},
        {"key": 3},
        {"name": ""},
        {"name": 7},
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        Queue(options.pop("name", "gpu"), **options)


def test_rates_are_counts_and_spans() -> None:
    assert [tuple(Queue("q", rate=rate).limits[2:]) for rate in ("10/s", "100/5m", "1/1h30m")] == [
        (10, 1.0),
        (100, 300.0),
        (1, 5400.0),
    ]
