"""The acceptance table of minimal durable flows (spec D8), row by row, with real kills where the row says kill.

A row that answers one of the weaknesses of D7 names its number too; the others of those are in test_d7.py.

Rows that come with signals, gather and children: 14 Await/resume, 15 Early signal, 16 Signal + crash, 17 Signal from
another process, 18 Duplicate signal, 19 Wrong signal, 20 Two awaits, 21 Await with time-out, 25 Parallel steps,
26 Nested/sub-flow.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durable_nb import RunConflict, RunParked, Unstorable, connect, current_step, flow, runs, sleep, step
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.history.summary import Asked, asks
from durable_nb.testing import FakeClock, run_to_end, run_until_idle

START = 1_750_000_000.0


pytestmark = pytest.mark.usefixtures("own_names")


def asked(app: App, id: str = "r") -> list[Asked]:
    """What the run asked for, with every attempt."""
    return list(asks(app.store.history(runs[id].record.key)).values())


def save(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(source))
    return path


def life(path: Path, *args: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One life of a script, however it ends."""
    return subprocess.run(
        [sys.executable, str(path), *map(str, args)],
        capture_output=True,
        text=True,
        cwd=path.parent,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )


def told(path: Path, *args: object, **environment: str) -> Any:
    """One life that must end well; the last line it prints is JSON."""
    done = life(path, *args, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def killed(path: Path, *args: object, **environment: str) -> None:
    done = life(path, *args, **environment)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def ledger(folder: Path) -> list[str]:
    path = folder / "ledger.txt"
    return path.read_text().splitlines() if path.exists() else []


NOTE = """
from durable_nb import *
import json, os, signal, sys, threading

def note(what):
    ledger = os.open("ledger.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(ledger, (what + "\\n").encode())
    os.close(ledger)

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def script(folder: Path, source: str) -> Path:
    """A script whose steps can note that they ran, and die."""
    return save(folder, "main.py", NOTE + source)


def five(fails: set[int] = frozenset()) -> tuple[Any, list[tuple[str, int]]]:  # type: ignore[assignment]
    """The flow of the original's tests: five steps that return their number."""
    calls: list[tuple[str, int]] = []

    @step
    def say(name: str, n: int) -> int:
        calls.append((name, n))
        if n in fails:
            raise RuntimeError(f"step {n + 1} is broken")
        return n

    @flow
    def say_hello(name: str) -> int:
        return sum(say(name, n) for n in range(5))

    return say_hello, calls


def test_d8_01_functions_and_methods_can_be_flows_and_steps_and_the_steps_are_listed(durable_app: App) -> None:
    class Greeter:
        @step
        def greet(self, name: str) -> str:
            return f"Hello {name}"

        @flow
        def meet(self, name: str) -> str:
            return shout(self.greet(name))

    @step
    def shout(text: str) -> str:
        return text.upper()

    assert Greeter.meet["r"]("Ann") == "HELLO ANN"
    assert [(event.kind, event.name) for event in asked(durable_app)] == [("step", "Greeter.greet"), ("step", "shout")]
    assert repr(shout) == "<step shout(text: str) -> str>"
    stored = {(row["kind"], row["name"]) for row in durable_app.log.query("select kind, name from code")}
    assert {("flow", "Greeter.meet"), ("step", "shout")} <= stored
    assert registry.names("step") == ["Greeter.greet", "shout"]


def test_d8_02_a_run_to_the_end_leaves_flow_and_steps_readable_in_the_log(durable_app: App) -> None:
    say_hello, calls = five()
    assert say_hello["r"]("World") == 10
    assert calls == [("World", n) for n in range(5)]
    run = runs["r"]
    assert (run.status, run.record.flow, run.arguments) == ("completed", "say_hello", {"name": "World"})
    assert [len(one.attempts) for one in asked(durable_app)] == [1] * 5
    rows = durable_app.log.query("select kind, name, cast(data as text) as data from event order by seq")
    assert [(row["kind"], json.loads(row["data"])) for row in rows][1:3] == [
        ("step", {"arguments": {"json": {"name": "World", "n": 0}}}),
        ("returned", {"json": 0}),
    ]


def test_d8_03_d7_14_a_run_in_the_background_gives_its_result_or_its_error(tmp_path: Path) -> None:
    say_hello, _ = five()

    @flow
    def broken() -> None:
        raise LookupError("nothing there")

    async def awaited() -> int:
        return int(await say_hello["b"].start("World"))

    with connect(tmp_path / "log.db"):
        assert say_hello["a"].start("World").result("60s") == 10
        assert asyncio.run(awaited()) == 10
        run = broken.start()
        with pytest.raises(LookupError, match="nothing there"):
            run.result("60s")
        assert run.status == "failed"


def test_d8_04_after_a_failure_was_fixed_finished_steps_are_not_run_again(durable_app: App) -> None:
    broken = {3}
    say_hello, calls = five(broken)
    with pytest.raises(RuntimeError, match="step 4 is broken"):
        say_hello["r"]("World")
    broken.clear()
    assert say_hello["r"]("World") == 10
    assert Counter(n for _, n in calls) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1}
    live = [one for one in asked(durable_app) if not one.is_aside]
    assert [len(one.attempts) for one in live] == [1, 1, 1, 2, 1]


def test_d8_05_d7_27_every_attempt_keeps_its_time_and_error(durable_app: App, durable_clock: FakeClock) -> None:
    @step(retry={"max_attempts": 4, "first": "10s", "factor": 1, "jitter": 0})
    def fragile() -> str:
        attempt = current_step().attempt
        if attempt < 4:
            raise ConnectionError(f"failure {attempt}")
        return "at last"

    @flow
    def work() -> str:
        return fragile()

    run = work["r"].start()
    assert run_to_end(durable_app, run) == "at last"
    (one,) = asked(durable_app)
    assert [attempt.number for attempt in one.attempts] == [1, 2, 3, 4]
    assert [attempt.started_at - START for attempt in one.attempts] == [0, 10, 20, 30]
    errors = [attempt.failure and attempt.failure.sentence for attempt in one.attempts]
    assert errors == [f"ConnectionError: failure {n}" for n in (1, 2, 3)] + [None]
    assert all("fragile" in attempt.failure.traceback for attempt in one.attempts[:3] if attempt.failure)


@pytest.mark.slow
def test_d8_06_d7_15_a_kill_in_a_step_is_survived_with_the_same_idempotency_key(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
@step
def work(n):
    me = current_step()
    note(f"{n} {me.attempt} {me.idempotency_key}")
    if n == 3 and me.attempt == 1:
        die()
    return n * 10

@flow
def report():
    return sum(work(n) for n in range(1, 6))

with connect("log.db"):
    print(json.dumps(report["monday"]()))
""",
    )
    killed(path)
    assert [line.split()[:2] for line in ledger(tmp_path)] == [["1", "1"], ["2", "1"], ["3", "1"]]
    assert told(path) == 150
    lines = [line.split() for line in ledger(tmp_path)]
    assert [line[:2] for line in lines[3:]] == [["3", "2"], ["4", "1"], ["5", "1"]]
    assert lines[2][2] == lines[3][2]
    assert len({line[2] for line in lines}) == 5
    assert told(path) == 150
    assert len(ledger(tmp_path)) == 6


def test_d8_07_a_completed_run_answers_from_the_log_and_reports_other_arguments(durable_app: App) -> None:
    say_hello, calls = five()
    assert say_hello["r"]("World") == 10
    assert say_hello["r"]("World") == 10
    assert say_hello["r"].start("World").result() == 10
    assert len(calls) == 5
    with pytest.raises(RunConflict, match=r'"World".*"Moon"'):
        say_hello["r"]("Moon")
    assert len(calls) == 5


def test_d8_08_two_ids_are_two_runs(durable_app: App) -> None:
    say_hello, calls = five()
    assert say_hello["a"]("Ann") == say_hello["b"]("Bob") == 10
    assert calls == [(name, n) for name in ("Ann", "Bob") for n in range(5)]
    assert (runs["a"].arguments, runs["b"].arguments) == ({"name": "Ann"}, {"name": "Bob"})
    assert len(runs["a"].history) == len(runs["b"].history)
    assert runs["a"].record.uid != runs["b"].record.uid


@pytest.mark.slow
def test_d8_09_d7_11_a_failed_run_keeps_type_message_and_traceback_and_is_not_restarted(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
@step
def charge():
    note("charge")
    raise ValueError("card refused")

@flow
def checkout():
    charge()

with connect("log.db"):
    if sys.argv[1] == "start":
        try:
            checkout["r"]()
        except ValueError as error:
            note(f"caught {error}")
    other = checkout.options(delay=0)["other" + sys.argv[1]]
    try:
        other()
    except ValueError:
        pass
    failure = runs["r"].history[-1].failure
    print(json.dumps([runs["r"].status, failure.type, failure.message, failure.traceback, failure.where]))
""",
    )
    status, kind, message, traceback, where = told(path, "start")
    assert (status, kind, message) == ("failed", "ValueError", "card refused")
    assert "in charge" in traceback
    assert 'raise ValueError("card refused")' in traceback
    assert where.startswith("main.py, line ")
    assert ledger(tmp_path) == ["charge", "caught card refused", "charge"]
    assert told(path, "again")[0] == "failed"  # with a whole life in which it could have been taken up
    assert ledger(tmp_path) == ["charge", "caught card refused", "charge", "charge"]


@pytest.mark.slow
def test_d8_10_d7_12_a_caught_failure_is_an_outcome_and_replay_takes_the_same_branch(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
@step
def reserve():
    note("reserve")
    if len(open("ledger.txt").readlines()) == 1:
        raise LookupError("sold out")
    return "seat"

@step
def waiting_list():
    note(f"waiting list {current_step().attempt}")
    if current_step().attempt == 1:
        die()
    return "on the list"

@flow
def booking():
    try:
        return reserve()
    except LookupError as error:
        return f"{error}, {waiting_list()}"

with connect("log.db"):
    print(json.dumps(booking["r"]()))
""",
    )
    killed(path)
    assert told(path) == "sold out, on the list"
    assert ledger(tmp_path) == ["reserve", "waiting list 1", "waiting list 2"]


def delayed() -> tuple[Any, list[float]]:
    ran: list[float] = []

    @step(delay="5s")
    def say(name: str) -> str:
        ran.append(runs["r"].record.updated_at)
        return f"Hello {name}"

    @flow
    def later(name: str) -> str:
        return say(name)

    return later, ran


def test_d8_11_a_delayed_step_runs_when_its_delay_is_over(durable_app: App, durable_clock: FakeClock) -> None:
    later, ran = delayed()
    run = later["r"].start("Ann")
    run_until_idle(durable_app)
    durable_clock.advance(4.999)
    run_until_idle(durable_app)
    assert ran == []
    durable_clock.advance(0.001)
    run_until_idle(durable_app)
    assert run.result() == "Hello Ann"
    (one,) = asked(durable_app)
    assert one.attempts[0].started_at - one.at == pytest.approx(5.0)


@pytest.mark.parametrize(("away", "more"), [(1.0, 2.0), (10.0, 0.0)])
def test_d8_12_a_restart_waits_for_the_rest_of_the_delay(tmp_path: Path, away: float, more: float) -> None:
    clock = FakeClock(START)
    later, ran = delayed()
    with connect(tmp_path / "log.db", carriers=0, clock=clock) as app:
        later["r"].start("Ann")
        run_until_idle(app)
        clock.advance(2)
        run_until_idle(app)
    clock.advance(away)
    with connect(tmp_path / "log.db", carriers=0, clock=clock) as app:
        run_until_idle(app)
        assert bool(ran) == (more == 0)
        if more:
            clock.advance(more - 0.001)
            run_until_idle(app)
            assert ran == []
            clock.advance(0.001)
            run_until_idle(app)
        assert runs["r"].result() == "Hello Ann"
        assert asked(app)[0].attempts[0].started_at == pytest.approx(START + max(5.0, 2.0 + away))


@pytest.mark.parametrize("where", ["the main thread", "a thread", "an event loop"])
def test_d8_13_a_delay_works_on_any_thread(tmp_path: Path, where: str) -> None:
    @step(delay="100ms")
    def say(name: str) -> str:
        return f"Hello {name}"

    @flow
    def later(name: str) -> str:
        sleep("10ms")
        return say(name)

    found: list[str] = []

    async def in_a_loop() -> None:
        found.append(later["r"]("Ann"))

    with connect(tmp_path / "log.db"):
        if where == "a thread":
            thread = threading.Thread(target=lambda: found.append(later["r"]("Ann")))
            thread.start()
            thread.join(60)
        elif where == "an event loop":
            asyncio.run(in_a_loop())
        else:
            found.append(later["r"]("Ann"))
    assert found == ["Hello Ann"]


# D8.22: a flow of a module, whose file is edited while the run waits

WORK = (
    NOTE
    + """
@step
def first(item):
    note("first")
    return item + "1"

@step
def second(item):
    note("second")
    return item + "2"

@step
def third(item):
    note("third")
    return item + "3"

@flow
def order(item):
    one = first(item)
    two = second(one)
    sleep("1h")
    return third(two)
"""
)

LIFE = """
import json, sys
from durable_nb import connect, runs
from durable_nb.testing import FakeClock, run_until_idle
import work

with connect("log.db", carriers=0, clock=FakeClock(float(sys.argv[1]))) as app:
    if sys.argv[2] == "start":
        work.order["r"].start("tea")
    elif sys.argv[2] == "resume":
        runs["r"].resume()
    run_until_idle(app)
    run = runs["r"]
    print(json.dumps({
        "status": run.status, "reason": run.record.reason, "why": run.why(),
        "result": run.result() if run.status == "completed" else None,
        "kinds": [type(event).__name__ for event in run.history],
    }))
"""


def begun(folder: Path, source: str = WORK) -> tuple[Path, Callable[..., Any]]:
    """The module of a run that waits, and a life that says what became of the run after so many seconds."""
    module, path = save(folder, "work.py", source), save(folder, "main.py", LIFE)
    assert told(path, START, "start")["status"] == "waiting"
    return module, lambda what="look", at=4000: told(path, START + at, what)


MISFITS = {
    "insert": ("two = second(one)", "first(one); two = second(one)", "first", "second"),
    "rename": ("second", "other", "`other`", "`second`"),
    "swap": ("one = first(item)\n    two = second(one)", "one = second(item)\n    two = first(one)", "second", "first"),
    "remove": ("two = second(one)", "two = one", "asks for a timer", "second"),
    "signature": ("def second(item):", "def second(thing):\n    item = thing", "item", "thing"),
    "argument": ("two = second(one)", "two = second(one + one)", "tea1", "tea1tea1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", MISFITS)
def test_d8_22_a_changed_structure_parks_with_a_report_and_goes_on_when_put_back(tmp_path: Path, change: str) -> None:
    module, then = begun(tmp_path)
    before, after, *named = MISFITS[change]
    assert before in WORK
    module.write_text(WORK.replace(before, after))
    parked = then()
    # A flow refers to its steps by name, so another signature of a step is not another code of the flow.
    reason = "mismatch" if change == "signature" else "code_changed"
    assert (parked["status"], parked["reason"]) == ("parked", reason)
    for one in named:
        assert one in parked["why"]
    assert "in the log" in parked["why"]
    assert "in the code" in parked["why"]
    assert "work.py, line " in parked["why"] or "its last line" in parked["why"]
    assert ledger(tmp_path) == ["first", "second"]
    assert then()["status"] == "parked"  # not tried again by itself
    module.write_text(WORK)
    done = then("resume")
    assert (done["status"], done["result"]) == ("completed", "tea123")
    assert ledger(tmp_path) == ["first", "second", "third"]


@pytest.mark.slow
def test_d8_22_a_change_that_fits_goes_on_with_the_new_code_and_says_so(tmp_path: Path) -> None:
    module, then = begun(tmp_path)
    module.write_text(WORK.replace("return third(two)", 'return third(third(two)) + "!"'))
    done = then()
    assert (done["status"], done["result"]) == ("completed", "tea1233!")
    assert "CodeChanged" in done["kinds"]
    assert ledger(tmp_path) == ["first", "second", "third", "third"]


@pytest.mark.slow
def test_d8_22_a_changed_step_is_no_change_of_the_structure(tmp_path: Path) -> None:
    module, then = begun(tmp_path)
    module.write_text(WORK.replace('return item + "3"', 'return item + "three"'))
    done = then()
    assert (done["status"], done["result"]) == ("completed", "tea12three")
    assert "CodeChanged" not in done["kinds"]


@pytest.mark.slow
def test_d8_22_comments_and_blank_lines_are_no_change(tmp_path: Path) -> None:
    module, then = begun(tmp_path)
    module.write_text("# a comment\n\n" + WORK.replace("    two =", "    # about two\n\n    two ="))
    done = then()
    assert (done["status"], done["result"]) == ("completed", "tea123")
    assert "CodeChanged" not in done["kinds"]


@pytest.mark.slow
def test_d8_22_a_removed_trailing_step_is_found_too(tmp_path: Path) -> None:
    longer = WORK.replace("    return third(two)", '    three = third(two)\n    sleep("1h")\n    return three')
    module, then = begun(tmp_path, longer)
    assert then()["status"] == "waiting"
    module.write_text(WORK.replace("    return third(two)", "    return two"))
    parked = then(at=9000)
    assert (parked["status"], parked["reason"]) == ("parked", "code_changed")
    assert "it ends before event" in parked["why"]
    assert "third" in parked["why"]


@pytest.mark.slow
def test_d8_22_a_flow_of_a_script_goes_on_with_the_code_it_began_with(tmp_path: Path) -> None:
    source = WORK + LIFE.replace("import work\n", "").replace("work.order", "order")
    path = save(tmp_path, "main.py", source)
    assert told(path, START, "start")["status"] == "waiting"
    path.write_text(
        source.replace("one = first(item)", 'one = second(third("edited"))').replace("return third(two)", "return 0")
    )
    done = told(path, START + 4000, "look")
    assert (done["status"], done["result"]) == ("completed", "tea123")
    assert "CodeChanged" not in done["kinds"]
    assert ledger(tmp_path) == ["first", "second", "third"]


@pytest.mark.slow
def test_d8_23_every_unfinished_run_goes_on_at_its_place_when_the_log_is_opened(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
@step
def work(what):
    note(f"{what} {current_step().attempt}")
    if what == "killed" and current_step().attempt == 1:
        stop.wait(60)
        die()
    return what

@step(delay="1s")
def late(what):
    note(f"late {what}")
    return what

@flow
def pending():
    return work("pending")

@flow
def delayed():
    work("before the delay")
    return late("delayed")

@flow
def waiting():
    work("before the sleep")
    sleep("1s")
    return work("waiting")

@flow
def running():
    work("before the kill")
    return work("killed")

stop = threading.Event()

with connect("log.db", carriers=4 if sys.argv[1] == "first" else 8) as app:
    flows = [pending, delayed, waiting, running]
    if sys.argv[1] == "first":
        pending.options(delay="1s")["pending"].start()
        delayed["delayed"].start(); waiting["waiting"].start(); running["running"].start()
        lines = {"before the delay 1", "before the sleep 1", "killed 1"}
        while not (lines <= set(open("ledger.txt").read().splitlines() if os.path.exists("ledger.txt") else ())
                   and [runs[one].status for one in ("delayed", "waiting")] == ["waiting", "waiting"]):
            stop.wait(0.005)
        die()
    print(json.dumps({one.name: runs[one.name].result("60s") for one in flows}))
""",
    )
    killed(path, "first")
    before = ledger(tmp_path)
    assert sorted(before) == ["before the delay 1", "before the kill 1", "before the sleep 1", "killed 1"]
    found = told(path, "second")
    assert found == {"pending": "pending", "delayed": "delayed", "waiting": "waiting", "running": "killed"}
    assert sorted(ledger(tmp_path)[4:]) == ["killed 2", "late delayed", "pending 1", "waiting 1"]


@pytest.mark.slow
def test_d8_24_d7_17_two_processes_share_the_runs_and_one_takes_over_from_the_other(tmp_path: Path) -> None:
    count = 24
    path = script(
        tmp_path,
        f"""
done = []

@step
def work(run, n):
    me = current_step()
    done.append(n)
    threading.Event().wait(0.01)
    note(f"{{run}} {{n}} {{me.attempt}} {{sys.argv[1]}} {{me.idempotency_key}}")
    if sys.argv[1] == "doomed" and len(done) > 20:
        die()
    return n

@flow
def job(run):
    return sum(work(run, n) for n in range(4))

if sys.argv[1] == "start":
    with connect("log.db", carry=False):
        for number in range({count}):
            job[f"job-{{number}}"].start(f"job-{{number}}")
else:
    with connect("log.db"):
        assert [runs[f"job-{{number}}"].result("120s") for number in range({count})] == [6] * {count}
""",
    )
    assert life(path, "start").returncode == 0
    doomed, other = (
        subprocess.Popen([sys.executable, str(path), name], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for name in ("doomed", "other")
    )
    try:
        assert other.wait(200) == 0, other.stderr and other.stderr.read()
        code = doomed.wait(200)
    finally:
        for process in (doomed, other):
            process.kill()
            process.communicate()
    lines = [line.split() for line in ledger(tmp_path)]
    tries = Counter((line[0], line[1]) for line in lines)
    assert set(tries) == {(f"job-{number}", str(n)) for number in range(count) for n in range(4)}
    assert len({tuple(line[:3]) for line in lines}) == len(lines)  # no attempt ran twice
    assert len({(line[0], line[1], line[4]) for line in lines}) == count * 4  # a repeated one has the same key
    again = [line for line in lines if line[2] != "1"]
    assert len(again) <= 8  # those that the killed process was at, at most one for each of its threads
    if code == -signal.SIGKILL:
        assert all(line[3] == "other" for line in again)


@pytest.mark.parametrize("retry", [1, 5])
def test_d8_27_d7_16_a_result_that_cannot_be_stored_is_named_and_not_repeated(durable_app: App, retry: int) -> None:
    calls: list[int] = []

    @step(retry=retry)
    def make() -> Any:
        calls.append(1)
        return {"key": [threading.Lock()]}

    @flow
    def work() -> None:
        make()

    with pytest.raises(Unstorable, match=r"the result of step `make`.*lock"):
        work["r"]()
    assert calls == [1]
    assert runs["r"].status == "failed"


def test_d8_27_an_argument_that_cannot_be_stored_is_refused_before_the_step(durable_app: App) -> None:
    calls: list[int] = []

    @step
    def take(lock: Any) -> None:
        calls.append(1)

    @flow
    def work() -> None:
        take(threading.Lock())

    with pytest.raises(Unstorable, match=r"argument `lock` of step `take`"):
        work["r"]()
    assert calls == []


@pytest.mark.slow
def test_d8_28_d7_24_what_is_on_the_disk_after_completion_is_complete(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
import shutil

@step
def work(n):
    note(f"work {n}")
    return n

@flow
def job():
    return [work(1), work(2)]

with connect("log.db", durability="full") as app:
    result = job["r"]()
    assert app.store.database._writer.execute("pragma synchronous").fetchone() == (2,)
    os.mkdir("copy")
    for name in ("log.db", "log.db-wal"):
        shutil.copy(name, "copy")
    print(json.dumps([result, os.path.getsize("copy/log.db-wal")]))
    os._exit(0)
""",
    )
    result, size = told(path)
    assert result == [1, 2]
    assert size > 0  # the run lies in the write-ahead log alone
    look = save(
        tmp_path / "copy",
        "look.py",
        """
        import json
        from durable_nb import connect, runs
        with connect("log.db") as app:
            kinds = [type(event).__name__ for event in runs["r"].history]
            check = app.log.execute("pragma integrity_check").fetchone()[0]
            print(json.dumps([runs["r"].status, runs["r"].result(), kinds, check]))
        """,
    )
    kinds = ["Started", "StepAsked", "Returned", "StepAsked", "Returned", "Completed"]
    assert told(look) == ["completed", [1, 2], kinds, "ok"]
    assert ledger(tmp_path) == ["work 1", "work 2"]
    shutil.rmtree(tmp_path / "copy")


def test_d8_29_the_log_can_be_inspected_as_a_table(durable_app: App) -> None:
    pandas = pytest.importorskip("pandas")

    @step
    def divide(a: float, b: float) -> float:
        return a / b

    @flow
    def work() -> str:
        half = divide(1, 2)
        try:
            divide(1, 0)
        except ZeroDivisionError as error:
            return f"{half}, then {error}"
        return "never"

    work["r"]()
    sql = "select seq, kind, ref, name, cast(data as text) as data from event order by seq"
    frame = pandas.DataFrame(durable_app.log.query(sql))
    assert frame.kind.tolist() == ["started", "step", "returned", "step", "raised", "completed"]
    assert json.loads(frame.data[1]) == {"arguments": {"json": {"a": 1, "b": 2}}}
    assert json.loads(frame.data[2]) == {"json": 0.5}
    assert json.loads(frame.data[4])["type"] == "ZeroDivisionError"
    assert json.loads(frame.data[5]) == {"json": "0.5, then division by zero"}
    shown = "\n".join(map(repr, runs["r"].history))
    assert "divide" in shown
    assert "division by zero" in shown


POISON = """
@step
def before():
    note("before")

@POISONED
def poison():
    note(f"poison {current_step().attempt}")
    die()

@flow
def work():
    before()
    poison()

with connect("log.db"):
    status = "unknown"
    try:
        work["r"]()
    except RunParked as error:
        status = str(error)
    print(json.dumps([runs["r"].status, runs["r"].record.reason, status, runs["r"].why()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["step", "step(timeout=60)"])
def test_d8_30_d7_13_a_step_that_kills_its_process_parks_the_run_after_five_crashes(kind: str, tmp_path: Path) -> None:
    path = script(tmp_path, POISON.replace("POISONED", kind))
    for _ in range(5):
        killed(path)
    for _ in range(3):
        status, reason, sentence, why = told(path)
        assert (status, reason) == ("parked", "crashes")
        assert "step `poison` was begun 5 times in a row and never ended, as if it killed its process" in sentence
        assert "isolate=True" in why
    assert ledger(tmp_path) == ["before", *(f"poison {n}" for n in range(1, 6))]


def test_d8_30_d7_13_an_always_failing_flow_stops_at_its_limit_however_often_it_is_opened(tmp_path: Path) -> None:
    clock = FakeClock(START)
    calls: list[int] = []

    @step(retry={"max_attempts": 3, "first": 1, "jitter": 0})
    def fails() -> None:
        calls.append(1)
        raise ConnectionError("never")

    @flow
    def work() -> None:
        fails()

    for _ in range(20):
        with connect(tmp_path / "log.db", carriers=0, clock=clock) as app:
            if not calls:
                work["r"].start()
            run_until_idle(app)
            clock.advance("1m")
    with connect(tmp_path / "log.db", carriers=0, clock=clock):
        assert runs["r"].status == "failed"
    assert len(calls) == 3


def test_d8_22_a_parked_run_can_also_be_begun_anew(durable_app: App) -> None:
    """The third option beside putting the code back and a fitting change: a new run in its place."""

    @step
    def sort(numbers: list[int]) -> list[int]:
        numbers.sort()
        return numbers

    @flow
    def work(numbers: list[int]) -> list[int]:
        return sort(numbers)

    with pytest.raises(RunParked):
        work["r"]([2, 1])
    before = runs["r"].record.uid
    assert work.options(on_conflict="replace")["r"]([1, 2]) == [1, 2]
    assert runs["r"].record.uid != before
