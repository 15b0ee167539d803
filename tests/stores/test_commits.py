import pytest

from durable_nb.errors import LogError
from durable_nb.stores.protocol import IdTaken, LeaseLost, MailArrived
from durable_nb.stores.shapes import Execution, Message, Query, Release
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import as_it_is, carried, letter, new_run, row, seqs, turn, values, waiting
from tests.stores.whole import CHANGES, picture, prepare


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_made_again_changes_nothing(store: SqliteStore, change: str) -> None:
    prepare(store)
    before = picture(store)
    CHANGES[change](store)
    after = picture(store)
    assert after != before
    CHANGES[change](store)
    assert picture(store) == after


def test_a_commit_creates_the_runs_it_asks_for(store: SqliteStore) -> None:
    run = carried(store)
    store.put_payload("p1", 1, [("c1", b"a")])
    store.signal("child", letter(key="k1"), 5.0, before_start=True)
    new = new_run("child", ready_at=30.0, payloads=("p1",), parent=run.key, parent_ask=2, origin="first")
    store.commit(turn(run, row(2), starts=[new, new_run("detached")]))
    (child,) = store.children(run.key)
    assert (child.id, child.status, child.ready_at, child.owner) == ("child", "pending", 30.0, None)
    assert (child.parent, child.parent_ask, child.origin) == (run.key, 2, "first")
    assert store.history(child.key) == [new.started]
    assert (child.mail, values(store, child)) == (1, [b"true"])
    assert store.signal("child", letter(key="k1"), 31.0, before_start=False).what == "repeated"
    assert store.database.read("select run, seq from payload_ref") == [(child.key, 1)]
    detached = store.run("detached")
    assert detached is not None
    assert (detached.parent, detached.parent_ask, detached.origin) == (None, None, None)
    assert store.children(detached.key) == []


def test_children_are_listed_oldest_first(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    ids = ["b", "c", "a"]
    store.commit(turn(run, row(2), starts=[new_run(id, parent=run.key, parent_ask=2) for id in ids[:2]]))
    store.commit(turn(other, row(2), starts=[new_run("no", parent=other.key, parent_ask=2)]))
    store.commit(turn(run, row(3), starts=[new_run(ids[2], parent=run.key, parent_ask=3)]))
    assert [child.id for child in store.children(run.key)] == ids


def test_a_commit_whose_id_another_run_has_writes_nothing(store: SqliteStore) -> None:
    run, friend = carried(store), carried(store, "friend")
    store.start(new_run("taken", uid="a"))
    store.tell(run.key, letter(), 11.0)
    before = picture(store)
    refused = turn(
        run,
        row(2),
        mail=1,
        consumed=1,
        starts=[new_run("free"), new_run("taken", uid="b")],
        messages=[Message("friend", friend.uid, letter())],
        state=[("a", b"1")],
        note=b"1",
        release=waiting(),
    )
    with pytest.raises(IdTaken) as caught:
        store.commit(refused)
    assert caught.value.id == "taken"
    assert picture(store) == before
    assert store.commit(refused._replace(starts=[new_run("free")])) == 1


def test_an_id_taken_by_another_process_is_refused(filed: SqliteStore, path: str) -> None:
    run, other = carried(filed), open_sqlite(path, "process")
    other.start(new_run("child", uid="theirs"))
    with pytest.raises(IdTaken):
        filed.commit(turn(run, row(2), starts=[new_run("child", uid="ours")]))
    assert seqs(filed, run) == [1]
    other.close()


def test_an_id_twice_in_one_commit_is_refused(store: SqliteStore) -> None:
    run = carried(store)
    with pytest.raises(IdTaken):
        store.commit(turn(run, row(2), starts=[new_run("child", uid="a"), new_run("child", uid="b")]))
    assert store.run("child") is None


def test_a_run_that_this_commit_has_created_before_is_left_alone(store: SqliteStore) -> None:
    run = carried(store)
    child, _ = store.start(new_run("child"))
    store.commit(turn(run, row(2), starts=[new_run("child", at=99.0)]))
    assert store.run("child") == child
    assert len(store.history(child.key)) == 1


def test_a_child_cannot_refer_to_a_payload_that_is_not_there(store: SqliteStore) -> None:
    run = carried(store)
    with pytest.raises(LogError, match="p1 is not in the log"):
        store.commit(turn(run, row(2), starts=[new_run("child", payloads=("p1",))]))
    assert (store.run("child"), seqs(store, run)) == (None, [1])


def test_a_child_can_be_born_leased_and_gets_the_messages_of_its_birth(store: SqliteStore) -> None:
    run = carried(store)
    new = new_run("child", owner=run.owner, parent=run.key, parent_ask=2)
    store.commit(turn(run, row(2), starts=[new], messages=[Message("child", new.uid, letter())]))
    (child,) = store.children(run.key)
    assert (child.status, child.owner, child.lease, child.mail) == ("running", run.owner, 1, 1)


def test_state_is_what_was_written_last(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    assert store.state(run.key) == {}
    store.commit(turn(run, row(2), state=[("b", b"1"), ("a", b"1"), ("gone", b"1"), ("a", b"2"), ("gone", None)]))
    store.commit(turn(other, row(2), state=[("a", b"9")]))
    assert list(store.state(run.key).items()) == [("a", b"2"), ("b", b"1")]
    store.commit(turn(run, row(3), state=[("a", None), ("never", None), ("b", None), ("b", b"3")]))
    assert store.state(run.key) == {"b": b"3"}
    assert store.state(other.key) == {"a": b"9"}


def test_a_note_replaces_the_one_before_and_is_counted(store: SqliteStore) -> None:
    run = carried(store)
    assert (run.note, run.noted) == (None, 0)
    store.commit(turn(run, row(2), note=b"1/9"))
    store.commit(turn(run, row(3)))
    store.commit(turn(run, row(4), note=b"2/9"))
    after = as_it_is(store, run)
    assert (after.note, after.noted) == (b"2/9", 2)
    assert store.find(Query(flow="checkout")) == store.find(Query()) == store.find(Query(status="running")) == [after]


def test_the_next_execution_replaces_what_the_run_was_begun_with(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, row(2), state=[("a", b"1")], note=b"1"))
    store.signal("order-1", letter(), 15.0, before_start=False)
    begun = turn(run, row(3, kind="started"), mail=1, next=Execution(2, "code-2", "v2"), code="code-9")
    store.commit(begun._replace(release=Release("waiting", 20.0)))
    after = as_it_is(store, run)
    assert (after.execution, after.base, after.code, after.version) == (2, 2, "code-2", "v2")
    assert after.arguments == run.arguments  # whoever starts the run again means this one
    assert (after.id, after.uid, after.flow, after.status, after.ready_at) == (*run[1:4], "waiting", 20.0)
    assert (store.state(run.key), after.note, values(store, run)) == ({"a": b"1"}, b"1", [b"true"])
    assert run.owner is not None
    (claimed,) = store.claim(run.owner, 20.0, 1)
    assert (claimed.execution, claimed.base) == (2, 2)
    assert seqs(store, run) == [1, 2, 3]


@pytest.mark.parametrize("why", ["lost", "mail"])
def test_a_refused_commit_reaches_nobody(store: SqliteStore, why: str) -> None:
    run, friend = carried(store), carried(store, "friend")
    store.tell(run.key, letter(), 11.0)
    before = picture(store)
    commit = turn(
        run,
        row(2),
        starts=[new_run("child")],
        messages=[Message("friend", friend.uid, letter())],
        state=[("a", b"1")],
        note=b"1",
        next=Execution(1, "code-2", None),
        release=waiting(),
    )
    with pytest.raises(LeaseLost if why == "lost" else MailArrived):
        store.commit(commit._replace(lease=7) if why == "lost" else commit)
    assert picture(store) == before


@pytest.mark.parametrize("why", ["lost", "mail"])
def test_of_several_commits_one_that_is_refused_refuses_all(store: SqliteStore, why: str) -> None:
    run, friend = carried(store), carried(store, "friend")
    store.tell(friend.key, letter(), 11.0)
    before = picture(store)
    last = turn(friend, row(2), release=waiting())
    with pytest.raises(LeaseLost if why == "lost" else MailArrived):
        store.commit_all([turn(run, row(2), release=waiting()), last._replace(lease=7) if why == "lost" else last])
    assert picture(store) == before


def test_several_commits_are_applied_in_their_order(store: SqliteStore) -> None:
    """Who waits for a run that goes on by an earlier one of them is not told that it has ended."""
    child, parent = carried(store, "child"), carried(store, "parent")
    store.commit(turn(child, row(2), release=Release("failed", None)))
    assert child.owner is not None
    again = store.seize(child.key, child.owner)
    assert again is not None
    store.commit_all([turn(again, row(3), release=waiting()), turn(parent, row(2), watches=[("child", 2)])])
    assert store.mail(parent.key) == []
    assert as_it_is(store, child).status == "waiting"


def test_an_interrupted_commit_counts_as_done_after_the_run_was_wrested(store: SqliteStore) -> None:
    prepare(store)
    CHANGES["append"](store)
    sender = store.run("sender")
    assert sender is not None
    assert store.wrest(sender.key, 2) is not None
    after = picture(store)
    CHANGES["append"](store)
    assert picture(store) == after


def test_a_run_is_wrested_from_whoever_holds_it(store: SqliteStore) -> None:
    run, other = carried(store), store.register("other", 1.0)
    wrested = store.wrest(run.key, other)
    assert wrested == run._replace(lease=2, owner=other)
    with pytest.raises(LeaseLost):
        store.commit(turn(run, row(2)))
    assert store.give_back(run.key, run.lease, 30.0)
    assert as_it_is(store, run) == wrested
    store.commit(turn(wrested, row(2), release=Release("cancelled", None, "terminated")))
    assert as_it_is(store, run).status == "cancelled"


@pytest.mark.parametrize("status", ["waiting", "paused", "parked", "completed"])
def test_a_run_nobody_holds_is_wrested_like_one_that_is_seized(store: SqliteStore, status: str) -> None:
    run, other = carried(store), store.register("other", 1.0)
    store.commit(turn(run, release=Release(status, None)))
    wrested = store.wrest(run.key, other)
    assert wrested is not None
    assert (wrested.status, wrested.lease, wrested.owner) == (status, 2, other)
    assert store.wrest(77, other) is None


def test_a_run_wrested_by_a_process_that_dies_is_freed(filed: SqliteStore, path: str) -> None:
    run, other = carried(filed), open_sqlite(path, "process")
    assert filed.wrest(run.key, other.register("other", 1.0)) is not None
    other.abandon()
    filed.bury(40.0)
    assert as_it_is(filed, run)._replace(updated_at=0.0) == run._replace(
        lease=2, owner=None, ready_at=40.0, updated_at=0.0
    )
