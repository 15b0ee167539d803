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


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (Query(waiting_for="approve"), ["c", "b", "a"]),
        (Query(waiting_for="approve", flow="ship"), ["c", "b"]),
        (Query(waiting_for="approve", status="paused"), ["b"]),
        (Query(waiting_for="approve", parent=1), ["c"]),
        (Query(waiting_for="approve", before=2), ["a"]),
        (Query(waiting_for='say "yes"'), ["d"]),
        (Query(waiting_for="signal"), []),
        (Query(parent=1), ["d", "c"]),
        (Query(parent=1, status="waiting", flow="checkout"), ["d"]),
        (Query(parent=2), []),
        (Query(status="waiting", flow="ship"), ["c"]),
    ],
    ids=str,
)
def test_runs_are_found_by_what_they_wait_for_and_by_who_asked(
    store: SqliteStore, query: Query, ids: list[str]
) -> None:
    owner = store.register("me", 1.0)
    made = [("a", "checkout", "waiting", None, "approve"), ("b", "ship", "paused", None, "approve")]
    made += [("c", "ship", "waiting", 1, "approve"), ("d", "checkout", "waiting", 1, 'say \\"yes\\"')]
    for id, flow, status, parent, name in made:
        run, _ = store.start(new_run(id, flow=flow, owner=owner, parent=parent))
        waits = f'[{{"ask":1,"kind":"timer"}},{{"ask":2,"kind":"signal","name":"{name}"}}]'
        store.commit(turn(run, release=Release(status, None, waits=waits)))
    for id, waits in [("timer", '[{"ask":2,"kind":"timer"}]'), ("odd", "approve"), ("nothing", None)]:
        run, _ = store.start(new_run(id, owner=owner))
        store.commit(turn(run, release=Release("parked", None, waits=waits)))
    run, _ = store.start(new_run("goes on", owner=owner))
    store.commit(turn(run, release=Release("waiting", None, waits='[{"ask":2,"kind":"signal","name":"approve"}]')))
    store.claim_run(run.key, owner, 30.0)
    assert [run.id for run in store.find(query)] == ids
    assert store.count(query) == len(ids)


def test_a_tree_goes_down_before_it_goes_on(store: SqliteStore) -> None:
    keys: dict[str, int] = {}
    for id, parent in [("a", ""), ("b", ""), ("a1", "a"), ("a2", "a"), ("b1", "b"), ("a1x", "a1"), ("a2x", "a2")]:
        keys[id] = store.start(new_run(id, parent=keys.get(parent)))[0].key
    store.start(new_run("a1y", parent=keys["a1"]))
    assert [run.id for run in store.tree(keys["a"])] == ["a", "a1", "a1x", "a1y", "a2", "a2x"]
    assert [run.id for run in store.tree(keys["a2"])] == ["a2", "a2x"]
    assert store.tree(77) == []


@pytest.mark.slow
def test_a_page_of_a_hundred_out_of_a_hundred_thousand_is_what_was_asked_for(filed: SqliteStore) -> None:
    waits = '[{"ask":4,"kind":"signal","name":"%s"}]'
    kinds = [("checkout", "completed", None), ("ship", "failed", None), ("checkout", "waiting", waits % "approve")]
    runs = [
        (f"run-{number}", *kinds[number % 3], number // 100 if number % 2 else None, b"x" * 300)
        for number in range(100_000)
    ]
    insert = """insert into run(id, uid, lease, code, created_at, updated_at, flow, status, waits, parent, arguments)
        values (?1, 'uid', 1, 'code', 1, 1, ?2, ?3, ?4, ?5, ?6)"""
    filed.database.transact(lambda connection: connection.executemany(insert, runs).rowcount)
    queries = [Query(), Query(flow="ship"), Query(status="failed"), Query(flow="checkout", status="failed")]
    queries += [Query(waiting_for="approve"), Query(waiting_for="nothing"), Query(parent=500), Query(before=50_000)]
    queries += [Query(waiting_for="approve", flow="ship"), Query(flow="nothing", status="waiting")]
    assert [len(filed.find(query)) for query in queries] == [100, 100, 100, 0, 100, 0, 50, 100, 0, 0]


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


def test_chunks_may_come_before_their_payload(store: SqliteStore) -> None:
    store.put_chunks((f"c{n}", bytes([n]) * 900_000) for n in range(5))
    assert store.put_payload("p1", 4_500_000, [(f"c{n}", None) for n in range(5)])
    assert store.payload("p1") == [(f"c{n}", bytes([n]) * 900_000) for n in range(5)]
    before = written(store)
    store.put_chunks([("c1", b"other bytes of that name")])
    assert written(store) == before


def test_a_payload_whose_chunks_are_gone_is_not_put(store: SqliteStore) -> None:
    store.put_chunks([("c1", b"a"), ("c2", b"b")])
    store.gc(20.0)
    assert not store.put_payload("p1", 2, [("c1", None), ("c2", None)])
    assert store.payload("p1") is None
    assert store.put_payload("p1", 2, [("c1", b"a"), ("c2", b"b")])
    assert store.put_payload("p1", 2, [("c1", None), ("c2", None)]), "it is there"
    assert store.payload("p1") == [("c1", b"a"), ("c2", b"b")]


def test_a_payload_of_many_chunks_comes_in_order(store: SqliteStore) -> None:
    chunks = [(f"c{n}", b"%d" % n) for n in range(100)]
    store.put_payload("p1", 190, chunks)
    assert store.payload("p1") == chunks
    assert store.payload("p1", 7, 20) == chunks[7:27]
    assert store.payload("p1", 90) == chunks[90:]
    assert store.payload("p1", 100, 5) == []
    assert store.payload("p2", 100, 5) is None


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
