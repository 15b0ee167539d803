import pytest

from durable_nb.errors import LogError
from durable_nb.stores.shapes import CodeRecord, OutputRecord, Query, Release
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import carried, new_run, row, turn


def test_a_run_is_found_by_id_and_by_key(store: SqliteStore) -> None:
    run, _ = store.start(new_run())
    assert store.run("order-1") == store.run_by_key(run.key) == run
    assert store.run("order-2") is None
    assert store.run_by_key(run.key + 1) is None


def test_runs_are_found_newest_first_in_pages(store: SqliteStore) -> None:
    for number in range(5):
        store.start(new_run(f"run-{number}"))
    first = store.find(Query(limit=2))
    assert [run.id for run in first] == ["run-4", "run-3"]
    assert [run.id for run in store.find(Query(limit=9, before=first[-1].key))] == ["run-2", "run-1", "run-0"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (Query(flow="ship"), ["c", "b"]),
        (Query(flow="ship", status="failed"), ["b"]),
        (Query(status="failed"), ["b", "a"]),
        (Query(status="failed", since=20.0), ["b"]),
        (Query(since=20.0), ["c", "b"]),
        (Query(search="CHECK"), ["a"]),
        (Query(search="no disk"), ["b", "a"]),
        (Query(flow="ship", search="no disk"), ["b"]),
        (Query(status="failed", search="ship"), ["b"]),
        (Query(flow="nothing"), []),
    ],
    ids=str,
)
def test_runs_are_found_by_what_is_asked(store: SqliteStore, query: Query, ids: list[str]) -> None:
    owner = store.register("me", 1.0)
    for id, flow, at in [("a", "checkout", 10.0), ("b", "ship", 20.0), ("c", "ship", 30.0)]:
        run, _ = store.start(new_run(id, flow=flow, at=at, owner=owner))
        if id != "c":
            store.commit(turn(run, release=Release("failed", None, "OSError", "No disk")))
    assert [run.id for run in store.find(query)] == ids


def test_runs_are_counted_by_status(store: SqliteStore) -> None:
    assert store.counts() == {}
    carried(store, "a")
    store.start(new_run("b"))
    store.start(new_run("c"))
    assert store.counts() == {"running": 1, "pending": 2}


def test_similar_ids_are_offered(store: SqliteStore) -> None:
    for id in ("order-1", "order-2", "invoice-7"):
        store.start(new_run(id))
    assert store.similar_ids("ordr-1")[0] == "order-1"
    assert store.similar_ids("order", limit=1) in (["order-1"], ["order-2"])
    assert store.similar_ids("zzzz") == []


def test_the_definition_put_last_is_the_latest(store: SqliteStore) -> None:
    old = CodeRecord("flow", "checkout", "d1", b"def 1", "m1", 10.0)
    new = CodeRecord("flow", "checkout", "d2", b"def 2", "m2", 20.0)
    other = CodeRecord("step", "checkout", "d3", b"def 3", "m3", 20.0)
    for each in (old, new, other):
        store.put_code(each)
    assert store.latest_code("flow", "checkout") == new
    assert store.code("d1") == old
    back = old._replace(at=30.0)
    store.put_code(back)
    assert store.latest_code("flow", "checkout") == back
    assert (store.code("d9"), store.latest_code("flow", "ship")) == (None, None)
    assert {code.digest for code in store.codes()} == {"d1", "d2", "d3"}


def test_putting_the_latest_definition_again_writes_nothing(store: SqliteStore) -> None:
    code = CodeRecord("flow", "checkout", "d1", b"def 1", "m1", 10.0)
    store.put_code(code)
    before = written(store)
    store.put_code(code._replace(at=20.0))
    assert written(store) == before
    assert store.code("d1") == code


def test_the_mark_of_a_definition_can_be_replaced(store: SqliteStore) -> None:
    code = CodeRecord("flow", "checkout", "d1", b"def 1", "m1", 10.0)
    store.put_code(code)
    store.replace_code_mark(code._replace(mark="m2", document=b"other"))
    assert store.code("d1") == code._replace(mark="m2")


def test_a_payload_comes_back_chunk_by_chunk(store: SqliteStore) -> None:
    chunks = [("c1", b"a" * 70_000), ("c2", b"b"), ("c1", b"a" * 70_000)]
    store.put_payload("p1", 140_001, chunks)
    assert store.payload("p1") == chunks
    assert store.payload("p2") is None


def test_a_payload_without_chunks_is_there(store: SqliteStore) -> None:
    store.put_payload("empty", 0, [])
    assert store.payload("empty") == []


def test_the_same_bytes_are_stored_once(store: SqliteStore) -> None:
    store.put_payload("p1", 2, [("c1", b"a"), ("c2", b"b")])
    before = written(store)
    store.put_payload("p1", 2, [("c1", b"a"), ("c2", b"b")])
    assert written(store) == before
    store.put_payload("p2", 2, [("c1", b"a"), ("c3", b"c")])
    assert store.database.read("select digest from chunk order by key") == [("c1",), ("c2",), ("c3",)]


def test_a_row_cannot_refer_to_a_payload_that_is_not_there(store: SqliteStore) -> None:
    run = carried(store)
    with pytest.raises(LogError, match="p1 is not in the log"):
        store.commit(turn(run, row(2), payloads=[(2, "p1")]))
    with pytest.raises(LogError, match="p1 is not in the log"):
        store.start(new_run("order-2", payloads=("p1",)))
    assert len(store.history(run.key)) == 1
    assert store.run("order-2") is None


def test_output_is_kept_in_order(store: SqliteStore) -> None:
    run = carried(store)
    pieces = [OutputRecord(None, 1, "stdout", "a\n", 11.0), OutputRecord(2, 3, "stderr", "ü", 12.0)]
    store.put_output(run.key, pieces[:1])
    store.put_output(run.key, pieces[1:])
    store.put_output(run.key, [])
    assert store.output(run.key) == pieces


def test_output_of_a_run_that_is_gone_is_dropped(store: SqliteStore) -> None:
    store.put_output(77, [OutputRecord(None, 1, "stdout", "a\n", 11.0)])
    assert store.output(77) == []


def test_the_log_knows_itself_and_takes_a_mark(store: SqliteStore) -> None:
    log = store.log()
    assert (len(log.uid), log.mark, log.schema) == (32, "", 1)
    store.sign_log("signed")
    assert store.log() == log._replace(mark="signed")


def test_a_commit_of_others_changes_the_number_of_changes_and_our_own_does_not(filed: SqliteStore, path: str) -> None:
    other = open_sqlite(path, "process")
    before, others = filed.changes(), other.changes()
    assert filed.changes() == before
    filed.start(new_run())
    assert filed.changes() == before
    assert other.changes() != others
    other.close()


def written(store: SqliteStore) -> int:
    """How many rows the store has ever written."""
    return store.database.transact(lambda connection: connection.total_changes)
