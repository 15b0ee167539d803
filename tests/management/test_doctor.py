"""What the doctor finds, check by check."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable_nb import connect, flow, step
from durable_nb.codec.sign import Signer
from durable_nb.management import doctor
from durable_nb.management.doctor import Finding, examine, needs_attention, owner_findings
from durable_nb.stores import open_store
from durable_nb.stores.shapes import OwnerRecord
from durable_nb.testing import FakeClock, run_until_idle

NOW = 1_800_000_000.0


@step(delay="1h")
def doctor_later() -> None: ...


@flow
def doctor_flow() -> None:
    doctor_later()


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with a run that waits for its delayed step until an hour from NOW."""
    monkeypatch.setenv("DURABLE_NB_KEY", "a" * 32)
    path = tmp_path / "shop.durable.db"
    with connect(path, carriers=0, clock=FakeClock(NOW)) as app:
        doctor_flow["one"].start()
        run_until_idle(app)
    return path


def worst(findings: list[Finding], check: str) -> Finding:
    order = ("fine", "note", "attention", "broken")
    return max((one for one in findings if one.check == check), key=lambda one: order.index(one.level))


def owner(**changed: Any) -> OwnerRecord:
    return OwnerRecord(1, 77, "here", "pid 77", NOW, NOW, True, 1)._replace(**changed)


def change(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()


def test_a_healthy_log_needs_no_attention(log: Path) -> None:
    findings = examine(str(log), NOW)
    assert not needs_attention(findings)
    assert worst(findings, "work").sentence == "the next turn or step is due in 1 h"


def test_work_that_nobody_takes_up_is_told(log: Path) -> None:
    found = worst(examine(str(log), NOW + 3600 + 60), "work")
    assert (found.level, "1 m" in found.sentence) == ("attention", True)
    assert "nobody has the log open" in found.sentence
    with connect(log, carriers=0, clock=FakeClock(NOW)):
        found = worst(examine(str(log), NOW + 3600 + 60), "work")
    assert (found.level, "should have taken it up" in found.advice) == ("attention", True)


def test_a_parked_run_is_told_with_what_to_do(log: Path) -> None:
    change(log, "update run set status = 'parked', ready_at = null, reason = 'mismatch', sentence = 'line 3\ndiff'")
    found = worst(examine(str(log), NOW), "parked")
    assert found.sentence == "run 'one' is parked (mismatch): line 3"
    assert "`durable why one`" in found.advice


@pytest.mark.parametrize(
    ("owner", "level", "part"),
    [
        (owner(), "fine", "alive"),
        (owner(seen_at=NOW - 100), "attention", "was silent for 1 m 40 s"),
        (owner(seen_at=NOW - 100, runs=0), "fine", "alive"),
        (owner(is_alive=False), "attention", "has died"),
        (owner(is_alive=False, runs=0), "note", "has died"),
    ],
)
def test_owners_are_told_by_their_state(owner: OwnerRecord, level: str, part: str) -> None:
    (found,) = owner_findings([owner], NOW)
    assert (found.level, part in found.sentence) == (level, True)


def test_another_journal_mode_is_told(log: Path) -> None:
    change(log, "pragma journal_mode = delete")
    assert worst(examine(str(log), NOW), "durability").level == "attention"


def test_rows_that_refer_to_nothing_are_told(log: Path) -> None:
    change(log, "delete from run")  # this library checks no foreign keys unless it is told to
    found = worst(examine(str(log), NOW), "integrity")
    assert (found.level, "refer to what is not there" in found.sentence) == ("broken", True)


def test_a_newer_schema_is_told_and_not_opened(log: Path) -> None:
    change(log, "pragma user_version = 999")
    findings = examine(str(log), NOW)
    assert worst(findings, "schema").advice == "upgrade durable_nb"
    assert "runs" not in {found.check for found in findings}


def test_a_trigger_in_a_log_is_told_and_not_opened(log: Path) -> None:
    change(log, "create trigger evil after insert on event begin select 1; end")
    assert "evil" in worst(examine(str(log), NOW), "open").sentence


def test_a_log_of_another_key_is_told(log: Path) -> None:
    store = open_store(str(log))
    (found,) = doctor.trust_findings(store, Signer(b"b" * 32))
    store.close()
    assert (found.level, "`durable trust FILE`" in found.advice) == ("attention", True)


def test_a_key_that_others_can_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DURABLE_NB_KEY")
    monkeypatch.setenv("DURABLE_NB_KEY_FILE", str(tmp_path / "key"))
    (tmp_path / "key").write_text("e" * 32)
    (tmp_path / "key").chmod(0o644)
    assert worst(doctor.environment(), "key").level == "broken"


def test_a_large_write_ahead_file_is_told(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_WAL", 0)
    with connect(log, carriers=0, clock=FakeClock(NOW)):
        assert worst(examine(str(log), NOW), "wal").level == "attention"
