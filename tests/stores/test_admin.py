import pytest

from durable_nb.stores.shapes import NewWork, OutputRecord, Query, Release
from durable_nb.stores.sqlite import SqliteStore
from tests.stores.examples import carried, letter, new_run, row, turn, waiting
from tests.stores.whole import found, picture

TABLES = ["run", "event", "inbox", "signal_key", "watch", "state", "work", "output"]
TABLES += ["payload", "chunk", "payload_chunk", "payload_ref"]


def sizes(store: SqliteStore) -> dict[str, int]:
    return {table: store.database.read(f"select count(*) from {table}")[0][0] for table in TABLES}


def test_a_deleted_run_leaves_nothing_behind(store: SqliteStore) -> None:
    run = carried(store)
    store.put_payload("p1", 1, [("c1", b"a")])
    store.put_output(run.key, [OutputRecord(None, 1, "stdout", "a", 11.0)])
    store.commit(turn(run, row(2), work=[NewWork(2, "add", b"", None, None)], payloads=[(2, "p1")]))
    store.tell(run.key, letter(key="k1"), 12.0)
    store.commit(turn(run, row(3), state=[("total", b"1")], watches=[("order-1", 3)]))
    assert all(sizes(store).values())
    assert store.delete([run.key], force=True, now=30.0) == []
    assert not any(sizes(store).values())
    assert store.run("order-1") is None


def test_a_run_goes_with_all_below_it_and_with_nothing_beside_it(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    child, _ = store.start(new_run("child", parent=run.key, parent_ask=2))
    store.start(new_run("grandchild", parent=child.key, parent_ask=2))
    store.start(new_run("niece", parent=other.key, parent_ask=2))
    store.delete([run.key], force=True, now=30.0)
    assert [left.id for left in store.find(Query())] == ["niece", "other"]
    store.delete([store.children(other.key)[0].key], force=True, now=30.0)
    assert [left.id for left in store.find(Query())] == ["other"]


def test_what_is_below_a_run_keeps_it_unless_it_may_go_too(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    child = carried(store, "child")
    below, _ = store.start(new_run("below", parent=run.key, parent_ask=2))
    for each in (run, other, child):
        store.commit(turn(each, release=Release("completed", None)))
    assert store.delete([other.key, run.key, child.key], force=False, now=30.0) == [below.key]
    assert len(store.find(Query())) == 4
    assert store.delete([other.key, child.key], force=False, now=30.0) == []
    assert store.delete([run.key, below.key], force=True, now=30.0) == []
    assert store.find(Query()) == []


def test_a_key_is_never_used_twice(store: SqliteStore) -> None:
    first = carried(store)
    store.delete([first.key], force=True, now=30.0)
    assert carried(store).key > first.key


@pytest.mark.parametrize("status", ["waiting", "paused", "parked"])
def test_what_has_not_ended_is_not_deleted_without_force(store: SqliteStore, status: str) -> None:
    run = carried(store)
    assert store.delete([run.key], force=False, now=30.0) == [run.key]
    store.commit(turn(run, release=Release(status, None)))
    assert store.delete([run.key], force=False, now=30.0) == [run.key]
    assert store.run("order-1") is not None
    assert store.delete([77], force=True, now=30.0) == []


def test_an_ended_run_is_deleted_unless_somebody_holds_it(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, release=Release("completed", None)))
    assert run.owner is not None
    seized = store.seize(run.key, run.owner)
    assert seized is not None
    assert store.delete([run.key], force=False, now=30.0) == [run.key]
    store.commit(turn(seized, release=Release("completed", None)))
    assert store.delete([run.key], force=False, now=30.0) == []


def test_a_payload_another_run_refers_to_stays(store: SqliteStore) -> None:
    one, two = carried(store, "one"), carried(store, "two")
    store.put_payload("p1", 1, [("c1", b"a"), ("c2", b"b")])
    store.put_payload("p2", 1, [("c1", b"a"), ("c3", b"c")])
    store.commit(turn(one, row(2), payloads=[(2, "p1"), (2, "p2")]))
    store.commit(turn(two, row(2), payloads=[(2, "p2")]))
    store.delete([one.key], force=True, now=30.0)
    assert store.payload("p1") is None
    assert store.payload("p2") == [("c1", b"a"), ("c3", b"c")]
    assert sizes(store)["chunk"] == 2


def test_a_payload_somebody_has_put_again_and_is_about_to_refer_to_stays(store: SqliteStore) -> None:
    one, two = carried(store, "one"), carried(store, "two")
    store.put_payload("p1", 1, [("c1", b"a")])
    store.commit(turn(one, row(2), payloads=[(2, "p1")]))
    store.put_payload("p1", 1, [("c1", b"a")])
    store.delete([one.key], force=True, now=30.0)
    store.commit(turn(two, row(2), payloads=[(2, "p1")]))
    assert store.payload("p1") == [("c1", b"a")]
    store.delete([two.key], force=True, now=30.0)
    assert store.payload("p1") is None


def test_marks_are_replaced_and_nothing_else(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, row(2), row(3), release=waiting()))
    store.replace_marks(run.key, [row(2, b"signed", kind="other", at=99.0), row(9, b"nowhere")])
    assert store.history(run.key, after=1) == [row(2, b"signed"), row(3)]


def test_the_log_can_be_explored_and_not_changed(store: SqliteStore) -> None:
    store.start(new_run())
    explored = store.explore()
    try:
        assert [each["id"] for each in explored["run"].rows] == ["order-1"]
        if store.database.path != ":memory:":
            with pytest.raises(Exception, match="readonly"):
                explored.conn.execute("delete from run")
    finally:
        explored.conn.close()
    assert store.run("order-1") is not None


def test_what_lies_beside_a_history_is_written_again_and_nothing_else_changes(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    for each in (run, other):
        store.commit(turn(each, row(2), state=[("a", b"1"), ("b", b"1")], note=b"1"))
        store.tell(each.key, letter(key="k1"), 12.0)
    for key in ("k1", "k2"):
        store.signal("later", letter(key=key), 13.0, before_start=True)
    before = picture(store)
    first, second = (signal for _, signal in store.early())
    (mail,) = store.mail(run.key)
    store.replace_beside(run.key, [("a", b"2")], b"2", None)
    store.replace_mail([mail._replace(value=b"2", key="no")])
    store.replace_early([second._replace(value=b"2", key="no")])
    assert store.state(run.key) == {"a": b"2", "b": b"1"}
    assert (found(store, "order-1").note, found(store, "order-1").noted) == (b"2", 1)
    assert store.mail(run.key) == [mail._replace(value=b"2")]
    assert store.early() == [("later", first), ("later", second._replace(value=b"2"))]
    store.replace_beside(run.key, [("a", b"1")], b"1", None)
    store.replace_mail([mail])
    store.replace_early([second])
    assert picture(store) == before


def test_an_outcome_is_written_again(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, row(2), note=b"1", release=Release("completed", None, outcome=b"1")))
    store.replace_beside(run.key, [], None, b"2")
    assert (found(store, "order-1").outcome, found(store, "order-1").note) == (b"2", b"1")
