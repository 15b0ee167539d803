import gc
import os
from pathlib import Path

from durable_nb.stores.owners import bytes_of
from durable_nb.stores.shapes import NewWork, Release
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import carried, new_run, row, turn
from tests.stores.processes import child, heard


def test_an_owner_is_listed_with_its_runs(store: SqliteStore) -> None:
    one, two = store.register("kernel", 1.0), store.register("worker", 2.0)
    carried(store, owner=one)
    store.heartbeat(two, 7.0)
    first, second = store.owners()
    assert (first.key, first.pid, first.label, first.started_at, first.seen_at) == (
        one,
        os.getpid(),
        "kernel",
        1.0,
        1.0,
    )
    assert (first.is_alive, first.runs) == (True, 1)
    assert (second.key, second.label, second.seen_at, second.runs) == (two, "worker", 7.0, 0)


def test_living_owners_are_not_buried(store: SqliteStore) -> None:
    run = carried(store)
    assert store.bury(99.0) == []
    assert store.run_by_key(run.key) == run


def test_who_retires_gives_everything_up_without_a_crash(store: SqliteStore) -> None:
    leaving, staying = store.register("leaving", 1.0), store.register("staying", 1.0)
    run = carried(store, owner=leaving)
    store.commit(turn(run, row(2), work=[NewWork(2, "add", b"", 50.0, leaving)]))
    done = carried(store, "done", leaving)
    store.commit(turn(done, release=Release("completed", None)))
    seized = store.seize(done.key, leaving)
    assert seized is not None
    store.retire(leaving, 30.0)
    assert [owner.key for owner in store.owners()] == [staying]
    after = store.run_by_key(run.key)
    assert after is not None
    assert (after.status, after.owner, after.ready_at) == ("running", None, 30.0)
    assert store.run_by_key(done.key) == seized._replace(owner=None)
    (work,) = store.work(run.key)
    assert (work.owner, work.due, work.attempt, work.crashes) == (None, 30.0, 1, 0)
    assert [each.id for each in store.claim(staying, 30.0, 9)] == ["order-1"]


def test_who_leaves_without_retiring_is_dead_although_the_process_lives(path: str) -> None:
    gone, here = open_sqlite(path), open_sqlite(path)
    run = carried(gone)
    gone.abandon()
    assert here.bury(30.0) == [run.owner]
    assert here.claim(here.register("here", 1.0), 30.0, 9)[0].lease == 2
    here.close()


def test_keys_of_owners_are_never_used_twice(store: SqliteStore) -> None:
    first = store.register("a", 1.0)
    store.retire(first, 2.0)
    assert store.register("b", 3.0) > first


def test_closing_one_store_does_not_free_the_locks_of_another(path: str) -> None:
    staying = open_sqlite(path)
    staying.register("staying", 1.0)
    leaving = open_sqlite(path)
    leaving.retire(leaving.register("leaving", 1.0), 2.0)
    leaving.close()
    del leaving
    gc.collect()
    with child("own", path) as process:
        # The child looks from outside: locks of one process never conflict with each other.
        heard(process)
        assert [owner.is_alive for owner in staying.owners()] == [True, True]
        assert heard_of_the_dead(path) == []
    staying.close()


def heard_of_the_dead(path: str) -> list[int]:
    """Whom another process takes for dead."""
    with child("bury", path) as process:
        return [int(key) for key in heard(process).split()]


def test_a_log_made_anew_at_the_same_path_has_locks_of_its_own(path: str) -> None:
    first = open_sqlite(path)
    first.register("first", 1.0)
    first.close()
    for name in (path, path + "-owners"):
        os.remove(name)
    second = open_sqlite(path)
    owner = second.register("second", 1.0)
    assert heard_of_the_dead(path) == []
    assert bytes_of(path).is_locked(owner)
    second.close()


def test_a_lock_that_was_lost_in_this_process_comes_back_with_the_heartbeat(path: str) -> None:
    store = open_sqlite(path)
    owner = store.register("kernel", 1.0)
    Path(path + "-owners").read_bytes()  # as a backup made in the notebook would: closing it frees all our bytes
    store.heartbeat(owner, 2.0)
    assert heard_of_the_dead(path) == []
    Path(path + "-owners").read_bytes()
    assert heard_of_the_dead(path) == [owner]
    assert store.owners() == []
    store.heartbeat(owner, 3.0)
    assert heard_of_the_dead(path) == []
    (again,) = store.owners()
    assert (again.key, again.label, again.started_at, again.seen_at) == (owner, "kernel", 1.0, 3.0)
    store.close()


def test_what_an_unknown_owner_holds_is_freed(store: SqliteStore) -> None:
    run = carried(store, owner=77)
    assert store.bury(30.0) == [77]
    after = store.run_by_key(run.key)
    assert after is not None
    assert (after.owner, after.ready_at) == (None, 30.0)


def test_a_dead_owner_with_nothing_to_free_is_forgotten(path: str) -> None:
    store = open_sqlite(path)
    with child("own", path) as process:
        heard(process)
    store.start(new_run())
    store.delete([1], force=True, now=30.0)
    assert store.bury(5.0) == [1]
    assert store.owners() == []
    store.close()
