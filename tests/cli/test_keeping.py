"""trust, key and doctor."""

import sqlite3
from datetime import date
from pathlib import Path

import pytest

from durable_nb import Untrusted, connect
from durable_nb.verbs.keeping import DOCTOR_KEYS, KEY_KEYS
from tests.cli.conftest import KEY, OTHER_KEY, Shell
from tests.cli.samples import cli_bill, cli_stored, cli_waiting


@pytest.fixture
def foreign(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that another key has signed, with a stored value and a run that has not begun."""
    path = folder / "from.durable.db"
    with connect(path, carriers=0):
        cli_stored["done"](date(2026, 11, 20))
        cli_stored["begun"].start(date(2026, 11, 21))
        cli_bill.schedule("every 400d", ["tea"], id="rarely")
    monkeypatch.setenv("DURABLE_NB_KEY", OTHER_KEY)
    return path


def test_a_foreign_log_runs_nothing_until_it_is_trusted(foreign: Path, shell: Shell) -> None:
    said = shell("worker", "--until-idle")
    assert (said.code, said.out) == (4, "")
    assert "durable trust" in said.err
    said = shell("trust", str(foreign), "--yes")
    assert said.code == 0
    assert "2 runs (1 completed, 1 pending)" in said.err
    assert "cli_stored" in said.err
    assert "1 schedules: rarely" in said.err
    assert "cli_pickled" in said.err
    assert shell("worker", "--until-idle").code == 0
    with connect(foreign, carriers=0) as app:
        assert app.result("begun", None) == date(2026, 11, 21)
        assert app.result("done", None) == date(2026, 11, 20)


def test_trust_asks_and_takes_no_answer_for_no(
    foreign: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for answer in ("n\n", ""):
        (tmp_path / "answer").write_text(answer)
        with (tmp_path / "answer").open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            assert shell("trust").code == 4
        with connect(foreign, carriers=0) as app, pytest.raises(Untrusted):
            cli_bill["new"].start([])
        assert not app.is_trusted
    (tmp_path / "answer").write_text("y\n")
    with (tmp_path / "answer").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert shell("trust").code == 0
    with connect(foreign, carriers=0) as app:
        assert app.result("done", None) == date(2026, 11, 20)


def test_key_show_names_the_key_and_does_not_tell_it(
    folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shell("key", "show", "--json")
    assert tuple(said.json) == KEY_KEYS
    assert said.json["source"] == "DURABLE_NB_KEY"
    assert KEY not in said.out
    monkeypatch.delenv("DURABLE_NB_KEY")
    assert shell("key", "show", "--json").json["fingerprint"] is None
    assert not (folder / "home").exists()


def test_a_key_travels_by_export_and_import(folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DURABLE_NB_KEY")
    assert shell("key", "export", "mine").code == 0
    assert (folder / "mine").stat().st_mode & 0o777 == 0o600
    assert shell("key", "export").out == (folder / "mine").read_text()
    first = shell("key", "show", "--json").json["fingerprint"]
    assert shell("key", "export", "mine").code == 2
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "elsewhere"))
    assert shell("key", "import", "mine").code == 0
    assert shell("key", "show", "--json").json["fingerprint"] == first
    (folder / "other").write_text(OTHER_KEY)
    said = shell("key", "import", "other")
    assert said.code == 4
    assert "--force" in said.err
    assert shell("key", "import", "other", "--force").code == 0
    assert shell("key", "show", "--json").json["fingerprint"] != first


def test_doctor_finds_nothing_wrong_with_a_healthy_log(folder: Path, shell: Shell) -> None:
    with connect(folder / "shop.durable.db", carriers=0) as app:
        cli_bill["one"](["tea"])
        cli_waiting["two"].start()
        app.turn()
    said = shell("doctor", "--json")
    assert (said.code, tuple(said.json), said.json["needs_attention"]) == (0, DOCTOR_KEYS, False)
    looked_at = {finding["check"] for finding in said.json["findings"]}
    assert looked_at >= {"python", "sqlite", "key", "disk", "wal", "schema", "durability", "integrity", "trust", "work"}


def test_doctor_without_a_log_looks_at_the_machine(folder: Path, shell: Shell) -> None:
    assert shell("doctor").code == 0
    assert shell("doctor", "--log", "missing.db").code == 2
    assert list(folder.iterdir()) == []


def test_doctor_tells_a_foreign_log_with_code_1(foreign: Path, shell: Shell) -> None:
    said = shell("doctor")
    assert said.code == 1
    assert "does not carry your mark" in said.out


def test_doctor_tells_what_is_due_and_carried_by_nobody(folder: Path, shell: Shell) -> None:
    path = folder / "shop.durable.db"
    with connect(path, carriers=0):
        cli_waiting["late"].start()
    with sqlite3.connect(path) as connection:
        connection.execute("update run set ready_at = ready_at - 3600")
    connection.close()
    said = shell("doctor")
    assert said.code == 1
    assert "nobody has the log open → `durable worker` carries it" in said.out


def test_doctor_tells_a_damaged_file(folder: Path, shell: Shell) -> None:
    path = folder / "shop.durable.db"
    with connect(path, carriers=0):
        cli_bill["one"](["tea"] * 200)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + bytes(len(whole) - 8192))
    said = shell("doctor")
    assert said.code == 1
    assert "broken" in said.out
    assert "restore" in said.out
