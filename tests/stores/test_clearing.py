"""What is removed because it is old, or because nothing needs it."""

import os

import pytest

from durable_nb.stores.shapes import CodeRecord, Execution, Message, NewWork, OutputRecord, Query, Release, RunRecord
from durable_nb.stores.sqlite import SqliteStore
from tests.stores.examples import as_it_is, carried, letter, new_run, row, seqs, turn, values, waiting

DAY = 24 * 3600.0


def over(
    store: SqliteStore, id: str, at: float = 20.0, *, flow: str = "checkout", status: str = "completed", **rest: object
) -> RunRecord:
    """A run that ended."""
    run, _ = store.start(new_run(id, flow=flow, owner=1, **rest))  # type: ignore[arg-type]
    store.commit(turn(run, row(2), at=at, release=Release(status, None)))
    return run


def names(store: SqliteStore, keys: list[int]) -> list[str]:
    found = [store.run_by_key(key) for key in keys]
    return [run.id for run in found if run is not None]


def ended(
    store: SqliteStore,
    flow: str | None = None,
    status: str | None = None,
    before_time: float | None = None,
    keep: int = 0,
    limit: int = 100,
) -> list[str]:
    return names(store, store.ended(flow, status, before_time, keep, limit))


def naming(digest: str) -> bytes:
    """A value that lies in a payload."""
    return f'{{"codec":"npy","payload":"{digest}"}}'.encode()


def payloads(store: SqliteStore) -> list[str]:
    return [digest for (digest,) in store.database.read("select digest from payload order by digest")]


# which runs may be pruned


def test_ended_runs_are_listed_oldest_end_first(store: SqliteStore) -> None:
    over(store, "b", 22.0)
    over(store, "c", 21.0, status="failed")
    over(store, "a", 23.0, status="cancelled", flow="ship")
    carried(store, "goes on")
    store.start(new_run("has not begun"))
    assert ended(store) == ["c", "b", "a"]
    assert ended(store, limit=2) == ["c", "b"]
    assert ended(store, before_time=22.0) == ["c"]
    assert ended(store, flow="ship") == ["a"]
    assert ended(store, status="failed") == ["c"]
    assert ended(store, status="waiting") == ended(store, flow="nothing") == []


def test_the_newest_of_every_flow_stay(store: SqliteStore) -> None:
    for number in range(4):
        over(store, f"checkout-{number}", 20.0 + number)
    over(store, "ship", 20.0, flow="ship")
    assert ended(store, keep=2) == ["checkout-0", "checkout-1"]
    assert ended(store, keep=1, before_time=22.0) == ["checkout-0", "checkout-1"]
    assert ended(store, keep=4) == []


def test_children_are_pruned_with_their_root_only(store: SqliteStore) -> None:
    root = over(store, "root", 30.0)
    over(store, "child", 20.0, parent=root.key, parent_ask=2)
    over(store, "orphan", 25.0, parent=77, parent_ask=2)
    assert ended(store) == ["orphan", "root"]
    assert ended(store, keep=1) == ["orphan"], "a child counts for nobody's newest"


def test_a_root_with_something_alive_below_it_stays(store: SqliteStore) -> None:
    root = over(store, "root")
    child = over(store, "child", parent=root.key, parent_ask=2)
    store.start(new_run("alive", parent=child.key, parent_ask=2))
    assert ended(store) == []


def test_a_run_in_somebody_s_hands_stays(store: SqliteStore) -> None:
    root = over(store, "root")
    child = over(store, "child", parent=root.key, parent_ask=2)
    seized = store.seize(child.key, 1)
    assert ended(store) == []
    assert seized is not None
    store.give_back(child.key, seized.lease, 30.0)
    assert ended(store) == ["root"]


@pytest.mark.parametrize("origin", ["root", "child"])
def test_what_a_living_run_was_forked_from_stays(store: SqliteStore, origin: str) -> None:
    root = over(store, "root")
    over(store, "child", parent=root.key, parent_ask=2)
    fork, _ = store.start(new_run("fork", owner=1, origin=origin))
    assert ended(store) == []
    store.commit(turn(fork, row(2), at=40.0, release=Release("failed", None)))
    assert ended(store) == ["root", "fork"]


def test_what_is_listed_can_be_deleted(store: SqliteStore) -> None:
    root = over(store, "root")
    over(store, "child", parent=root.key, parent_ask=2)
    over(store, "other")
    left = carried(store, "left")
    assert store.delete(store.ended(None, None, None, 0, 100), force=False, now=50.0) == []
    assert store.find(Query()) == [left]


# earlier executions


def continued(store: SqliteStore) -> RunRecord:
    """A run in its second execution, which began with row 5; rows 2 to 4 refer to a payload each."""
    run = carried(store)
    for name in ("p2", "p3", "p4", "p5"):
        store.put_payload(name, 1, [(f"chunk of {name}", b"a"), ("shared", b"b")])
    refers = [(2, "p2"), (3, "p3"), (4, "p4")]
    store.commit(turn(run, row(2), row(3), row(4), payloads=refers))
    begun = row(5, kind="started")
    store.commit(turn(run, begun, payloads=[(5, "p5")], next=Execution(4, "code-2", None)))
    return run


def test_only_the_present_execution_is_left(store: SqliteStore) -> None:
    run = continued(store)
    assert store.drop_executions(run.key) == 4
    assert (seqs(store, run), payloads(store)) == ([5], ["p5"])
    assert store.database.read("select digest from chunk order by 1") == [("chunk of p5",), ("shared",)]
    store.commit(turn(run, row(6), release=Release("completed", None)))
    assert store.drop_executions(run.key) == 0
    assert as_it_is(store, run).execution == 2


def test_what_outlives_an_execution_keeps_its_payloads(store: SqliteStore) -> None:
    run = continued(store)
    store.tell(run.key, letter(value=naming("p4")), 11.0)
    store.commit(turn(run, row(6), mail=1, state=[("frame", naming("p2"))], note=naming("p3")))
    store.drop_executions(run.key)
    assert payloads(store) == ["p2", "p3", "p4", "p5"]
    store.gc(12.0)
    assert payloads(store) == ["p2", "p3", "p4", "p5"]
    store.commit(turn(run, row(7), mail=1, consumed=1, state=[("frame", None)], note=b"1"))
    store.drop_executions(run.key)
    assert payloads(store) == ["p5"]


def test_a_run_in_its_first_execution_keeps_everything(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, row(2)))
    assert store.drop_executions(run.key) == store.drop_executions(77) == 0
    assert seqs(store, run) == [1, 2]


# what nothing needs


def test_payloads_that_nothing_refers_to_go_with_their_chunks(store: SqliteStore) -> None:
    run = carried(store)
    for name in ("used", "awaited", "left"):
        store.put_payload(name, 3, [(f"chunk of {name}", b"abc"), ("shared", b"d")])
    store.commit(turn(run, row(2), payloads=[(2, "used"), (2, "left")]))
    store.database.transact(lambda connection: connection.execute("delete from payload_ref where payload = 3").rowcount)
    store.database.one("insert into chunk(digest, data) values ('half put', 'abcde')", ())
    assert store.gc(30.0) == (3, 8)
    assert payloads(store) == ["awaited", "used"]
    assert store.payload("used") == [("chunk of used", b"abc"), ("shared", b"d")]
    assert store.gc(30.0) == (0, 0)


def test_what_was_put_by_somebody_who_died_goes_a_day_after_it_was_met(store: SqliteStore) -> None:
    store.put_payload("orphan", 1, [("c1", b"a")])
    store.put_payload("late", 1, [("c2", b"b")])
    store.gc(100.0)
    assert store.gc(99.0 + DAY) == (0, 0)
    store.put_payload("late", 1, [("c2", b"b")])
    assert store.gc(100.0 + DAY) == (2, 1)
    assert payloads(store) == ["late"]
    store.commit(turn(carried(store), row(2), payloads=[(2, "late")]))
    assert store.gc(100.0 + 9 * DAY) == (0, 0)
    assert store.payload("late") == [("c2", b"b")]


@pytest.mark.parametrize("is_early", [False, True])
def test_a_payload_that_mail_names_outlives_its_sender(store: SqliteStore, is_early: bool) -> None:
    sender, receiver = carried(store, "sender"), carried(store, "receiver")
    store.put_payload("p1", 1, [("c1", b"a")])
    sent = [Message("receiver", None, letter(value=naming("p1")))]
    store.commit(turn(sender, row(2), payloads=[(2, "p1")], messages=[] if is_early else sent))
    if is_early:
        store.signal("later", letter(value=naming("p1")), 20.0, before_start=True)
        receiver = receiver._replace(mail=0)
    store.delete([sender.key], force=True, now=30.0)
    store.gc(31.0)
    assert store.payload("p1") == [("c1", b"a")]
    if is_early:
        store.gc(21.0 + 7 * DAY)
    else:
        assert values(store, receiver) == [naming("p1")]
        store.commit(turn(receiver, row(2), mail=1, consumed=1, payloads=[(2, "p1")]))
        store.delete([receiver.key], force=True, now=40.0)
    store.gc(22.0 + 7 * DAY)
    assert payloads(store) == []


def test_code_goes_when_it_is_not_the_latest_and_no_run_is_pinned_to_it(store: SqliteStore) -> None:
    for number in range(3):
        for kind in ("flow", "step", "class"):
            store.put_code(CodeRecord(kind, "checkout", f"{kind}-{number}", b"1234", "m", 10.0 + number))
    run, _ = store.start(new_run()._replace(code="flow-0"))
    assert store.gc(30.0) == (3, 12)
    left = {code.digest for code in store.codes()}
    assert left == {"flow-0", "flow-2", "step-2", "class-0", "class-1", "class-2"}, "stored values name classes"
    store.delete([run.key], force=True, now=31.0)
    store.gc(32.0)
    assert "flow-0" not in {code.digest for code in store.codes()}


def test_code_stays_while_a_process_may_take_it_for_the_latest(store: SqliteStore) -> None:
    store.put_code(CodeRecord("flow", "checkout", "d1", b"1", "m", 10.0))
    older = store.register("has put d1, and would pin a run to it", 15.0)
    store.put_code(CodeRecord("flow", "checkout", "d2", b"2", "m", 20.0))
    younger = store.register("has never seen d1", 25.0)
    assert store.gc(30.0) == (0, 0)
    store.retire(older, 31.0)
    assert store.gc(32.0) == (1, 1)
    assert [code.digest for code in store.codes()] == ["d2"]
    store.retire(younger, 33.0)


def test_early_signals_that_nobody_came_for_go(store: SqliteStore) -> None:
    for at in (10.0, 11.0):
        store.signal(f"at {at}", letter(value=b"true"), at, before_start=True)
    assert store.gc(10.0 + 7 * DAY) == (0, 0)
    assert store.gc(10.5 + 7 * DAY) == (1, 4)
    assert store.database.read("select id from early") == [("at 11.0",)]


def test_a_log_that_needs_everything_loses_nothing(store: SqliteStore) -> None:
    run = carried(store)
    store.put_payload("p1", 1, [("c1", b"a")])
    store.commit(turn(run, row(2), payloads=[(2, "p1")], release=waiting()))
    assert store.gc(30.0) == (0, 0)


# how large it is


def test_bytes_are_counted_by_table(store: SqliteStore) -> None:
    empty = store.sizes()
    assert {name for name, size in empty.items() if size} <= {"file", "wal"}
    tables = {name for (name,) in store.database.read("select name from sqlite_master where type = 'table'")}
    small = {"sqlite_sequence", "log", "owner", "payload_chunk", "payload_ref"}
    small |= {"queue", "admission", "session", "schedule"}
    assert set(empty) == (tables - small) | {"file", "wal"}
    run = carried(store, "watched")
    store.put_payload("p1", 3, [("c1", b"abc")])
    store.put_output(run.key, [OutputRecord(None, 1, "stdout", "abcd", 11.0)])
    store.put_code(CodeRecord("flow", "checkout", "d1", b"1234", "m", 10.0))
    work = [NewWork(2, "add", b"12", None, None)]
    store.commit(turn(run, row(2), work=work, state=[("k", b"12345")], watches=[("watched", 2)]))
    pruned = carried(store, "pruned")
    store.commit(turn(pruned, release=Release("completed", None)))
    store.expire([pruned.key], 13.0)
    store.signal("watched", letter(key="k1"), 12.0, before_start=False)
    store.signal("nobody", letter(), 12.0, before_start=True)
    sizes = store.sizes()
    assert all(sizes[name] > 0 for name in sizes if name not in ("file", "wal"))
    assert (sizes["chunk"], sizes["output"], sizes["state"], sizes["work"]) == (5, 4, 6, 5)


def test_the_size_of_the_file_and_of_what_was_written_ahead(filed: SqliteStore, path: str) -> None:
    carried(filed)
    sizes = filed.sizes()
    assert (sizes["file"], sizes["wal"]) == (os.path.getsize(path), os.path.getsize(f"{path}-wal"))
