"""Steps as a user meets them: attempts, delays, timeouts, processes of their own, values, output, sagas."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    BadOption,
    NotInFlow,
    Retry,
    Run,
    RunParked,
    Saga,
    SagaFailed,
    StepFailed,
    StepTimeout,
    Unstorable,
    connect,
    current_step,
    flow,
    runs,
    sleep,
    step,
)
from durable_nb.app import App
from durable_nb.history import events as e
from durable_nb.runtime import isolate
from durable_nb.testing import FakeClock, abandon, run_to_end, run_until_idle

pytestmark = pytest.mark.usefixtures("own_names")


def of_kind(run: Any, kind: type) -> list[Any]:
    return [event for event in run.history if isinstance(event, kind)]


def failing(times: int, error: type[BaseException] = ConnectionError) -> Any:
    """A body that fails that often and then returns how often it was called."""
    calls: list[int] = []

    def body() -> int:
        calls.append(current_step().attempt)
        if len(calls) <= times:
            raise error(f"failure {len(calls)}")
        return len(calls)

    body.calls = calls  # type: ignore[attr-defined]
    return body


def flow_of(made: Any) -> Any:
    @flow
    def only() -> Any:
        return made()

    return only


def run_of(made: Any) -> Run:
    return flow_of(made)["r"].start()


def carried(made: Any) -> Any:
    """What the step gives in a flow that is carried right here."""
    return flow_of(made)["r"]()


def said(call: Any) -> str:
    """What a flow learns that catches the failure of a step."""

    @flow
    def catches() -> str:
        try:
            call()
        except (StepFailed, StepTimeout) as error:
            return str(error)
        return "never"

    return str(catches["r"]())


# attempts


def test_retry_counts_failed_attempts_at_most(durable_app: App) -> None:
    body = failing(2)
    run = run_of(step(retry=3)(body))
    assert run_to_end(durable_app, run) == 3
    assert body.calls == [1, 2, 3]


def test_the_last_failure_is_the_outcome_when_the_attempts_are_used_up(durable_app: App) -> None:
    body = failing(9)
    run = run_of(step(retry=3)(body))
    with pytest.raises(ConnectionError, match="failure 3"):
        run_to_end(durable_app, run)
    assert body.calls == [1, 2, 3]
    assert [event.failure.message for event in of_kind(run, e.AttemptFailed)] == ["failure 1", "failure 2"]
    assert of_kind(run, e.Raised)[0].failure.message == "failure 3"


def test_without_retry_one_failure_is_the_outcome(durable_app: App) -> None:
    body = failing(9)
    with pytest.raises(ConnectionError, match="failure 1"):
        carried(step(body))
    assert body.calls == [1]


def test_pauses_grow_by_the_factor_up_to_the_longest(durable_app: App) -> None:
    body = failing(9)
    policy = Retry(max_attempts=6, first="2s", factor=3, max="30s", jitter=0)
    run = run_of(step(retry=policy)(body))
    with pytest.raises(ConnectionError):
        run_to_end(durable_app, run)
    assert [event.retry_at - event.at for event in of_kind(run, e.AttemptFailed)] == [2, 6, 18, 30, 30]


def test_no_attempt_begins_before_its_pause_is_over(durable_app: App, durable_clock: FakeClock) -> None:
    body = failing(1)
    run = run_of(step(retry=Retry(first="10s", jitter=0))(body))
    run_until_idle(durable_app)
    durable_clock.advance(9.9)
    run_until_idle(durable_app)
    assert body.calls == [1]
    assert "again in 100 ms" in run.why()
    assert "ConnectionError: failure 1" in run.why()
    durable_clock.advance(0.2)
    run_until_idle(durable_app)
    assert run.result() == 2


@pytest.mark.parametrize("failed", [1, 2, 3, 10, 2000])
@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_jitter_adds_at_most_its_share(failed: int, chance: float) -> None:
    plain = Retry(first=1, factor=2, max=60, jitter=0).pause(failed, chance)
    assert plain == min(2.0 ** min(failed - 1, 100), 60)
    assert Retry(first=1, factor=2, max=60, jitter=0.5).pause(failed, chance) == pytest.approx(
        plain * (1 + 0.5 * chance)
    )


def test_only_failures_of_retry_on_are_tried_again(durable_app: App) -> None:
    body = failing(9, KeyError)
    with pytest.raises(KeyError):
        carried(step(retry=Retry(max_attempts=5, retry_on=OSError))(body))
    assert body.calls == [1]


def test_failures_of_give_up_on_are_not_tried_again(durable_app: App) -> None:
    body = failing(9, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        carried(step(retry=Retry(max_attempts=5, retry_on=OSError, give_up_on=(FileNotFoundError,)))(body))
    assert body.calls == [1]


def test_total_timeout_ends_the_attempts(durable_app: App) -> None:
    body = failing(99)
    policy = Retry(max_attempts=50, first="10s", factor=1, jitter=0, total_timeout="35s")
    run = run_of(step(retry=policy)(body))
    with pytest.raises(ConnectionError, match="failure 4"):
        run_to_end(durable_app, run)
    assert body.calls == [1, 2, 3, 4]  # at 0, 10, 20 and 30 s; the next would have been at 40


@pytest.mark.parametrize(
    "options",
    [
        {"retries": 3},
        {"retry": {"tries": 3}},
        {"retry": {"max_attempts": 3, "backoff": 2}},
        {"retry": 0},
        {"retry": -1},
        {"retry": True},
        {"retry": "3"},
        {"retry": {"max_attempts": "3"}},
        {"retry": {"factor": 0.5}},
        {"retry": {"jitter": 2}},
        {"retry": {"first": "soon"}},
        {"retry": {"max": -1}},
        {"retry": {"retry_on": "OSError"}},
        {"retry": {"give_up_on": (OSError, 3)}},
        {"retry": {"total_timeout": 0}},
        {"retry": {"timeout": 0}},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "1x"},
        {"timeout": True},
        {"delay": -1},
        {"delay": "later"},
        {"isolate": "yes"},
        {"check_arguments": 1},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused_at_the_definition(options: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        step(**options)(lambda: None)


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadOption, match=r"no option retries; it has .*retry.*timeout"):
        step(retries=3)  # type: ignore[call-overload]
    with pytest.raises(BadOption, match=r"no tries; it has .*max_attempts"):
        step(retry={"tries": 3})


def test_options_of_one_call_do_not_change_the_step(durable_app: App) -> None:
    body = failing(1)
    made = step(body)
    run = run_of(made.options(retry=2))
    assert run_to_end(durable_app, run) == 2
    assert made.options_.retry.max_attempts == 1


def test_a_crash_does_not_use_the_budget(tmp_path: Path, durable_clock: FakeClock) -> None:
    apps: list[App] = []
    keys: list[str] = []

    @step(retry=Retry(max_attempts=2, first=0.001))
    def dying() -> str:
        keys.append(current_step().idempotency_key)
        if current_step().attempt in (1, 2, 4):
            abandon(apps[-1])
            return "nobody hears this"
        if current_step().attempt == 3:
            raise ConnectionError("the only failed attempt")
        return f"attempt {current_step().attempt}"

    only = flow_of(dying)
    for _ in range(4):
        with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
            apps.append(app)
            app.runtime.look_after()  # type: ignore[union-attr]
            try:
                run = only["r"].start()
                result = run_to_end(app, run)
            except Exception:
                continue
            break
    assert result == "attempt 5"
    assert len(set(keys)) == 1


# delay and timeout


def test_a_delayed_step_begins_when_the_delay_is_over(durable_app: App, durable_clock: FakeClock) -> None:
    body = failing(0)
    run = run_of(step(delay="1h")(body))
    run_until_idle(durable_app)
    assert run.status == "waiting"
    assert "delayed until" in run.why()
    durable_clock.advance("59m")
    run_until_idle(durable_app)
    assert body.calls == []
    durable_clock.advance("1m")
    run_until_idle(durable_app)
    assert run.result() == 1


def test_every_timer_of_a_process_fires_not_only_the_first(tmp_path: Path) -> None:
    @flow
    def nap(seconds: float) -> float:
        sleep(seconds)
        return seconds

    with connect(tmp_path / "log.db", durability="process"):
        naps = [nap.start(0.1 * n) for n in range(1, 8)]
        assert [run.result("30s") for run in naps] == [0.1 * n for n in range(1, 8)]


def test_one_worker_takes_every_step_that_is_due(tmp_path: Path) -> None:
    @step(delay="50ms")
    def late(n: int) -> int:
        return n

    @flow
    def all_of_them() -> list[int]:
        return [future.result() for future in [late.spawn(n) for n in range(12)]]

    with connect(tmp_path / "log.db", durability="process", workers=1):
        assert all_of_them["r"].start().result("30s") == list(range(12))


def test_a_thread_past_its_timeout_is_abandoned_and_named_and_its_late_answer_refused(durable_app: App) -> None:
    late, ended = threading.Event(), threading.Event()

    @step(timeout="50ms")
    def slow() -> str:
        late.wait(60)
        ended.set()
        return "too late"

    result = said(slow)
    assert "step `slow` took longer than its timeout of 50 ms" in result
    assert "is left running, use isolate=True" in result
    (abandoned,) = [thread for thread in threading.enumerate() if thread.name in result]
    before = runs["r"].history
    late.set()
    assert ended.wait(30)
    abandoned.join(30)
    assert runs["r"].history == before
    assert len(of_kind(runs["r"], e.Raised)) == 1
    assert of_kind(runs["r"], e.Returned) == []


def test_a_step_past_its_timeout_is_told(durable_app: App) -> None:
    told = threading.Event()

    @step(timeout="50ms")
    def patient() -> None:
        me = current_step()
        while not me.cancelled:
            told.wait(0.01)
        told.set()

    with pytest.raises(StepTimeout):
        carried(patient)
    assert told.wait(30)


def test_a_timeout_is_a_failure_that_is_tried_again(durable_app: App) -> None:
    gate = threading.Event()

    @step(retry=Retry(max_attempts=2, first=0, timeout="100ms", retry_on=OSError))
    def second_time() -> int:
        if current_step().attempt == 1:
            gate.wait(60)
        return current_step().attempt

    run = run_of(second_time)
    try:
        assert run_to_end(durable_app, run) == 2
    finally:
        gate.set()


def test_a_timeout_error_of_the_body_is_its_own(durable_app: App) -> None:
    @step(timeout="60s")
    def upstream() -> None:
        raise TimeoutError("upstream said no")

    with pytest.raises(TimeoutError, match="upstream said no") as caught:
        carried(upstream)
    assert not isinstance(caught.value, StepTimeout)


# async steps


def test_async_steps_are_spawned(durable_app: App) -> None:
    @step
    async def fetch(n: int) -> int:
        await asyncio.sleep(0)
        return n + current_step().attempt

    @flow
    def both() -> list[int]:
        first, second = fetch.spawn(1), fetch.spawn(2)
        return [second.result(), first.result()]

    assert both["r"]() == [3, 2]


def test_an_async_step_called_plainly_says_what_to_write(durable_app: App) -> None:
    @step
    async def fetch() -> int:
        return 1

    with pytest.raises(NotInFlow, match=r"fetch\.spawn\(…\)\.result\(\)"):
        carried(fetch)


def test_an_async_step_past_its_timeout_is_cancelled(durable_app: App) -> None:
    cancelled = threading.Event()

    @step(timeout="50ms")
    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert "step `stuck` took longer than its timeout of 50 ms" in said(lambda: stuck.spawn().result())
    assert cancelled.wait(30)


def test_a_timeout_error_of_an_async_body_is_its_own(durable_app: App) -> None:
    @step(timeout="60s")
    async def upstream() -> None:
        raise TimeoutError("upstream said no")

    with pytest.raises(TimeoutError, match="upstream said no") as caught:
        carried(lambda: upstream.spawn().result())
    assert not isinstance(caught.value, StepTimeout)


# processes of their own


@pytest.mark.slow
def test_an_isolated_step_is_killed_at_its_timeout(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            children.append(self)

    monkeypatch.setattr(isolate.subprocess, "Popen", Watched)

    @step(timeout="500ms", isolate=True)
    def stuck() -> None:
        signal.pause()

    with pytest.raises(StepTimeout, match=r"step `stuck` took longer than its timeout of 500 ms and was killed"):
        carried(stuck)
    assert [child.returncode for child in children] == [-signal.SIGKILL]


@pytest.mark.slow
def test_a_segmentation_fault_costs_the_step_and_not_the_process(durable_app: App) -> None:
    @step(isolate=True)
    def crashes() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    assert "step `crashes` was killed by SIGSEGV" in said(crashes)


@pytest.mark.slow
def test_an_isolated_step_that_ends_its_process_fails_with_the_exit_code(durable_app: App) -> None:
    @step(isolate=True)
    def leaves() -> None:
        os._exit(3)

    with pytest.raises(StepFailed, match="exit code 3"):
        carried(leaves)


@pytest.mark.slow
def test_an_isolated_step_knows_who_it_is_and_its_output_is_kept(
    durable_app: App, capfd: pytest.CaptureFixture[str]
) -> None:
    @step(isolate=True)
    def shows(n: int) -> dict[str, Any]:
        print("from python", n)
        print("a complaint", file=sys.stderr)
        os.write(1, b"from below\n")
        me = current_step()
        return {"run": me.run_id, "attempt": me.attempt, "key": me.idempotency_key, "name": me.name, "pid": os.getpid()}

    @flow
    def here() -> dict[str, Any]:
        return shows(7)

    found = here["r"]()
    record = runs["r"].record
    assert found == {
        "run": "r",
        "attempt": 1,
        "key": f"{record.uid}/1/2",
        "name": "shows",
        "pid": found["pid"],
    }
    assert found["pid"] != os.getpid()
    pieces = runs["r"].output
    assert {piece.ask for piece in pieces} == {2}
    out = "".join(piece.text for piece in pieces if piece.stream == "stdout")
    assert sorted(out.splitlines()) == ["from below", "from python 7"]
    assert "".join(piece.text for piece in pieces if piece.stream == "stderr") == "a complaint\n"
    assert "from python" not in capfd.readouterr().out


@pytest.mark.slow
def test_the_failure_of_an_isolated_step_keeps_its_class(durable_app: App) -> None:
    @step(isolate=True)
    def fails() -> None:
        raise FileNotFoundError(2, "no such thing", "x.csv")

    with pytest.raises(FileNotFoundError, match=r"no such thing: 'x\.csv'"):
        carried(fails)


@pytest.mark.slow
def test_an_unstorable_result_of_an_isolated_step_is_named_and_not_tried_again(durable_app: App) -> None:
    @step(isolate=True, retry=Retry(max_attempts=3, first=0))
    def locks() -> Any:
        return threading.Lock()

    run = run_of(locks)
    with pytest.raises(Unstorable, match=r"the result of step `locks`"):
        run_to_end(durable_app, run)
    assert of_kind(run, e.AttemptFailed) == []


# values


def test_an_argument_changed_in_place_parks_the_run_and_names_the_step(durable_app: App) -> None:
    @step
    def sort(numbers: list[int]) -> int:
        numbers.sort()
        return numbers[0]

    @flow
    def smallest() -> list[Any]:
        numbers = [3, 1, 2]
        return [sort(numbers), numbers]

    with pytest.raises(RunParked, match=r"step `sort` has changed one of its arguments \(numbers\) in place"):
        smallest["r"]()
    assert runs["r"].record.reason == "argument_changed"
    runs["r"].resume()
    run_until_idle(durable_app)
    assert runs["r"].result() == [1, [3, 1, 2]]  # what any replay gives, and the step did not run again
    assert len(of_kind(runs["r"], e.Returned)) == 1


def test_a_failed_attempt_that_changed_its_argument_parks_the_run_too(durable_app: App) -> None:
    seen: list[list[int]] = []

    @step(retry=Retry(max_attempts=3, first=0))
    def drain(numbers: list[int]) -> int:
        seen.append(list(numbers))
        numbers.pop()
        if len(seen) == 1:
            raise ConnectionError("not yet")
        return 1

    @flow
    def draining() -> int:
        return drain([1, 2, 3])

    with pytest.raises(RunParked, match=r"step `drain` has changed one of its arguments"):
        draining["r"]()
    assert seen == [[1, 2, 3]]  # a second attempt never sees what the first one has left


def test_a_large_result_changed_in_place_parks_the_run_and_names_both_steps(durable_app: App) -> None:
    @step
    def load() -> list[int]:
        return list(range(50_000))

    @step
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @flow
    def changes() -> int:
        numbers = load()
        numbers.append(1)
        return total(numbers)

    with pytest.raises(
        RunParked, match=r"the result of step `load` was changed in place .* to step `total` as `numbers`"
    ):
        changes["r"]()


def test_a_large_result_is_handed_over_and_comes_back_equal(durable_app: App) -> None:
    @step
    def load() -> bytes:
        return bytes(range(256)) * 4096

    @step
    def check(data: bytes, size: int) -> bool:
        return data == bytes(range(256)) * 4096 and len(data) == size

    @flow
    def moves() -> list[bool]:
        data = load()
        first = check(data, len(data))
        sleep(1)
        return [first, check(data, len(data)), data == bytes(range(256)) * 4096]

    run = moves["r"].start()
    assert run_to_end(durable_app, run) == [True, True, True]
    (stored,) = durable_app.log.query("select count(*) as n from payload")
    assert stored["n"] == 1  # three references, one copy


@dataclass
class Point:
    x: float
    y: tuple[int, ...]


@pytest.mark.parametrize(
    "value",
    [
        (1, (2, 3)),
        {1, 2},
        frozenset({"a"}),
        float("nan"),
        [float("inf"), -0.0],
        b"\x00\xff",
        {1: "one", (2, 3): "two"},
        {"$": 1, "json": 2},
        Point(1.5, (2,)),
        ["x" * 70_000, (1, 2)],
        2**80,
        "\ud800",
        None,
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_value_is_the_same_live_and_in_replay(durable_app: App, value: Any) -> None:
    shown: list[str] = []

    @step
    def give() -> Any:
        return value

    @step(check_arguments=False)
    def show(text: str) -> None:
        shown.append(text)

    @flow
    def twice() -> str:
        got = give()
        text = f"{type(got).__name__} {got!r}"
        show(text)
        sleep(1)
        text = f"{type(got).__name__} {got!r}"
        show(text)
        return text

    run = twice["r"].start()
    expected = f"{type(value).__name__} {value!r}"
    assert run_to_end(durable_app, run) == expected
    assert shown == [expected, expected]
    assert runs["r"].result() == expected


# output


def test_output_of_flow_and_step_is_kept_once_and_not_repeated_by_replay(
    durable_app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    @step
    def speak() -> None:
        print("in the step")

    @flow
    def chatty() -> None:
        print("before")
        speak()
        print("between")
        sleep(1)
        print("after")

    run = chatty["r"].start()
    run_to_end(durable_app, run)
    text = "".join(piece.text for piece in run.output)
    assert text == "before\nin the step\nbetween\nafter\n"
    assert [piece.ask for piece in run.output if "in the step" in piece.text] == [2]
    assert capsys.readouterr().out == ""  # background output does not reach a stranger's cell


def test_a_run_carried_here_shows_its_output_here(durable_app: App, capsys: pytest.CaptureFixture[str]) -> None:
    @step
    def speak() -> None:
        print("in the step")

    @flow
    def chatty() -> None:
        print("before")
        speak()

    chatty["r"]()
    print("not of the run")
    assert capsys.readouterr().out == "before\nin the step\nnot of the run\n"
    assert "".join(piece.text for piece in runs["r"].output) == "before\nin the step\n"


def test_output_of_one_attempt_is_cut_with_a_note(durable_app: App) -> None:
    @step
    def floods() -> None:
        for _ in range(3):
            print("x" * 600_000)

    run = run_of(floods)
    run_to_end(durable_app, run)
    text = "".join(piece.text for piece in run.output)
    assert 1024 * 1024 <= len(text) < 1024 * 1024 + 100
    assert text.endswith("[output cut after 1048576 characters]\n")


def test_output_of_a_failed_attempt_is_kept_apart(durable_app: App) -> None:
    @step(retry=Retry(max_attempts=2, first=0))
    def tries() -> None:
        print("try", current_step().attempt)
        if current_step().attempt == 1:
            raise ConnectionError("not yet")

    run = run_of(tries)
    run_to_end(durable_app, run)
    assert [(piece.attempt, piece.text) for piece in run.output] == [(1, "try 1\n"), (2, "try 2\n")]


# who am I


def test_current_step_says_who_it_is(durable_app: App) -> None:
    @step(name="billing")
    def who() -> list[Any]:
        me = current_step()
        return [me.run_id, me.name, me.attempt, me.idempotency_key, me.cancelled]

    @flow
    def asks() -> list[Any]:
        return [who(), who()]

    first, second = asks["r"]()
    uid = runs["r"].record.uid
    assert first == ["r", "billing", 1, f"{uid}/1/2", False]
    assert second == ["r", "billing", 1, f"{uid}/1/4", False]


def test_current_step_outside_a_step_is_refused(durable_app: App) -> None:
    with pytest.raises(NotInFlow, match="body of a step"):
        current_step()

    @flow
    def lost() -> None:
        current_step()

    with pytest.raises(NotInFlow, match="body of a step"):
        lost["r"]()


def test_the_idempotency_key_is_the_same_for_every_attempt(durable_app: App) -> None:
    keys: list[str] = []

    @step(retry=Retry(max_attempts=4, first=0))
    def tries() -> None:
        keys.append(current_step().idempotency_key)
        if len(keys) < 4:
            raise ConnectionError("not yet")

    run_to_end(durable_app, flow_of(tries)["a"].start())
    assert len(keys) == 4
    assert len(set(keys)) == 1
    keys[:] = ["", "", ""]
    run_to_end(durable_app, flow_of(tries)["b"].start())
    assert keys[3] != keys[0]


def test_heartbeat_and_progress_do_not_disturb(durable_app: App) -> None:
    @step
    def works() -> list[int]:
        me = current_step()
        me.heartbeat()
        me.heartbeat({"rows": 3})
        return [*me.progress([1, 2]), *me.progress(iter([3]))]

    assert carried(works) == [1, 2, 3]


def test_outside_flows_a_step_is_a_plain_function() -> None:
    @step(retry=3, timeout="1s")
    def double(n: int) -> int:
        """Twice as much."""
        return n * 2

    assert double(4) == 8
    assert double.__doc__ == "Twice as much."
    with pytest.raises(NotInFlow, match=r"double\.spawn"):
        double.spawn(4)


# sagas


def saga_steps(after_undo: Callable[[str], None] = lambda what: None) -> tuple[list[str], Any, Any]:
    ledger: list[str] = []

    @step
    def do(what: str) -> str:
        ledger.append(f"do {what}")
        return what

    @step
    def undo(what: str) -> None:
        ledger.append(f"undo {what}")
        after_undo(what)

    return ledger, do, undo


def failing_trip(do: Any, undo: Any) -> Any:
    @flow
    def trip() -> None:
        with Saga() as saga:
            for what in ("flight", "hotel", "car"):
                saga.undo(undo, do(what))
            raise LookupError("no seat left")

    return trip


def test_compensations_run_in_reverse_order_and_the_failure_goes_on(durable_app: App) -> None:
    ledger, do, undo = saga_steps()
    with pytest.raises(LookupError, match="no seat left"):
        failing_trip(do, undo)["r"]()
    assert ledger == ["do flight", "do hotel", "do car", "undo car", "undo hotel", "undo flight"]


def test_a_saga_that_succeeds_undoes_nothing(durable_app: App) -> None:
    ledger, do, undo = saga_steps()

    @flow
    def trip() -> str:
        with Saga() as saga:
            saga.undo(undo, do("flight"))
        return "booked"

    assert trip["r"]() == "booked"
    assert ledger == ["do flight"]


def test_waiting_in_a_saga_compensates_nothing(durable_app: App) -> None:
    ledger, do, undo = saga_steps()

    @flow
    def trip() -> str:
        with Saga() as saga:
            saga.undo(undo, do("flight"))
            sleep("1h")
            do("hotel")
        return "booked"

    run = trip["r"].start()
    run_until_idle(durable_app)
    assert run.status == "waiting"
    assert ledger == ["do flight"]
    assert run_to_end(durable_app, run) == "booked"
    assert ledger == ["do flight", "do hotel"]


def test_a_failing_compensation_does_not_stop_the_others_and_is_told(durable_app: App) -> None:
    def breaks(what: str) -> None:
        if what == "hotel":
            raise ValueError("cannot be undone")

    ledger, do, undo = saga_steps(breaks)
    with pytest.raises(SagaFailed, match=r"no seat left.*compensation failed: ValueError: cannot be undone") as caught:
        failing_trip(do, undo)["r"]()
    assert ledger[3:] == ["undo car", "undo hotel", "undo flight"]
    assert [str(failure) for failure in caught.value.failures] == ["cannot be undone"]


def test_a_saga_goes_on_undoing_after_a_crash(tmp_path: Path, durable_clock: FakeClock) -> None:
    def dies(what: str) -> None:
        if what == "hotel" and ledger.count("undo hotel") == 1:
            abandon(first)

    ledger, do, undo = saga_steps(dies)
    first = connect(tmp_path / "log.db", carriers=0, clock=durable_clock)
    failing_trip(do, undo)["r"].start()
    with pytest.raises(Exception, match="closed"):
        run_until_idle(first)
    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        app.runtime.look_after()  # type: ignore[union-attr]
        run_until_idle(app)
        with pytest.raises(LookupError, match="no seat left"):
            runs["r"].result()
    assert ledger[3:] == ["undo car", "undo hotel", "undo hotel", "undo flight"]
