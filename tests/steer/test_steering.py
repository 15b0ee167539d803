"""Steering a run: pause and resume, retry, interrupt, delete; and the sentence that says what it is doing."""

import json
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    Retry,
    RunParked,
    RunPaused,
    Saga,
    UnknownRun,
    connect,
    current_run,
    current_step,
    flow,
    runs,
    sleep,
    step,
    timer,
)
from durable_nb.app import App
from durable_nb.errors import Refused
from durable_nb.stores import database
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end, run_until_idle

pytestmark = pytest.mark.usefixtures("own_names")


def kinds(run: Any) -> list[str]:
    return [type(event).__name__ for event in run.history]


def script(folder: Path, source: str, *args: str) -> Any:
    """Run a script to its end; the last line it prints is JSON."""
    path = folder / "script.py"
    path.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [sys.executable, str(path), *args], capture_output=True, text=True, cwd=folder, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# pause and resume


def test_a_paused_run_does_not_go_on_until_it_is_resumed(durable_app: App, durable_clock: FakeClock) -> None:
    calls: list[str] = []

    @step
    def tell(what: str) -> None:
        calls.append(what)

    @flow
    def sleeper() -> str:
        tell("before")
        sleep("1h")
        tell("after")
        return "done"

    run = sleeper["r"].start()
    run_until_idle(durable_app)
    run.pause()
    assert run.status == "paused"
    durable_clock.advance("2h")  # its clock goes on
    assert run_until_idle(durable_app) == 0
    assert calls == ["before"]
    with pytest.raises(RunPaused, match=r'runs\["r"\]\.resume\(\)'):
        run.result()
    run.resume()
    run_until_idle(durable_app)
    assert run.result() == "done"
    assert calls == ["before", "after"]
    assert [kind for kind in kinds(run) if kind in ("Paused", "Resumed")] == ["Paused", "Resumed"]


def test_a_run_paused_in_the_middle_of_a_step_stops_at_its_next_ask(durable_app: App) -> None:
    calls: list[str] = []

    @step
    def first() -> str:
        calls.append("first")
        runs["r"].pause()
        return "of the first"

    @step
    def second(what: str) -> str:
        calls.append("second")
        return what

    @flow
    def both() -> str:
        return second(first())

    with pytest.raises(RunPaused):
        both["r"]()
    assert calls == ["first"]
    assert runs["r"].status == "paused"
    runs["r"].resume()
    run_until_idle(durable_app)
    assert runs["r"].result() == "of the first"
    assert calls == ["first", "second"]  # the step that ran when the pause came was finished and is not repeated


def test_a_pause_in_the_last_step_repeats_nothing(durable_app: App) -> None:
    calls: list[str] = []

    @step
    def last() -> str:
        calls.append("last")
        runs["r"].pause()
        return "done"

    @flow
    def short() -> str:
        return last()

    run = short["r"].start()
    run_until_idle(durable_app)
    if run.status == "paused":
        run.resume()
        run_until_idle(durable_app)
    assert run.result() == "done"
    assert calls == ["last"]


def test_a_pause_before_a_wait_repeats_nothing_and_keeps_the_output(durable_app: App) -> None:
    calls: list[str] = []

    @step
    def work() -> str:
        calls.append("work")
        print("worked")
        runs["r"].pause()
        return "done"

    @flow
    def short() -> str:
        found = work()
        sleep("1s")
        return found

    run = short["r"].start()
    run_until_idle(durable_app)
    assert run.status == "paused"
    run.resume()
    assert run_to_end(durable_app, run) == "done"
    assert calls == ["work"]
    assert "".join(piece.text for piece in run.output) == "worked\n"


def test_a_running_step_goes_on_while_its_run_is_paused(durable_app: App) -> None:
    calls: list[str] = []

    @step
    def beside() -> str:
        calls.append("beside")
        return "of the step"

    @flow
    def waits() -> str:
        future = beside.spawn()
        return future.result()

    run = waits["r"].start()
    assert durable_app.turn()
    run.pause()
    run_until_idle(durable_app)
    assert calls == ["beside"]
    assert run.status == "paused"
    run.resume()
    run_until_idle(durable_app)
    assert run.result() == "of the step"
    assert calls == ["beside"]


def test_a_run_that_has_not_begun_can_be_paused(durable_app: App) -> None:
    @flow
    def nothing() -> str:
        return "done"

    run = nothing["r"].start()
    run.pause()
    assert run_until_idle(durable_app) == 0
    run.resume()
    run_until_idle(durable_app)
    assert run.result() == "done"


def test_pausing_again_is_a_no_op_and_an_ended_run_refuses(durable_app: App) -> None:
    @flow
    def nothing() -> None:
        sleep(1)

    run = nothing["r"].start()
    run.pause()
    run.pause()
    assert kinds(run).count("Paused") == 1
    run.resume()
    with pytest.raises(Refused, match="only a paused or parked run can be resumed"):
        run.resume()
    run_to_end(durable_app, run)
    with pytest.raises(Refused, match="is completed"):
        run.pause()
    with pytest.raises(Refused, match="only a paused or parked run can be resumed"):
        run.resume()


def test_a_paused_run_stays_paused_over_a_restart(tmp_path: Path, durable_clock: FakeClock) -> None:
    @flow
    def sleeper() -> str:
        sleep(1)
        return "done"

    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        run = sleeper["r"].start()
        run_until_idle(app)
        run.pause()
    durable_clock.advance(10)
    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        assert run_until_idle(app) == 0
        runs["r"].resume()
        run_until_idle(app)
        assert runs["r"].result() == "done"


@pytest.mark.slow
def test_another_process_pauses_and_resumes(tmp_path: Path) -> None:
    @step
    def poke(n: int) -> bool:
        return (tmp_path / "enough").exists()

    @flow
    def ticking() -> str:
        for n in range(1_000_000):
            if poke(n):
                return "stopped"
            sleep(0.01)
        return "never"

    source = """
        import sys
        from durable_nb import connect, runs
        with connect("log.db", carry=False) as app:
            getattr(runs["r"], sys.argv[1])()
            for event in ([] if sys.argv[1] == "resume" else runs["r"].follow()):
                pass
            print("\\"" + runs["r"].status + "\\"")
    """
    with connect(tmp_path / "log.db", durability="process"):
        run = ticking["r"].start()
        assert script(tmp_path, source, "pause") == "paused"
        with pytest.raises(RunPaused):
            run.result("60s")
        (tmp_path / "enough").touch()
        script(tmp_path, source, "resume")
        assert run.result("60s") == "stopped"


# retry


def broken_until(fixed: list[bool], calls: list[Any]) -> tuple[Any, Any]:
    @step
    def before(n: int) -> int:
        calls.append(("before", n))
        return n

    @step(retry=Retry(max_attempts=2, first=0))
    def fragile(n: int) -> int:
        me = current_step()
        calls.append(("fragile", me.attempt, me.idempotency_key))
        if not fixed:
            raise ConnectionError("the network is down")
        return n * 10

    return before, fragile


def test_retry_repeats_the_failed_step_alone_and_goes_on_counting(durable_app: App) -> None:
    fixed: list[bool] = []
    calls: list[Any] = []
    before, fragile = broken_until(fixed, calls)

    @flow
    def work() -> int:
        return fragile(before(4))

    run = work["r"].start()
    with pytest.raises(ConnectionError):
        run_to_end(durable_app, run)
    fixed.append(True)
    run.retry()
    assert run_to_end(durable_app, run) == 40
    assert [call[:2] for call in calls] == [("before", 4), ("fragile", 1), ("fragile", 2), ("fragile", 3)]
    assert len({call[2] for call in calls if call[0] == "fragile"}) == 1
    assert kinds(run).count("Retried") == 1


def test_every_retry_has_the_whole_budget_again(durable_app: App) -> None:
    calls: list[Any] = []
    before, fragile = broken_until([], calls)

    @flow
    def work() -> int:
        return fragile(before(4))

    run = work["r"].start()
    for expected in (2, 4, 6):
        with pytest.raises(ConnectionError):
            run_to_end(durable_app, run)
        assert [call[1] for call in calls if call[0] == "fragile"] == list(range(1, expected + 1))
        run.retry()


def test_a_failure_that_the_flow_wrapped_is_retried_at_the_step(durable_app: App) -> None:
    fixed: list[bool] = []
    calls: list[Any] = []
    before, fragile = broken_until(fixed, calls)

    @flow
    def work() -> int:
        try:
            return fragile(before(4))
        except ConnectionError as error:
            raise RuntimeError("could not work") from error

    run = work["r"].start()
    with pytest.raises(RuntimeError, match="could not work"):
        run_to_end(durable_app, run)
    fixed.append(True)
    run.retry()
    assert run_to_end(durable_app, run) == 40
    assert [call for call in calls if call[0] == "before"] == [("before", 4)]


def test_a_failure_of_the_flows_own_line_is_retried_with_the_newest_code(durable_app: App) -> None:
    calls: list[str] = []

    @step
    def load() -> dict[str, int]:
        calls.append("load")
        return {"a": 1}

    def first() -> Any:
        @flow
        def work() -> int:
            return load()["b"]

        return work

    def second() -> Any:
        @flow
        def work() -> int:
            return load()["a"]

        return work

    run = first()["r"].start()
    with pytest.raises(KeyError):
        run_to_end(durable_app, run)
    second()
    run.retry()
    assert run_to_end(durable_app, run) == 1
    assert calls == ["load"]
    assert "CodeChanged" in kinds(run)


def test_newest_code_that_does_not_fit_is_not_used_for_a_retry(durable_app: App) -> None:
    calls: list[str] = []

    @step
    def load() -> dict[str, int]:
        calls.append("load")
        return {"a": 1}

    @step
    def other() -> None:
        calls.append("other")

    def first() -> Any:
        @flow(name="work_unfit")
        def work() -> int:
            return load()["b"]

        return work

    run = first()["r"].start()
    with pytest.raises(KeyError):
        run_to_end(durable_app, run)

    @flow(name="work_unfit")
    def work() -> int:
        other()
        return load()["a"]

    run.retry()
    with pytest.raises(RunParked, match=r"the log has step `load`, the code asks for `other`"):
        run_to_end(durable_app, run)
    assert calls == ["load"]
    assert "CodeChanged" not in kinds(run)


def test_retry_refuses_after_a_finished_compensation_and_names_it(durable_app: App) -> None:
    ledger: list[str] = []

    @step
    def book(what: str) -> str:
        ledger.append(f"book {what}")
        if what == "hotel" and ledger.count("book hotel") == 1:
            raise LookupError("no room")
        return what

    @step
    def cancel(what: str) -> None:
        ledger.append(f"cancel {what}")

    @flow
    def trip() -> str:
        with Saga() as saga:
            saga.undo(cancel, book("flight"))
            book("hotel")
        return "booked"

    run = trip["r"].start()
    with pytest.raises(LookupError):
        run_to_end(durable_app, run)
    with pytest.raises(Refused, match=r"has finished `cancel` after the failure.*redo=True"):
        run.retry()
    assert run.status == "failed"
    assert "Retried" not in kinds(run)
    run.retry(redo=True)
    assert run_to_end(durable_app, run) == "booked"
    assert ledger == ["book flight", "book hotel", "cancel flight", "book hotel"]


def test_calling_a_failed_run_again_retries_it(durable_app: App) -> None:
    fixed: list[bool] = []
    calls: list[Any] = []
    before, fragile = broken_until(fixed, calls)

    @flow
    def work(n: int) -> int:
        return fragile(before(n))

    with pytest.raises(ConnectionError):
        work["r"](4)
    fixed.append(True)
    assert work["r"](4) == 40
    assert work["r"](4) == 40
    assert [call[:2] for call in calls] == [("before", 4), ("fragile", 1), ("fragile", 2), ("fragile", 3)]


def test_starting_a_failed_run_again_retries_it_in_the_background(durable_app: App) -> None:
    fixed: list[bool] = []
    before, fragile = broken_until(fixed, [])

    @flow
    def work(n: int) -> int:
        return fragile(before(n))

    run = work["r"].start(4)
    with pytest.raises(ConnectionError):
        run_to_end(durable_app, run)
    fixed.append(True)
    again = work["r"].start(4)
    assert run_to_end(durable_app, again) == 40


def test_recovery_never_retries_a_failed_run(tmp_path: Path, durable_clock: FakeClock) -> None:
    calls: list[Any] = []
    before, fragile = broken_until([], calls)

    @flow
    def work(n: int) -> int:
        return fragile(before(n))

    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app, pytest.raises(ConnectionError):
        run_to_end(app, work["r"].start(4))
    count = len(calls)
    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        app.runtime.look_after()  # type: ignore[union-attr]
        durable_clock.advance("1d")
        assert run_until_idle(app) == 0
        assert runs["r"].status == "failed"
    assert len(calls) == count


def test_only_a_failed_run_can_be_retried(durable_app: App) -> None:
    @flow
    def nothing() -> None:
        sleep(1)

    run = nothing["r"].start()
    with pytest.raises(Refused, match="only a failed run can be retried"):
        run.retry()
    run_to_end(durable_app, run)
    with pytest.raises(Refused, match="only a failed run can be retried"):
        run.retry()


def test_what_was_spawned_before_the_cut_keeps_its_outcome_over_a_retry(durable_app: App) -> None:
    fixed: list[bool] = []
    calls: list[Any] = []
    before, fragile = broken_until(fixed, calls)

    @flow
    def work() -> list[Any]:
        beside = before.spawn(1)
        pause = timer("1m")
        first = fragile(7)
        pause.result()
        return [first, beside.result(), before(2)]

    run = work["r"].start()
    with pytest.raises(ConnectionError):
        run_to_end(durable_app, run)
    fixed.append(True)
    run.retry()
    assert run_to_end(durable_app, run) == [70, 1, 2]
    assert [call for call in calls if call[0] == "before"].count(("before", 2)) == 1


# interrupt


def test_an_interrupt_during_the_last_commit_is_not_lost(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed: list[bool] = []

    @step
    def only() -> str:
        return "done"

    @flow
    def short() -> str:
        return only()

    def press(when: str) -> None:
        if when == "after commit" and not pressed and durable_app.store.run("r") is not None:
            rows = durable_app.log.execute("select count(*) from event where kind = 'completed'").fetchone()
            if rows[0]:
                pressed.append(True)
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(database, "crash_point", press)
    with pytest.raises(KeyboardInterrupt, match="completed"):
        short["r"]()
    assert pressed == [True]
    assert runs["r"].result() == "done"


def test_an_interrupt_just_before_a_wait_is_not_lost(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed: list[bool] = []

    @flow
    def waits() -> str:
        sleep("1h")
        return "done"

    def press(when: str) -> None:
        if when == "before commit" and not pressed and durable_app.store.run("r") is not None:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(database, "crash_point", press)
    with pytest.raises(KeyboardInterrupt, match="goes on in the background"):
        waits["r"]()
    assert runs["r"].status == "waiting"
    assert run_to_end(durable_app, runs["r"]) == "done"


def test_an_interrupt_in_the_flows_own_code_pauses_the_run(durable_app: App) -> None:
    calls: list[str] = []

    @step
    def tell(what: str) -> str:
        calls.append(what)
        return what

    @flow
    def computes() -> str:
        first = tell("first")
        if not current_run().is_replaying and threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)
        return first + tell("second")

    with pytest.raises(KeyboardInterrupt, match=r"is paused: interrupted in the flow's own code.*resume\(\)"):
        computes["r"]()
    assert runs["r"].status == "paused"
    runs["r"].resume()
    run_elsewhere(durable_app)
    assert runs["r"].result() == "firstsecond"
    assert calls == ["first", "second"]


def run_elsewhere(app: App) -> None:
    thread = threading.Thread(target=run_until_idle, args=(app,))
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.slow
def test_an_interrupted_step_is_repeated_by_resume(tmp_path: Path) -> None:
    source = """
        import json, os, signal, threading
        from durable_nb import connect, current_step, flow, runs, step

        calls, keys = [], []

        @step
        def before():
            calls.append("before")

        @step
        def long():
            me = current_step()
            calls.append(f"long {me.attempt}")
            keys.append(me.idempotency_key)
            if me.attempt == 1:
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(60)
            return me.attempt

        @flow
        def work():
            before()
            return long()

        with connect("log.db"):
            said = "nothing"
            try:
                work["r"]()
            except KeyboardInterrupt as error:
                said = str(error)
            paused = {"status": runs["r"].status, "why": runs["r"].why(),
                      "kinds": [type(event).__name__ for event in runs["r"].history]}
            runs["r"].resume()
            result = runs["r"].result("60s")
            print(json.dumps({"said": said, "paused": paused, "result": result, "calls": calls, "keys": len(set(keys))}))
    """
    found = script(tmp_path, source)
    assert "run 'r' is paused: interrupted in step `long`" in found["said"]
    assert 'runs["r"].resume()' in found["said"]
    assert found["paused"]["status"] == "paused"
    assert "interrupted in step `long`" in found["paused"]["why"]
    assert found["paused"]["kinds"][-2:] == ["AttemptInterrupted", "Paused"]
    assert found["result"] == 2
    assert found["calls"] == ["before", "long 1", "long 2"]
    assert found["keys"] == 1


@pytest.mark.slow
def test_an_interrupt_while_waiting_lets_the_run_go_on_in_the_background(tmp_path: Path) -> None:
    source = """
        import json, os, signal, threading
        from durable_nb import connect, flow, runs, sleep, step

        @step
        def last():
            return threading.current_thread().name

        @flow
        def work():
            sleep("2s")
            return last()

        with connect("log.db") as app:
            def press():
                while True:
                    record = app.store.run("r")
                    if record is not None and record.status == "waiting":
                        break
                    threading.Event().wait(0.01)
                os.kill(os.getpid(), signal.SIGINT)

            threading.Thread(target=press, daemon=True).start()
            said = "nothing"
            try:
                work["r"]()
            except KeyboardInterrupt as error:
                said = str(error)
            print(json.dumps({"said": said, "thread": runs["r"].result("60s")}))
    """
    found = script(tmp_path, source)
    assert "run 'r' goes on in the background" in found["said"]
    assert "carrier" in found["thread"]


@pytest.mark.slow
def test_a_storm_of_interrupts_never_corrupts_the_log(tmp_path: Path) -> None:
    source = """
        import json, os, random, signal, threading
        from durable_nb import RunPaused, connect, current_step, flow, runs, step

        finished = []

        @step
        def work(n):
            sum(range(2000))
            finished.append(n)
            return n

        @flow
        def many():
            return sum(work(n) for n in range(150))

        ready, stop = threading.Event(), threading.Event()

        def storm():
            chance = random.Random(7)
            for _ in range(120):
                ready.wait(0.2)
                ready.clear()
                stop.wait(chance.uniform(0, 0.01))
                if stop.is_set():
                    return
                os.kill(os.getpid(), signal.SIGINT)

        caught = 0
        with connect("log.db", durability="process") as app:
            thread = threading.Thread(target=storm, daemon=True)
            thread.start()
            while True:
                try:
                    ready.set()
                    record = app.store.run("r")
                    if record is not None and record.status == "paused":
                        runs["r"].resume()
                    result = many["r"]()
                    break
                except RunPaused:
                    continue
                except KeyboardInterrupt:
                    caught += 1
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            stop.set()
            thread.join()
            history = runs["r"].history
            seqs = [event.seq for event in history]
            answers = [event.ref for event in history if type(event).__name__ in ("Returned", "Raised")]
            asks = [event.seq for event in history if type(event).__name__ == "StepAsked"]
            check = app.log.execute("pragma integrity_check").fetchone()[0]
            status = runs["r"].status
        print(json.dumps({
            "result": result, "caught": caught, "seqs": seqs == list(range(1, len(seqs) + 1)),
            "answers": sorted(answers) == asks and len(asks) == 150, "check": check, "status": status,
        }))
    """
    found = script(tmp_path, source)
    caught = found.pop("caught")
    assert found == {"result": sum(range(150)), "seqs": True, "answers": True, "check": "ok", "status": "completed"}
    assert caught > 0


# delete


def test_delete_refuses_a_live_run_unless_forced(durable_app: App) -> None:
    @flow
    def sleeper() -> None:
        sleep("1h")

    run = sleeper["r"].start()
    run_until_idle(durable_app)
    with pytest.raises(Refused, match=r"is waiting; delete\(force=True\)"):
        run.delete()
    assert run.status == "waiting"
    run.delete(force=True)
    with pytest.raises(UnknownRun):
        run.status
    run_until_idle(durable_app)


def test_delete_removes_an_ended_run_with_everything(durable_app: App) -> None:
    @step
    def large() -> bytes:
        print("some output")
        return bytes(range(256)) * 1024

    @flow
    def work() -> int:
        return len(large())

    work["r"]()
    work["s"]()
    runs["r"].delete()
    with pytest.raises(UnknownRun):
        runs["r"]
    assert runs["s"].result() == 256 * 1024
    counts = {
        table: next(durable_app.log.query(f"select count(*) as n from {table}"))["n"]
        for table in ("run", "payload", "payload_ref", "output")
    }
    assert counts == {"run": 1, "payload": 1, "payload_ref": 1, "output": 1}
    runs["s"].delete()
    left = ("run", "event", "payload", "chunk", "payload_ref", "output", "inbox", "work")
    assert [next(durable_app.log.query(f"select count(*) as n from {table}"))["n"] for table in left] == [0] * 8
    assert work["r"]() == 256 * 1024  # the id is free again


def test_a_run_deleted_while_it_is_carried_stops_writing(durable_app: App) -> None:
    @step
    def gone() -> None:
        runs["r"].delete(force=True)

    @step
    def never() -> None:
        raise AssertionError("the run is gone")

    @flow
    def work() -> None:
        gone()
        never()

    with pytest.raises(UnknownRun):
        work["r"]()
    assert next(durable_app.log.query("select count(*) as n from event"))["n"] == 0


# why


def test_why_has_a_sentence_for_every_status(durable_app: App, durable_clock: FakeClock) -> None:
    said: list[str] = []
    fixed: list[bool] = []

    @step
    def look() -> None:
        said.append(runs["r"].why())
        durable_clock.advance("90s")

    @step(retry=Retry(max_attempts=2, first="5s", jitter=0))
    def fragile() -> None:
        if not fixed:
            raise ConnectionError("the network is down")

    @step(delay="30s")
    def later() -> None:
        pass

    @step
    def beside() -> None:
        pass

    @flow
    def long() -> str:
        look()
        sleep("2h")
        later()
        beside.spawn().result()
        fragile()
        return "done"

    run = long.options(delay="10s")["r"].start()
    name = "run 'r' of flow `long`"
    assert run.why() == f"{name} begins in 10 s (2025-06-15 15:06:50 UTC)."
    durable_clock.advance(10)
    assert run.why().startswith(f"{name} has not begun; nobody carries it yet")
    assert durable_app.turn()
    assert said[0].startswith(f"{name} is running step `look` for 0 ms, carried by ")
    assert run.why() == f"{name} waits for a timer, due in 2 h (2025-06-15 17:08:20 UTC)."
    run.pause()
    assert run.why().startswith(f"{name} is paused: paused by ")
    assert run.why().endswith("run.resume() goes on.")
    run.resume()
    durable_clock.advance("2h")
    assert f"{name} waits for its next turn, which is due" in run.why()
    durable_app.turn()
    assert run.why().startswith(f"{name} waits to begin step `later`, delayed until in 30 s (")
    durable_clock.advance(30)
    while not run.why().startswith(f"{name} waits for step `beside`"):
        assert durable_app.turn()
    run_until_idle(durable_app)
    assert run.why().startswith(f"{name} waits to try step `fragile` again in 5 s (")
    assert "(attempt 2; the last one failed with ConnectionError: the network is down)" in run.why()
    durable_clock.advance(5)
    run_until_idle(durable_app)
    assert run.why().startswith(f"{name} failed after 2 h 2 m: ConnectionError: the network is down. run.retry()")
    fixed.append(True)
    run.retry()
    run_until_idle(durable_app)
    assert run.why().startswith(f"{name} completed after 2 h 2 m")


def test_why_tells_of_a_park(durable_app: App) -> None:
    @step
    def sort(numbers: list[int]) -> None:
        numbers.sort()

    @flow
    def work() -> None:
        sort([2, 1])

    run = work["r"].start()
    run_until_idle(durable_app)
    assert run.status == "parked"
    assert run.why().startswith("run 'r' of flow `work` is parked (argument_changed): step `sort` has changed")
    assert run.why().endswith(".")


def test_why_tells_that_the_carrier_has_died(tmp_path: Path, durable_clock: FakeClock) -> None:
    @step
    def only() -> None:
        pass

    @flow
    def work() -> None:
        only()

    dead = connect(tmp_path / "log.db", carriers=0, clock=durable_clock)
    run = work["r"].start()
    with crash_at(2, "before commit"), pytest.raises(SimulatedCrash):
        run_until_idle(dead)
    abandon(dead)
    with connect(tmp_path / "log.db", carriers=0, clock=durable_clock) as app:
        app.runtime.look_after()  # type: ignore[union-attr]
        assert "by a process that has ended" in runs["r"].why()
        run_until_idle(app)
        assert run.id == "r"
        assert runs["r"].status == "completed"
