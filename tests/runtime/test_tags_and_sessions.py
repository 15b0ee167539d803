"""Steps that only some processes do: by tag, by session."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from durable_nb import BadOption, RunParked, connect, flow, gather, step
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.history import events as e
from durable_nb.testing import FakeClock, abandon, run_to_end, run_until_idle

DONE: list[str] = []


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})
    DONE.clear()


@contextmanager
def opened(path: Path, clock: FakeClock, *tags: str) -> Iterator[App]:
    with connect(path / "log.db", carriers=0, clock=clock, durability="process", tags=tags) as app:
        yield app


def training(**options: Any) -> Any:
    @step(**options)
    def train(name: str) -> str:
        DONE.append(name)
        return name.upper()

    @flow
    def learn(*names: str) -> list[str]:
        return [train(name) for name in names]

    return learn


def test_a_step_with_a_tag_waits_for_a_process_that_has_it(tmp_path: Path) -> None:
    clock, learn = FakeClock(), training(tag="gpu")
    with opened(tmp_path, clock) as plain:
        run = learn["r"].start("a")
        assert run_until_idle(plain) > 0
        assert (run.status, DONE, plain.next_due()) == ("waiting", [], None)
        assert "waits for a worker with tag `gpu`, to do step `train`" in run.why()
        with opened(tmp_path, clock, "gpu") as gpu:
            assert "with tag" not in run.why()
            assert gpu.next_due() == clock.now()
            assert gpu.turn()
            assert DONE == ["a"]
        assert run_to_end(plain, run) == ["A"]
    (asked,) = [event for event in run_events(run, tmp_path, clock) if isinstance(event, e.StepAsked)]
    assert (asked.tag, asked.elsewhere) == ("gpu", True)


def run_events(run: Any, path: Path, clock: FakeClock) -> list[e.AnyEvent]:
    with opened(path, clock) as app:
        return list(app.events(run.id))


@pytest.mark.parametrize(("tags", "takes"), [((), ""), (("gpu",), "g"), (("gpu", "tpu"), "gt"), (("any",), "gt")])
def test_tags_add_to_what_a_process_takes(tmp_path: Path, tags: tuple[str, ...], takes: str) -> None:
    clock = FakeClock()

    @step
    def do(name: str) -> None:
        DONE.append(name)

    @flow
    def all_of_them() -> None:
        steps = [do, do.options(tag="gpu"), do.options(tag="tpu")]
        gather(*[one.spawn(name) for one, name in zip(steps, "pgt", strict=True)]).result()

    with opened(tmp_path, clock, *tags) as app:
        all_of_them["r"].start()
        run_until_idle(app)
    assert sorted(DONE) == sorted("p" + takes)


def test_s13_39_a_retried_step_keeps_its_tag_and_the_options_of_its_call(tmp_path: Path) -> None:
    clock = FakeClock()

    @step(name="tags.flaky")
    def flaky() -> int:
        DONE.append("try")
        if len(DONE) < 3:
            raise ConnectionError
        return len(DONE)

    @flow
    def stubborn() -> int:
        return flaky.options(tag="gpu", retry=3)()

    with opened(tmp_path, clock) as plain:
        run = stubborn["r"].start()
        run_until_idle(plain)
        with opened(tmp_path, clock, "gpu") as gpu:
            assert run_to_end(gpu, run) == 3
    assert len(DONE) == 3


@pytest.mark.parametrize(("option", "word"), [("tag", "tag"), ("session", "session")])
def test_another_tag_or_session_is_another_ask(tmp_path: Path, option: str, word: str) -> None:
    clock = FakeClock()
    with opened(tmp_path, clock, "any") as app:
        run = training(**{option: "old", "check_arguments": False})["r"].start("a", "b")
        app.turn()
        abandon(app)
    registry._known.clear()
    with opened(tmp_path, clock, "any") as app:
        learn = training(**{option: "new", "check_arguments": False})
        learn["r"].start("a", "b")
        run_until_idle(app)
        with pytest.raises(RunParked, match=f"the {word} was 'old' and is now 'new'"):
            app.result(run.id, 1)


def test_the_steps_of_a_session_are_done_by_one_process(tmp_path: Path) -> None:
    clock, learn = FakeClock(), training(session="chat-1")
    with opened(tmp_path, clock) as first:
        run = learn["r"].start("a", "b", "c")
        first.turn()
        assert first.turn()
        assert DONE == ["a"]
        with opened(tmp_path, clock) as second:
            second.turn()  # the flow is carried by whoever comes
            while second.turn():
                pass
            assert (DONE, second.store.work(run.record.key)[0].session) == (["a"], "chat-1")
            assert second.next_due() == clock.now() + 300
            assert first.next_due() == clock.now()
            clock.advance("4m59s")
            assert not second.turn()
            clock.advance("1s")
            assert second.turn()
            assert DONE == ["a", "b"]
            while second.turn():
                pass
            assert DONE == ["a", "b", "c"]
            assert run.result(1) == ["A", "B", "C"]


def test_s13_38_a_session_goes_on_at_once_when_its_process_is_dead(tmp_path: Path) -> None:
    clock, learn = FakeClock(), training(session="chat-1")
    with opened(tmp_path, clock) as second:
        with opened(tmp_path, clock) as first:
            run = learn["r"].start("a", "b")
            first.turn()
            first.turn()
            assert DONE == ["a"]
            abandon(first)
        assert run_to_end(second, second_run(second, run.id)) == ["A", "B"]


def second_run(app: App, id: str) -> Any:
    from durable_nb.flows.run import Run

    return Run(id, host=app)


def test_a_busy_session_is_not_idle_however_long_its_step_takes(tmp_path: Path) -> None:
    clock = FakeClock()
    with opened(tmp_path, clock) as second, opened(tmp_path, clock) as first:

        @step(session="chat-1")
        def long(name: str) -> str:
            DONE.append(name)
            if name == "a":
                clock.advance("1h")
                assert second.runtime is not None
                assert not second.runtime.workers.run_one()
            return name

        @flow
        def both() -> list[str]:
            return gather(long.spawn("a"), long.spawn("b")).result()

        run = both["r"].start()
        assert run_to_end(first, run) == ["a", "b"]


def test_s13_39_tag_and_session_must_both_fit(tmp_path: Path) -> None:
    clock = FakeClock()

    @step(session="chat-1")
    def talk(name: str) -> str:
        DONE.append(name)
        return name

    @flow
    def mixed() -> list[str]:
        return [talk("plain"), talk.options(tag="gpu")("tagged")]

    with opened(tmp_path, clock) as plain, opened(tmp_path, clock, "gpu") as gpu:
        run = mixed["r"].start()
        plain.turn()
        plain.turn()
        while plain.turn() or gpu.turn():
            pass
        assert DONE == ["plain"]  # its process has not the tag, and who has it holds not the session
        assert "held by" in run.why()
        clock.advance("5m")
        while gpu.turn() or plain.turn():
            pass
        assert DONE == ["plain", "tagged"]


@pytest.mark.parametrize(
    "options",
    [{"tag": "any"}, {"tag": ""}, {"tag": "x" * 101}, {"session": 7}, {"tag": "a\nb"}, {"priority": 1.5}],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        step(**options)


def test_tags_of_a_process_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="tags"):
        connect(tmp_path / "x.db", tags="gpu")
