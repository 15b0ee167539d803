"""The verbs that look."""

import json
import sqlite3
from datetime import date
from pathlib import Path

import pytest

from durable_nb import connect
from durable_nb.verbs import reading
from tests.cli.conftest import OTHER_KEY, Shell, durable, ended
from tests.cli.samples import cli_bill, cli_failing, cli_stored, cli_waiting


@pytest.fixture
def log(folder: Path) -> Path:
    """Three runs: completed, failed, waiting."""
    path = folder / "shop.durable.db"
    with connect(path, carriers=0) as app:
        cli_bill["one"](["tea", "cake"])
        with pytest.raises(OSError, match="no network"):
            cli_failing["two"]("no network")
        cli_waiting["three"].start()
        app.turn()
    return path


def test_ls_lists_runs_newest_first_and_counts_them(log: Path, shell: Shell) -> None:
    said = shell("ls")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["three", "two", "one"]
    assert "OSError: no network" in lines[2]
    assert "a timer, due in" in lines[1]
    assert lines[4] == "1 completed · 1 failed · 1 waiting"


def test_ls_json_has_exactly_the_documented_keys(log: Path, shell: Shell) -> None:
    data = shell("ls", "--json").json
    assert tuple(data) == reading.LS_KEYS
    assert tuple(data["runs"][0]) == reading.RUN_KEYS
    assert data["totals"] == {"completed": 1, "failed": 1, "waiting": 1}


def test_ls_finds_by_status_flow_and_text(log: Path, shell: Shell) -> None:
    def ids(*arguments: str) -> list[str]:
        return [run["id"] for run in shell("ls", "--json", *arguments).json["runs"]]

    assert ids("--status", "failed") == ["two"]
    assert ids("--flow", "cli_bill") == ["one"]
    assert ids("--search", "NETWORK") == ["two"]
    assert ids("--flow", "cli_bill", "--status", "failed") == []


def test_pages_of_ls_follow_each_other_without_gap_or_repeat(log: Path, shell: Shell) -> None:
    seen: list[str] = []
    more: list[str] = []
    while True:
        page = shell("ls", "--json", "--limit", "1", *more).json
        seen += [run["id"] for run in page["runs"]]
        if page["next"] is None:
            break
        more = ["--before", page["next"]]
    assert seen == ["three", "two", "one"]


def test_ls_workers_shows_who_has_the_log_open(log: Path, shell: Shell) -> None:
    assert shell("ls", "--workers", "--json").json == {"workers": []}
    with connect(log, carriers=0) as app:
        (worker,) = shell("ls", "--workers", "--json").json["workers"]
        assert tuple(worker) == reading.WORKER_KEYS
        assert (worker["id"], worker["is_alive"], worker["runs"]) == (app.owner(), True, 0)


def test_show_tells_arguments_asks_output_and_result(log: Path, shell: Shell) -> None:
    said = shell("show", "one")
    for part in ("items=['tea', 'cake']", "cli_price(item='tea'): 2.5 after", "looking up cake", "result     6.5"):
        assert part in said.out
    data = shell("show", "one", "--json").json
    assert tuple(data) == reading.SHOW_KEYS
    assert [(ask["name"], ask["outcome"], ask["value"]) for ask in data["asks"]] == [
        ("cli_price", "returned", {"codec": "json", "json": 2.5}),
        ("cli_price", "returned", {"codec": "json", "json": 4.0}),
    ]
    assert "".join(piece["text"] for piece in data["output"]) == "looking up tea\nlooking up cake\n"


def test_show_tells_a_failure_with_its_line(log: Path, shell: Shell) -> None:
    failure = shell("show", "two", "--json").json["failure"]
    assert (failure["type"], failure["message"]) == ("OSError", "no network")
    assert "samples.py, line" in failure["where"]
    assert "Traceback" in shell("show", "two").out


def test_why_is_one_sentence(log: Path, shell: Shell) -> None:
    said = shell("why", "three")
    assert said.out.startswith("run 'three' of flow `cli_waiting` waits for a timer, due in ")
    assert len(said.out.splitlines()) == 1
    assert shell("why", "one", "--json").json["status"] == "completed"


def test_history_json_is_one_object_per_event(log: Path, shell: Shell) -> None:
    events = shell("history", "one", "--json").lines
    assert [event["kind"] for event in events] == ["started", "step", "returned", "step", "returned", "completed"]
    assert all(tuple(event) == reading.EVENT_KEYS for event in events)
    assert [event["name"] for event in events[:3]] == ["cli_bill", "cli_price", "cli_price"]
    assert len(shell("history", "one").out.splitlines()) == 6


def test_an_event_that_cannot_be_read_hides_no_other(log: Path, shell: Shell) -> None:
    with sqlite3.connect(log) as connection:
        connection.execute("update event set data = '{' where kind = 'returned' and seq = 3")
    connection.close()
    events = shell("history", "one", "--json").lines
    assert len(events) == 6
    assert events[2]["what"].startswith("cannot be read: event 3")
    assert shell("show", "one").code == 0


@pytest.mark.parametrize(("id", "code"), [("one", 0), ("two", 1)])
def test_follow_ends_with_the_run_and_its_exit_code(log: Path, shell: Shell, id: str, code: int) -> None:
    said = shell("follow", id, "--json")
    assert said.code == code
    assert said.lines == shell("history", id, "--json").lines


def test_an_unknown_run_is_code_3_and_names_close_matches(log: Path, shell: Shell) -> None:
    for verb in ("show", "why", "history", "follow", "pause", "resume", "retry", "delete"):
        said = shell(verb, "thre")
        assert (said.code, said.out) == (3, "")
        assert said.err == "there is no run 'thre' in this log; did you mean 'three'?\n"


def test_looking_makes_no_log(folder: Path, shell: Shell) -> None:
    for verb in (["ls"], ["show", "x"], ["query", "select 1"], ["trust"], ["worker"], ["pause", "x"]):
        assert shell(*verb).code == 2
        said = shell(*verb, "--log", "missing.durable.db")
        assert said.code == 2
        assert said.err.startswith("there is no log missing.durable.db")
    assert list(folder.iterdir()) == []


def test_several_logs_are_listed_and_none_is_guessed(folder: Path, log: Path, shell: Shell) -> None:
    with connect(folder / "other.durable.db", carriers=0):
        pass
    said = shell("ls")
    assert (said.code, said.out) == (2, "")
    assert "there are 2 logs here (other.durable.db, shop.durable.db)" in said.err
    assert shell("ls", "--log", "shop.durable.db").code == shell("--log", "shop.durable.db", "ls").code == 0
    assert shell("--log", "shop.durable.db", "ls", "--log", "other.durable.db").code == 2


def test_the_environment_names_the_log(log: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert shell("ls").code == 2
    monkeypatch.setenv("DURABLE_NB_LOG", str(log))
    assert shell("ls").code == 0


def test_a_file_that_is_no_log_is_refused_and_left_alone(folder: Path, shell: Shell) -> None:
    (folder / "empty.db").touch()
    with sqlite3.connect(folder / "other.db") as connection:
        connection.execute("create table mine(x)")
    connection.close()
    (folder / "text.db").write_text("this is not a database, whatever its name says" * 100)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in before:
        said = shell("ls", "--log", name)
        assert (said.code, said.out) == (2, ""), name
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before} == before


def test_a_log_from_elsewhere_is_wholly_readable_and_decodes_nothing(
    folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(folder / "from.durable.db", carriers=0):
        cli_stored["x"](date(2026, 11, 20))
    monkeypatch.setenv("DURABLE_NB_KEY", OTHER_KEY)

    def fail(*arguments: object) -> None:
        raise AssertionError("something was decoded")

    monkeypatch.setattr("durable_nb.codec.pickles.decode", fail)
    monkeypatch.setattr("durable_nb.codec.values._READERS", {"pickle": fail})
    for verb in (
        ["ls"],
        ["show", "x"],
        ["why", "x"],
        ["history", "x"],
        ["follow", "x"],
        ["query", "select * from run"],
    ):
        assert shell(*verb).code == 0, verb
    said = shell("show", "x")
    assert "durable trust" in said.out
    assert "datetime.date(2026, 11, 20) [pickle" in said.out


def test_text_of_a_log_cannot_steer_the_terminal(folder: Path, shell: Shell) -> None:
    with connect(folder / "evil.durable.db", carriers=0), pytest.raises(OSError, match="owned"):
        cli_failing["evil"]("\x1b]0;owned\x07 \x9b31m")
    for verb in (["ls"], ["show", "evil"], ["why", "evil"], ["history", "evil"], ["query", "select sentence from run"]):
        said = shell(*verb)
        assert said.code == 0
        assert not set(said.out) & {"\x1b", "\x07", "\x9b"}, verb


def test_lines_are_whole_without_a_terminal(folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with connect(folder / "long.durable.db", carriers=0), pytest.raises(OSError, match="yyy"):
        cli_failing["x" * 150]("y" * 300)
    row = shell("ls").out.splitlines()[1]
    assert row.startswith("x" * 150 + " ")
    assert row.endswith("y" * 300)


@pytest.mark.slow
def test_follow_prints_events_while_they_happen_and_leaves_quietly(folder: Path) -> None:
    path = folder / "live.durable.db"
    with connect(path, carriers=0) as app:
        run = cli_waiting["live"].start()
        process = durable("follow", "live", "--json")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "started"
        app.turn()
        assert json.loads(process.stdout.readline())["kind"] == "timer"
        run.pause()
        assert json.loads(process.stdout.readline())["kind"] == "paused"
        assert ended(process) == (5, "", "")
        run.resume()
        again = durable("follow", "live")
        assert again.stdout is not None
        for _ in range(4):
            again.stdout.readline()
        again.send_signal(2)
        assert ended(again) == (130, "", "")
