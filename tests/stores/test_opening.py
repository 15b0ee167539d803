import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from durable_nb.errors import (
    BadOption,
    Corrupt,
    ForkedProcess,
    LogError,
    LogMissing,
    NetworkFileSystem,
    NewerSchema,
)
from durable_nb.stores import files, open_store
from durable_nb.stores.connections import raw
from durable_nb.stores.library import sqlite
from durable_nb.stores.migrate import APPLICATION_ID, SCHEMA
from durable_nb.stores.protocol import Store
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import carried, new_run, row, turn
from tests.stores.processes import child, rest

GOLDEN = Path(__file__).with_name("schema.golden.sql")


def change(path: str, *statements: str) -> None:
    """Change a closed log behind the store's back."""
    connection = sqlite.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_a_log_is_opened_by_path_or_url(path: str, prefix: str) -> None:
    store: Store = open_store(prefix + path)
    store.start(new_run())
    store.close()
    store = open_store(path)
    assert store.run("order-1") is not None
    store.close()


def test_other_urls_are_refused_with_a_reason() -> None:
    with pytest.raises(BadOption, match=r"\[postgres\] extra"):
        open_store("postgresql://localhost/x")
    with pytest.raises(BadOption, match="mysql"):
        open_store("mysql://localhost/x")
    with pytest.raises(BadOption, match="'fast'"):
        open_store(":memory:", "fast")


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("process", 1)])
def test_pragmas_are_as_promised(path: str, durability: str, synchronous: int) -> None:
    store = open_sqlite(path, durability)
    expected = {
        "journal_mode": "wal",
        "synchronous": synchronous,
        "wal_autocheckpoint": 0,
        "mmap_size": 0,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "page_size": 4096,
        "application_id": APPLICATION_ID,
        "user_version": SCHEMA,
    }
    ask = store.database._writer.execute
    assert {name: ask(f"pragma {name}").fetchone()[0] for name in expected} == expected
    store.close()


def test_a_pragma_that_does_not_take_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    from durable_nb.stores import connections

    monkeypatch.setitem(connections._SYNCHRONOUS, "full", 9)
    with pytest.raises(LogError, match="synchronous"):
        open_sqlite(path)


def test_the_schema_is_what_the_code_was_written_for(filed: SqliteStore) -> None:
    listed = filed.database.read("select sql from sqlite_master where sql is not null order by type desc, name")
    assert "\n\n".join(sql for (sql,) in listed) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogMissing, match=r"there is no folder .*nowhere; create it"):
        open_sqlite(str(tmp_path / "nowhere" / "x.db"))


def test_a_folder_is_not_a_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="is a folder"):
        open_sqlite(str(tmp_path))


@pytest.fixture
def made(path: str) -> str:
    """The path of a closed log with a run in it."""
    store = open_sqlite(path, "process")
    store.start(new_run())
    store.close()
    return path


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_cannot_be_written_is_refused(made: str, what: str) -> None:
    # Not below pytest's own folder, which is for its user alone, and made so again by every other pytest that begins.
    with tempfile.TemporaryDirectory() as parent:
        moved = shutil.copy(made, parent)
        os.chmod(parent, 0o555 if what == "folder" else 0o777)
        os.chmod(moved, 0o444 if what == "file" else 0o666)
        with child("open_as_nobody", moved) as process:
            (said,) = rest(process)
        os.chmod(parent, 0o755)
    assert said.startswith("LogReadOnly: ")
    assert "chmod" in said if what == "file" else "folder" in said


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused(monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    monkeypatch.setattr(files, "file_system", lambda path: kind)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(NetworkFileSystem, match=kind):
        open_sqlite(path)
    assert not os.path.exists(path)


def test_the_file_system_is_that_of_the_deepest_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n"
        "40 22 0:40 / /home/me/my\\040disk rw - nfs4 server:/x rw\n"
        "41 22 0:41 / /home rw - btrfs /dev/sdb rw\n"
    )
    monkeypatch.setattr(files, "_MOUNTS", str(mounts))
    assert files.file_system("/home/me/my disk/a.db") == "nfs4"
    assert files.file_system("/home/me/my diskette/a.db") == "btrfs"
    assert files.file_system("/srv/a.db") == "ext4"
    monkeypatch.setattr(files, "_MOUNTS", str(tmp_path / "none"))
    assert files.file_system("/srv/a.db") == ""


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: str) -> None:
    Path(path).write_text("dear diary, " * 1000)
    with pytest.raises(Corrupt, match="not a database"):
        open_sqlite(path)
    assert Path(path).read_text() == "dear diary, " * 1000


def test_the_database_of_another_program_is_refused_and_left_alone(path: str) -> None:
    change(path, "create table diary(entry)")
    before = Path(path).read_bytes()
    with pytest.raises(LogError, match="another program"):
        open_sqlite(path)
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_an_empty_file_becomes_a_log(path: str) -> None:
    Path(path).touch()
    open_sqlite(path).close()


def test_a_newer_schema_is_refused(made: str) -> None:
    change(made, f"pragma user_version = {SCHEMA + 1}")
    with pytest.raises(NewerSchema, match="upgrade"):
        open_sqlite(made)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("create trigger sly after insert on event begin delete from run; end", "trigger sly"),
        ("create view run_view as select 1", "view run_view"),
    ],
    ids=["trigger", "view"],
)
def test_code_in_the_file_is_refused(made: str, statement: str, name: str) -> None:
    change(made, statement)
    with pytest.raises(Corrupt, match=name):
        open_sqlite(made)


def test_a_damaged_page_is_said_to_be_one(made: str) -> None:
    damaged = bytearray(Path(made).read_bytes())
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    Path(made).write_bytes(damaged)
    with pytest.raises(Corrupt, match=r"test\.durable\.db"):
        open_sqlite(made).run("order-1")


def remove(path: str) -> None:
    os.remove(path)


def replace(path: str) -> None:
    shutil.copy(path, path + ".copy")
    os.replace(path + ".copy", path)


def remove_wal(path: str) -> None:
    os.remove(path + "-wal")


@pytest.mark.parametrize("harm", [remove, replace, remove_wal])
def test_a_log_that_is_removed_while_open_is_missed(path: str, harm: Callable[[str], None]) -> None:
    store = open_sqlite(path)
    run = carried(store)
    store.heartbeat(1, 2.0)
    harm(path)
    with pytest.raises(LogMissing, match="while"):
        store.heartbeat(1, 3.0)
    with pytest.raises(LogMissing, match="nothing more is written"):
        store.commit(turn(run, row(2)))
    store.close()


def test_a_file_that_moved_away_and_back_is_the_same(filed: SqliteStore, path: str) -> None:
    os.rename(path, path + ".away")
    os.rename(path + ".away", path)
    filed.heartbeat(1, 2.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_refused_and_the_parent_unharmed(filed: SqliteStore, path: str) -> None:
    me = filed.register("me", 1.0)
    run = carried(filed, owner=me)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"nothing"
        try:
            filed.close()
            for verb in (filed.counts, lambda: filed.commit(turn(run, row(2))), filed.changes, filed.log):
                try:
                    verb()
                except ForkedProcess:
                    said = b"refused"
                else:
                    said = b"accepted"
                    break
            other = open_sqlite(path, "process")
            said += b" and opened" if other.bury(2.0) == [] and other.run("order-1") is not None else b" and buried"
            other.close()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"refused and opened"
    os.waitpid(pid, 0)
    filed.commit(turn(run, row(2)))
    assert [owner.is_alive for owner in filed.owners()] == [True]


def test_the_last_to_close_leaves_one_file_with_everything_in_it(path: str) -> None:
    one, two = open_sqlite(path), open_sqlite(path)
    one.start(new_run("one"))
    one.close()
    two.start(new_run("two"))
    two.close()
    beside = os.path.basename(path)
    assert sorted(os.listdir(os.path.dirname(path))) == [beside, f"{beside}-owners"]
    alone = raw(path)
    assert alone.execute("select id from run").fetchall() == [("one",), ("two",)]
    alone.close()


def test_uid_and_time_of_a_log_are_set_once(path: str) -> None:
    store = open_sqlite(path, clock_now=lambda: 5.0)
    log = store.log()
    store.close()
    again = open_sqlite(path, clock_now=lambda: 9.0)
    assert again.log() == log
    assert log.created_at == 5.0
    again.close()
