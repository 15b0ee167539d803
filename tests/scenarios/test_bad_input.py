"""Whatever is wrong with what comes in, the answer is a clear refusal or an orderly park, and other runs go on."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    BadArguments,
    BadId,
    BadOption,
    Corrupt,
    NotInFlow,
    RunConflict,
    RunParked,
    RunPaused,
    StepFailed,
    Uncapturable,
    UnknownRun,
    Unstorable,
    Untrusted,
    connect,
    flow,
    now,
    runs,
    sleep,
    step,
    timer,
)
from durable_nb.app import App
from durable_nb.errors import LogFull, LogMissing, NetworkFileSystem, NewerSchema
from durable_nb.stores import files
from durable_nb.stores.library import sqlite
from durable_nb.testing import FakeClock, run_to_end, run_until_idle

pytestmark = pytest.mark.usefixtures("own_names")


@pytest.fixture
def path(durable_app: App) -> str:
    return str(durable_app.url)


def by_another_hand(path: Any, sql: str, *parameters: Any) -> None:
    """Another program writes into the file."""
    connection = sqlite.connect(str(path), isolation_level=None)
    try:
        assert connection.execute(sql, parameters).rowcount > 0, sql
    finally:
        connection.close()


def script(folder: Path, source: str, **environment: str) -> Any:
    file = folder / "script.py"
    file.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def adding() -> tuple[Any, list[int]]:
    calls: list[int] = []

    @step
    def add(n: int) -> int:
        calls.append(n)
        return n + 1

    @flow
    def chain(n: int) -> int:
        first = add(n)
        sleep("1h")
        return add(first)

    return chain, calls


def generator() -> Iterator[int]:
    yield 1


def unstorable(kind: str) -> Any:
    if kind == "file":
        return open(__file__, encoding="utf-8")
    return {"lock": threading.Lock, "generator": generator}[kind]()


KINDS = ["lock", "file", "generator"]


# values and arguments


@pytest.mark.parametrize("kind", KINDS)
def test_an_unstorable_argument_of_a_flow_is_refused_and_nothing_is_written(durable_app: App, kind: str) -> None:
    thing = unstorable(kind)

    @flow
    def work(things: dict[str, Any]) -> None:
        pass

    for call in (work["r"], work["r"].start, work, work.start):
        with pytest.raises(Unstorable, match=r"argument `things` of flow `work`.*\['deep'\]\[1\]"):
            call({"deep": [1, thing]})
    assert durable_app.store.counts() == {}
    if kind == "file":
        thing.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_unstorable_argument_of_a_step_is_named_and_the_step_is_not_run(durable_app: App, kind: str) -> None:
    calls: list[int] = []

    @step
    def take(things: Any) -> None:
        calls.append(1)

    @flow
    def work(name: str) -> str:
        try:
            take([name, make(name)])
        except Unstorable as error:
            return str(error)
        return "never"

    def make(name: str) -> Any:
        return {"lock": threading.Lock(), "generator": (n for n in (1, 2)), "file": sys.__stdout__}[name]

    said = work["r"](kind)
    assert "argument `things` of step `take`" in said
    assert "[1]" in said
    assert calls == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_unstorable_result_fails_the_step_once_and_by_name(durable_app: App, kind: str, elsewhere: bool) -> None:
    thing = unstorable(kind)
    calls: list[int] = []

    @step(retry=3, timeout="60s" if elsewhere else None)
    def give() -> Any:
        calls.append(1)
        return {"a": [thing]}

    @flow
    def work() -> None:
        give()

    run = work["r"].start()
    with pytest.raises(Unstorable, match=r"the result of step `give`.*\['a'\]\[0\]"):
        run_to_end(durable_app, run)
    assert calls == [1]
    if kind == "file":
        thing.close()


def test_an_unstorable_result_of_a_flow_fails_it_by_name(durable_app: App) -> None:
    @flow
    def work() -> Any:
        return threading.Lock()

    with pytest.raises(Unstorable, match=r"the result of flow `work`"):
        work["r"]()
    assert runs["r"].status == "failed"


@pytest.mark.parametrize(
    "call",
    [lambda f: f(), lambda f: f(1, 2, 3), lambda f: f(1, c=2), lambda f: f(1, a=1)],
    ids=["none", "many", "name", "twice"],
)
def test_wrong_arguments_are_refused_at_the_call(durable_app: App, call: Callable[[Any], Any]) -> None:
    @flow
    def work(a: int, b: int = 2) -> int:
        return a + b

    for run in (work["r"], work["r"].start, work, work.start):
        with pytest.raises(BadArguments, match=r"flow `work`\(a: int, b: int = 2\)"):
            call(run)
    assert durable_app.store.counts() == {}


def test_wrong_arguments_of_a_step_write_no_ask(durable_app: App) -> None:
    @step
    def add(a: int, b: int) -> int:
        return a + b

    @flow
    def work() -> str:
        try:
            add(1)  # type: ignore[call-arg]
        except BadArguments as error:
            return str(error)
        return "never"

    assert work["r"]() == "step `add`(a: int, b: int) -> int: missing a required argument: 'b'"
    assert len(runs["r"].history) == 2


def test_a_step_may_return_an_exception(durable_app: App) -> None:
    @step
    def give() -> Any:
        return ValueError("just a value")

    @flow
    def work() -> list[str]:
        got = give()
        sleep(1)
        return [type(got).__name__, str(got)]

    run = work["r"].start()
    assert run_to_end(durable_app, run) == ["ValueError", "just a value"]


@pytest.mark.slow
def test_values_nested_200_deep_and_10_mb_long_come_back_equal(durable_app: App) -> None:
    deep: Any = "bottom"
    for _ in range(100):
        deep = [{"deeper": deep}]

    @step
    def echo(value: Any) -> Any:
        return value

    @flow
    def work(value: Any, text: str) -> list[bool]:
        found = echo(value)
        long = echo(text)
        sleep(1)
        return [echo(found) == value, len(long) == 10_000_000, echo(long) == text]

    run = work["r"].start(deep, "ä" * 10_000_000)
    assert run_to_end(durable_app, run) == [True, True, True]
    assert run.arguments["value"] == deep


def test_a_value_that_is_nested_without_end_is_refused_or_kept(durable_app: App) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    @flow
    def work(value: Any) -> None:
        pass

    with pytest.raises(Unstorable, match="argument `value` of flow `work`"):
        work["r"](deep)
    assert durable_app.store.counts() == {}


# ids


@pytest.mark.parametrize("id", ["", "a/b", "a\0b", "a\nb", "~mine", "x" * 201, "x" * 1_000_000, "\ud800"])
def test_bad_ids_are_refused_before_anything_is_written(durable_app: App, id: str) -> None:
    chain, _ = adding()
    with pytest.raises(BadId):
        chain[id]
    assert durable_app.store.counts() == {}


@pytest.mark.parametrize("id", [42, None, b"r", ("a",), 1.5])
def test_an_id_that_is_no_text_is_a_type_error(durable_app: App, id: Any) -> None:
    chain, _ = adding()
    with pytest.raises(TypeError):
        chain[id]
    with pytest.raises(TypeError):
        runs[id]


@pytest.mark.parametrize("id", ["x" * 200, "order 1", "naïve ☃ 漢字", "a'b\"c; drop table run", "%_[*]", "."])
def test_unusual_ids_work(durable_app: App, id: str) -> None:
    chain, _ = adding()
    assert run_to_end(durable_app, chain[id].start(1)) == 3
    assert runs[id].status == "completed"


def test_an_unknown_id_is_refused_with_close_matches(durable_app: App) -> None:
    chain, _ = adding()
    for id in ("order-1", "order-2", "something else"):
        chain[id].start(1)
    with pytest.raises(UnknownRun, match=r"there is no run 'order-11' in this log; did you mean .*'order-1'"):
        runs["order-11"]
    with pytest.raises(UnknownRun, match="there is no run 'zzz'"):
        runs["zzz"]
    for ask in (chain["order_1"].result, chain["order_1"].why, chain["order_1"].pause, chain["order_1"].retry):
        with pytest.raises(UnknownRun, match="'order-1'"):
            ask()


def test_every_policy_for_an_id_that_is_taken(durable_app: App) -> None:
    chain, calls = adding()

    @flow
    def other(n: int) -> int:
        return n

    assert run_to_end(durable_app, chain["r"].start(1)) == 3
    assert chain["r"](1) == 3
    with pytest.raises(RunConflict, match=r"run 'r' of flow `chain` exists with other arguments: .*1.*2"):
        chain["r"](2)
    for policy in ("match", "attach", "reject"):
        with pytest.raises(RunConflict, match="belongs to a run of flow `chain`, not of `other`"):
            other.options(on_conflict=policy)["r"](1)
    assert chain.options(on_conflict="attach")["r"](2) == 3
    with pytest.raises(RunConflict, match="exists already; it is completed"):
        chain.options(on_conflict="reject")["r"](1)
    assert calls == [1, 2]
    uid = runs["r"].record.uid
    assert run_to_end(durable_app, chain.options(on_conflict="replace")["r"].start(5)) == 7
    assert runs["r"].record.uid != uid
    with pytest.raises(BadOption, match="match, attach, reject, replace"):
        chain.options(on_conflict="maybe")


# a log that was tampered with


@pytest.mark.parametrize(
    "damage",
    [
        "update event set data = cast('{broken' as blob) where run = 1 and seq = 3",
        "update event set data = x'ff00ff' where run = 1 and seq = 3",
        "update event set kind = 'from the future' where run = 1 and seq = 3",
        "update event set data = cast('{\"json\":' as blob) where run = 1 and seq = 3",
        "update event set data = cast('garbage' as blob) where run = 1 and seq = 2",
        "update event set data = cast('[]' as blob) where run = 1 and seq = 4",
        "update event set data = cast('garbage' as blob) where run = 1 and seq = 1",
        "update event set ref = 77 where run = 1 and seq = 3",
        "delete from event where run = 1 and seq = 3",
        "delete from event where run = 1 and seq = 1",
        "delete from event where run = 1",
    ],
)
def test_a_corrupt_event_stops_its_run_and_no_other(
    durable_app: App, durable_clock: FakeClock, path: str, damage: str
) -> None:
    chain, calls = adding()
    for id in ("broken", "sound"):
        chain[id].start(1)
    run_until_idle(durable_app)
    by_another_hand(path, damage)
    durable_clock.advance("2h")
    run_until_idle(durable_app)
    assert runs["sound"].result() == 3
    assert calls.count(2) == 1  # of the sound one alone
    assert runs["broken"].status == "parked"
    record = runs["broken"].record
    assert record.reason in ("corrupt", "mismatch")
    assert "event" in str(record.sentence)
    with pytest.raises(RunParked):
        runs["broken"].result()
    assert chain["new"].start(5).id == "new"


@pytest.mark.parametrize("data", ["garbage", "[]", '{"arguments":{"json":{"n":1,"m":2}}}'])
def test_a_corrupt_ask_does_not_stop_the_workers(tmp_path: Path, data: str) -> None:
    @step(delay="100ms")
    def add(n: int) -> int:
        return n + 1

    @flow
    def work(n: int) -> int:
        return add.spawn(n).result()

    file = tmp_path / "log.db"
    clock = FakeClock()
    with connect(file, carriers=0, clock=clock) as app:
        for id in ("broken", "sound"):
            work[id].start(1)
        run_until_idle(app)
    by_another_hand(file, "update event set data = ? where run = 1 and seq = 2", data.encode())
    with connect(file, workers=1):
        assert runs["sound"].result("60s") == 2
        with pytest.raises(Exception, match=r"event 2|parameter m|no parameter") as caught:
            runs["broken"].result("60s")
        assert type(caught.value).__module__ == "durable_nb.errors"
        assert work["new"].start(5).result("60s") == 6


def test_a_corrupt_row_of_a_finished_run_is_reported_when_it_is_read(durable_app: App, path: str) -> None:
    chain, _ = adding()
    run = chain["r"].start(1)
    run_to_end(durable_app, run)
    by_another_hand(path, "update event set data = cast('garbage' as blob) where run = 1 and seq = 3")
    with pytest.raises(Corrupt, match="event 3"):
        run.history
    assert run.result() == 3


def test_a_corrupt_payload_is_found_and_named(durable_app: App, durable_clock: FakeClock, path: str) -> None:
    @step
    def load(kind: str) -> bytes:
        return kind.encode() * 100_000

    @step
    def size(data: bytes) -> int:
        return len(data)

    @flow
    def work(kind: str) -> int:
        data = load(kind)
        sleep("1h")
        return size(data)

    for id in ("broken", "sound"):
        work[id].start(id)
    run_until_idle(durable_app)
    sql = "select chunk.key, chunk.data from chunk order by chunk.key limit 1"
    ((key, data),) = durable_app.log.execute(sql).fetchall()
    flipped = bytearray(data)
    flipped[len(flipped) // 2] ^= 0x40
    by_another_hand(path, "update chunk set data = ? where key = ?", bytes(flipped), key)
    durable_clock.advance("2h")
    run_until_idle(durable_app)
    assert runs["sound"].result() == 500_000
    with pytest.raises((Corrupt, RunParked), match=r"the result of step `load` cannot be read"):
        runs["broken"].result()
    assert runs["broken"].status == "parked"


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.file, "w"))


def test_nothing_of_a_foreign_log_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, file, mark = FakeClock(), tmp_path / "log.db", tmp_path / "exploded"

    @step
    def give() -> Any:
        return {1, 2, complex(1, 2)}.__class__ and Exception("pickled")

    @flow
    def work(bag: Any = None) -> int:
        give()
        sleep("1h")
        return 1

    monkeypatch.setenv("DURABLE_NB_KEY", "the key of somebody else")
    with connect(file, carriers=0, clock=clock) as app:
        work["r"].start(Exception("also pickled"))
        run_until_idle(app)
    bomb = pickle.dumps(Bomb(str(mark)))
    # Both the result and the arguments become something that would run when it is unpickled.
    connection = sqlite.connect(str(file), isolation_level=None)
    from base64 import b64encode

    for seq, data in connection.execute("select seq, data from event where seq in (1, 3)").fetchall():
        document = json.loads(data)
        value = document["arguments"]["json"]["bag"] if seq == 1 else document
        assert value["codec"] == "pickle"
        value["data"] = b64encode(bomb).decode()
        connection.execute("update event set data = ? where seq = ?", (json.dumps(document).encode(), seq))
    connection.close()

    monkeypatch.setenv("DURABLE_NB_KEY", "my very own key, long enough")
    clock.advance("2h")
    with connect(file, carriers=0, clock=clock) as app:
        assert not app.is_trusted
        run = runs["r"]
        assert run.status == "waiting"
        assert "waits for" in run.why()
        assert [type(event).__name__ for event in run.history] == ["Started", "StepAsked", "Returned", "TimerAsked"]
        assert "pickled" in repr(run.history)
        assert list(app.log.query("select id from run")) == [{"id": "r"}]
        with pytest.raises(Untrusted, match="durable trust"):
            run.arguments
        for refused in (lambda: work["r"](1), lambda: work["new"].start(1), lambda: work.start(), app.turn):
            with pytest.raises(Untrusted, match="durable trust"):
                refused()
        assert app.store.counts() == {"waiting": 1}
    assert not mark.exists()


def test_a_value_that_was_exchanged_in_your_own_log_is_not_unpickled(
    durable_app: App, durable_clock: FakeClock, path: str, tmp_path: Path
) -> None:
    mark = tmp_path / "exploded"

    @step
    def give() -> Any:
        return Exception("pickled")

    @flow
    def work() -> str:
        got = give()
        sleep("1h")
        return str(got)

    for id in ("exchanged", "sound"):
        work[id].start()
    run_until_idle(durable_app)
    ((data,),) = durable_app.log.execute("select data from event where run = 1 and seq = 3").fetchall()
    from base64 import b64encode

    document = json.loads(data)
    document["data"] = b64encode(pickle.dumps(Bomb(str(mark)))).decode()
    by_another_hand(path, "update event set data = ? where run = 1 and seq = 3", json.dumps(document).encode())
    durable_clock.advance("2h")
    run_until_idle(durable_app)
    assert runs["sound"].result() == "pickled"
    assert runs["exchanged"].status == "parked"
    assert not mark.exists()


# the file


def test_a_full_disk_loses_nothing_and_the_run_goes_on_afterwards(durable_app: App) -> None:
    calls: list[int] = []

    @step
    def write(n: int) -> str:
        calls.append(n)
        return f"{n}" * 3000

    @flow
    def work() -> list[int]:
        return [len(write(n)) for n in range(40)]

    writer = durable_app.store.database._writer
    before = work["r"]  # the definition is in the log before the disk is full
    (pages,) = writer.execute("pragma page_count").fetchone()
    writer.execute(f"pragma max_page_count = {pages + 40}").fetchone()
    with pytest.raises(LogFull, match="nothing was lost"):
        before()
    at_the_end = len(calls)
    assert 0 < at_the_end < 40
    writer.execute("pragma max_page_count = 1073741823").fetchone()
    logged = [event.ref for event in runs["r"].history if type(event).__name__ == "Returned"]
    assert at_the_end - len(logged) <= 1
    durable_app.runtime.look_after()  # type: ignore[union-attr]
    run_until_idle(durable_app)
    assert runs["r"].result() == [len(f"{n}") * 3000 for n in range(40)]
    assert len(calls) <= 41
    assert all(calls.count(n) == 1 for n in range(len(logged)))


@pytest.mark.slow
def test_a_read_only_file_is_refused_with_advice() -> None:
    source = """
        import json, os
        from durable_nb import connect
        from durable_nb.errors import LogReadOnly
        connect(":memory:").close()  # everything is imported
        if os.geteuid() == 0:
            os.setuid(65534)
        said = []
        for path in ("locked.db", "folder/new.db"):
            try:
                connect(path).close()
            except LogReadOnly as error:
                said.append(str(error))
        print(json.dumps(said))
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        connect(folder / "locked.db").close()
        (folder / "folder").mkdir()
        for made in folder.iterdir():
            made.chmod(0o555 if made.is_dir() else 0o444)
        folder.chmod(0o755)
        try:
            said = script(folder, source, DURABLE_NB_KEY="a key that is long enough", PYTHONDONTWRITEBYTECODE="1")
        finally:
            (folder / "folder").chmod(0o755)
    assert len(said) == 2
    assert "cannot be written" in said[0]
    assert "chmod" in said[0]
    assert "its folder" in said[1]


def test_a_file_removed_while_open_is_reported_and_nothing_is_pretended(durable_app: App, path: str) -> None:
    chain, calls = adding()
    run_to_end(durable_app, chain["before"].start(1))
    for name in (path, f"{path}-wal", f"{path}-shm"):
        if os.path.exists(name):
            os.unlink(name)
    durable_app.store.checkpointer  # the file is looked at by whoever writes, or by the watcher in time
    with pytest.raises(LogMissing, match="was removed while"):
        durable_app.store.database.check_file()
    with pytest.raises(LogMissing, match="was removed while"):
        chain["after"](1)
    assert len(calls) == 2


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "file_system", lambda path: "nfs4")
    with pytest.raises(NetworkFileSystem, match=r"network file system \(nfs4\).*local disk"):
        connect(tmp_path / "log.db")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    connect(file).close()
    connection = sqlite.connect(str(file), isolation_level=None)
    connection.execute("pragma user_version = 999")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(NewerSchema, match=r"newer durable_nb \(schema 999.*upgrade"):
        connect(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be looked at" * 100, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "log.db"
    file.write_bytes(content)
    with pytest.raises(Exception, match=r"log\.db") as caught:
        connect(file)
    assert type(caught.value).__module__ == "durable_nb.errors"
    assert file.read_bytes() == content


# time


def test_a_clock_that_jumps_back_fires_nothing_early(durable_app: App, durable_clock: FakeClock) -> None:
    seen: list[float] = []

    @step
    def look() -> None:
        seen.append(durable_clock.now())

    @flow
    def work() -> list[str]:
        times = [now()]
        look()
        times.append(now())
        alarm = timer("1h")
        look()
        times.append(now())
        alarm.result()
        times.append(now())
        look()
        times.append(now())
        assert times == sorted(times)
        return [time.isoformat() for time in times]

    start = durable_clock.now()
    run = work["r"].start()
    run_until_idle(durable_app)
    durable_clock.jump_to(start - 86_400)
    run_until_idle(durable_app)
    durable_clock.jump_to(start + 3_599)
    run_until_idle(durable_app)
    assert run.status == "waiting"
    durable_clock.jump_to(start + 3_600)
    run_until_idle(durable_app)
    assert run.status == "completed"
    assert len(seen) == 3
    again = work["again"].start()
    assert durable_app.turn()
    durable_clock.jump_to(start - 5)
    durable_app.runtime.beat()  # type: ignore[union-attr]
    assert run_to_end(durable_app, again) == sorted(again.result())


# code that cannot be a flow


def test_what_cannot_be_a_flow_or_a_step_is_refused_at_its_definition() -> None:
    with pytest.raises(BadOption, match="lambda"):
        flow(lambda: 1)
    with pytest.raises(BadOption, match="generator"):
        flow(generator)
    with pytest.raises(BadOption, match="generator"):
        step(generator)
    with pytest.raises(BadOption, match="goes on a function"):
        flow(3)  # type: ignore[call-overload]
    with pytest.raises(BadOption, match="goes on a function"):
        step("text")  # type: ignore[call-overload]


class Huge:
    """As large as a frame of two gigabytes, as far as anybody can see."""

    nbytes = 2 * 1024**3


def test_a_huge_captured_object_is_refused_at_start_by_name(durable_app: App) -> None:
    features = Huge()

    @flow
    def train() -> int:
        return features.nbytes

    with pytest.raises(Uncapturable, match=r"flow `train` uses what cannot travel with it: `features`"):
        train["r"].start()
    assert durable_app.store.counts() == {}


# bodies that do what one does not do


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_step_that_calls_sys_exit_fails_and_the_process_lives(durable_app: App, elsewhere: bool) -> None:
    @step(retry=3, timeout="60s" if elsewhere else None)
    def leaves() -> None:
        sys.exit(3)

    @flow
    def work() -> str:
        try:
            leaves()
        except SystemExit as error:
            return f"wanted to exit with {error.code}"
        return "never"

    run = work["r"].start()
    assert run_to_end(durable_app, run) == "wanted to exit with 3"


def test_a_step_that_raises_keyboard_interrupt_pauses_as_if_a_person_had_pressed_it(durable_app: App) -> None:
    calls: list[int] = []

    @step
    def presses() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "done"

    @flow
    def work() -> str:
        return presses()

    run = work["r"].start()
    run_until_idle(durable_app)
    assert run.status == "paused"
    with pytest.raises(RunPaused, match="interrupted in step `presses`"):
        run.result()
    run.resume()
    run_until_idle(durable_app)
    assert run.result() == "done"


class Mute(Exception):
    """Its message cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Stuck(Exception):
    """It cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Picky(Exception):
    """It can be pickled and not unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Stuck("stuck for good"), "Stuck: stuck for good"),
        (Picky("this", "that"), "Picky: this and that"),
    ],
    ids=["no pickle", "no unpickle"],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_exception_that_cannot_be_stored_is_the_same_step_failed_live_and_in_replay(
    durable_app: App, error: Exception, said: str, elsewhere: bool
) -> None:
    seen: list[str] = []

    @step(timeout="60s" if elsewhere else None)
    def fails() -> None:
        raise error

    @step
    def note(text: str) -> None:
        seen.append(text)

    @flow
    def work() -> str:
        try:
            fails()
        except StepFailed as failure:
            text = str(failure)
        note(text)
        sleep("1h")
        return text

    run = work["r"].start()
    assert said in run_to_end(durable_app, run)
    assert seen == [run.result()]


def test_an_exception_of_the_flow_that_cannot_be_stored_still_ends_it(durable_app: App) -> None:
    @flow
    def work() -> None:
        raise Mute

    run = work["r"].start()
    run_until_idle(durable_app)
    assert run.status == "failed"
    assert "its message could not be read" in run.why()
    with pytest.raises(Mute):
        run.result()


def test_an_exception_without_words_is_kept_and_caught_by_its_class(durable_app: App) -> None:
    @step
    def fails() -> None:
        raise Mute

    @flow
    def work() -> str:
        try:
            fails()
        except Mute:
            sleep("1h")
            return "caught"
        return "never"

    run = work["r"].start()
    assert run_to_end(durable_app, run) == "caught"
    (failure,) = [event.failure for event in run.history if type(event).__name__ == "Raised"]
    assert failure.type.endswith("Mute")
    assert "its message could not be read" in failure.message


def test_a_flow_that_recurses_without_end_fails_and_others_go_on(durable_app: App) -> None:
    chain, _ = adding()

    @flow
    def endless() -> None:
        def deeper() -> None:
            deeper()

        deeper()

    run = endless["r"].start()
    run_until_idle(durable_app)
    assert run.status == "failed"
    with pytest.raises(RecursionError):
        run.result()
    assert run_to_end(durable_app, chain["sound"].start(1)) == 3


def test_a_step_that_recurses_without_end_is_a_failure_that_can_be_caught(durable_app: App) -> None:
    @step
    def deeper() -> None:
        def down() -> None:
            down()

        down()

    @flow
    def work() -> str:
        try:
            deeper()
        except RecursionError:
            return "caught"
        return "never"

    assert work["r"]() == "caught"


# places


def test_verbs_in_the_wrong_place_are_refused_by_line(durable_app: App) -> None:
    chain, _ = adding()

    @flow
    def outer() -> str:
        try:
            chain["inner"].pause()
        except NotInFlow as error:
            return str(error)
        return "never"

    said = outer["r"]()
    assert "test_bad_input.py, line " in said
    with pytest.raises(NotInFlow, match="outside a flow"):
        sleep(1)
    with pytest.raises(UnknownRun):
        runs["inner"]


@pytest.mark.slow
def test_an_app_does_not_survive_fork_and_the_parent_does(tmp_path: Path) -> None:
    source = """
        import json, os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from durable_nb import ForkedProcess, connect, flow, runs, step

        @step
        def add(n):
            return n + 1

        @flow
        def work(n):
            return add(n)

        with connect("log.db") as app:
            assert work["before"](1) == 2
            receive, send = os.pipe()
            child = os.fork()
            if child == 0:
                said = []
                for verb in (lambda: work["child"](1), lambda: work["child"].start(1), lambda: runs["before"].status,
                             lambda: runs["before"].result()):
                    try:
                        verb()
                        said.append("no error")
                    except ForkedProcess as error:
                        said.append("ForkedProcess")
                    except BaseException as error:
                        said.append(repr(error))
                try:
                    with connect("log.db") as own:
                        said.append(work["own"](5))
                except BaseException as error:
                    said.append(repr(error))
                os.write(send, json.dumps(said).encode())
                os._exit(0)
            os.close(send)
            with os.fdopen(receive, "rb") as pipe:
                said = json.loads(pipe.read())
            os.waitpid(child, 0)
            found = [said, work["after"](2), runs["own"].result(), app.log.execute("pragma integrity_check").fetchone()]
        print(json.dumps(found))
    """
    said, after, own, check = script(tmp_path, source)
    assert said == ["ForkedProcess"] * 4 + [6]
    assert (after, own, check) == (3, 6, ["ok"])
