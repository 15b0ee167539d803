import os

from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import carried, row, turn
from tests.stores.processes import child, heard, tell


def wal(path: str) -> int:
    return os.stat(path + "-wal").st_size


def fill(store: SqliteStore, megabytes: int) -> None:
    run = carried(store, f"large-{megabytes}")
    for number in range(megabytes):
        store.commit(turn(run, row(2 + number, b"x" * 1024 * 1024)))


def test_nothing_is_moved_while_the_wal_is_small(filed: SqliteStore, path: str) -> None:
    fill(filed, 2)
    before = os.stat(path).st_size
    filed.checkpoint(is_idle=False)
    assert os.stat(path).st_size == before


def test_a_large_wal_is_moved_while_others_work(filed: SqliteStore, path: str) -> None:
    fill(filed, 5)
    before = os.stat(path).st_size
    filed.checkpoint(is_idle=False)
    assert os.stat(path).st_size > before + 4 * 1024 * 1024


def test_an_idle_log_gives_the_space_of_its_wal_back(filed: SqliteStore, path: str) -> None:
    fill(filed, 1)
    assert wal(path) > 0
    filed.checkpoint(is_idle=True)
    assert wal(path) == 0
    filed.checkpoint(is_idle=True)


def test_one_process_checkpoints_and_another_takes_over(filed: SqliteStore, path: str) -> None:
    fill(filed, 1)
    second = open_sqlite(path, "process")
    second.checkpoint(is_idle=True)
    assert wal(path) == 0
    fill(filed, 2)
    filed.checkpoint(is_idle=True)
    assert wal(path) > 0, "the second one is in charge"
    second.close()
    filed.checkpoint(is_idle=True)
    assert wal(path) == 0


def test_the_checkpointer_of_another_process_is_respected(filed: SqliteStore, path: str) -> None:
    fill(filed, 1)
    with child("checkpoint", path) as process:
        assert heard(process) == "in charge"
        fill(filed, 2)
        filed.checkpoint(is_idle=True)
        assert wal(path) > 0
        tell(process)
        assert process.wait(60) == 0
    filed.checkpoint(is_idle=True)
    assert wal(path) == 0


def test_a_log_in_memory_has_nothing_to_move() -> None:
    store = open_sqlite(":memory:")
    store.checkpoint(is_idle=True)
    store.close()
    store.checkpoint(is_idle=True)
