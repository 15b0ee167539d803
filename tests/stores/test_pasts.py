"""Runs that begin in the middle, runs that were pruned, and the log in numbers."""

from durable_nb.stores.shapes import Commit, Expired, Message, OutputRecord, Past, Query, Release
from durable_nb.stores.sqlite import SqliteStore
from tests.stores.examples import carried, letter, new_run, row, seqs, turn, waiting


def with_past(store: SqliteStore, **parts: object) -> None:
    new = new_run("fork", origin="order-1")
    commit = Commit(0, 0, 0, (row(5), row(6)), 30.0, **parts)  # type: ignore[arg-type]
    past = Past(2, 3, commit, [OutputRecord(None, 1, "stdout", "a", 11.0)])
    assert store.start_with_past(new._replace(started=new.started._replace(seq=4)), past)[1]


def test_a_run_with_a_past_has_all_of_it_and_is_due(store: SqliteStore) -> None:
    origin = carried(store)
    store.put_payload("p1", 1, [("c1", b"a")])
    messages = [Message("fork", "uid of fork", letter(key="k1"))]
    starts = [new_run("child", parent_ask=5)]
    with_past(
        store, payloads=[(6, "p1")], messages=messages, starts=starts, watches=[("child", 5)], state=[("a", b"1")],
        note=b"2",
    )  # fmt: skip
    fork = store.run("fork")
    assert fork is not None
    assert (fork.execution, fork.base, fork.origin, fork.status, fork.ready_at) == (2, 3, "order-1", "pending", 10.0)
    assert (fork.created_at, fork.note) == (30.0, b"2")
    assert seqs(store, fork) == [4, 5, 6]
    assert (store.state(fork.key), len(store.output(fork.key))) == ({"a": b"1"}, 1)
    assert [child.id for child in store.children(fork.key)] == ["child"]
    assert [mail.key for mail in store.mail(fork.key)] == ["k1"]
    assert [each.id for each in store.forks("order-1")] == ["fork"]
    store.delete([origin.key], True, 40.0)
    store.gc(40.0)
    assert store.payload("p1") == [("c1", b"a")]
    child = store.claim_run(store.children(fork.key)[0].key, store.register("me", 1.0), 50.0)
    assert child is not None
    store.commit(turn(child, release=Release("completed", None)))
    assert [mail.kind for mail in store.mail(fork.key)] == ["signal", "ended"]


def test_a_run_that_ended_elsewhere_has_ended(store: SqliteStore) -> None:
    with_past(store, release=Release("failed", None, "OSError", "no van", outcome=b"1"))
    fork = store.run("fork")
    assert fork is not None
    assert (fork.status, fork.reason, fork.sentence, fork.ended_at) == ("failed", "OSError", "no van", 30.0)
    assert fork.ready_at is None


def test_an_id_that_is_taken_stays_who_it_is(store: SqliteStore) -> None:
    run = carried(store, "fork")
    new = new_run("fork", uid="another")
    found, is_created = store.start_with_past(new, Past(2, 3, Commit(0, 0, 0, (row(5),), 30.0)))
    assert (found.key, is_created) == (run.key, False)
    assert seqs(store, run) == [1]


def test_an_expired_run_is_remembered_until_its_id_is_deleted(store: SqliteStore) -> None:
    run = carried(store)
    assert store.expire([run.key], 30.0) == [run.key]
    store.commit(turn(run, release=Release("completed", None), at=20.0))
    assert store.expire([run.key], 30.0) == []
    assert store.expired("order-1") == Expired("order-1", "uid of order-1", "completed", 20.0, 30.0)
    assert store.run("order-1") is None
    again = carried(store)
    store.delete([again.key], True, 40.0)
    assert store.expired("order-1") is None


def test_the_log_in_numbers(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    store.commit(turn(run, row(2, b"{}"), row(3, b'{"due":1}'), row(4, b'{"arguments":{"json":{"due":1}}}')))
    store.commit(turn(run, row(5, b"{}", "attempt"), row(6, b"{}", "raised")._replace(ref=3), row(7, b"{}", "child")))
    store.commit(turn(run, row(8, b"{}", "raised")._replace(ref=7), release=waiting(), at=21.0))
    store.commit(turn(other, release=waiting(99.0), at=25.0))
    store.tell(other.key, letter(wakes=False), 26.0)
    assert store.events() == {
        "started": 2, "step": 3, "attempt": 1, "child": 1, "raised": 2, "attempts": 3, "failed steps": 1,
    }  # fmt: skip
    backlog = store.backlog(26.0)
    assert (backlog["mail"], backlog["runs ready"], backlog["oldest waiting"]) == (1, 0, 21.0)
    assert store.backlog(99.0)["runs ready"] == 1
    assert store.count(Query(status="waiting", flow="checkout")) == 2
