import pytest

from durable_nb.errors import LogError
from durable_nb.stores.protocol import LeaseLost, MailArrived
from durable_nb.stores.shapes import NewWork, Release
from durable_nb.stores.sqlite import SqliteStore
from tests.stores.examples import carried, letter, new_run, row, seqs, turn, waiting


def test_a_started_run_is_pending_and_has_its_first_row(store: SqliteStore) -> None:
    record, was_created = store.start(new_run(ready_at=30.0))
    assert was_created
    assert (record.status, record.lease, record.owner, record.ready_at, record.mail) == ("pending", 0, None, 30.0, 0)
    assert (record.execution, record.created_at, record.arguments) == (1, 10.0, b'{"json": [1]}')
    assert store.history(record.key) == [new_run().started]


def test_a_run_started_with_an_owner_is_born_leased(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    record, _ = store.start(new_run(owner=owner))
    assert (record.status, record.lease, record.owner, record.ready_at) == ("running", 1, owner, None)
    assert store.claim(owner, 99.0, 9) == []


def test_starting_an_id_again_returns_the_first_run(store: SqliteStore) -> None:
    first, _ = store.start(new_run(uid="a"))
    second, was_created = store.start(new_run(uid="b", flow="other"))
    assert (second, was_created) == (first, False)
    assert len(store.history(first.key)) == 1


def test_a_start_that_is_tried_again_is_told_that_it_created_the_run(store: SqliteStore) -> None:
    store.start(new_run(uid="a"))
    assert store.start(new_run(uid="a"))[1]


def test_only_due_runs_are_claimed(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    store.start(new_run("early", ready_at=10.0))
    store.start(new_run("late", ready_at=30.0))
    claimed = store.claim(owner, 20.0, 9)
    assert [run.id for run in claimed] == ["early"]
    assert (claimed[0].status, claimed[0].lease, claimed[0].owner, claimed[0].ready_at) == ("running", 1, owner, None)
    assert store.run("early") == claimed[0]
    assert store.claim(owner, 20.0, 9) == []


def test_runs_are_claimed_in_due_order_those_woken_first(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    for id, ready_at in [("new-2", 2.0), ("new-1", 1.0)]:
        store.start(new_run(id, ready_at=ready_at))
    for id, ready_at in [("woken-9", 9.0), ("woken-3", 3.0), ("woken-7", 7.0), ("asleep", 99.0)]:
        run = carried(store, id, owner)
        store.commit(turn(run, release=waiting(ready_at)))
    assert [run.id for run in store.claim(owner, 20.0, 2)] == ["woken-3", "woken-7"]
    assert [run.id for run in store.claim(owner, 20.0, 9)] == ["woken-9", "new-1", "new-2"]


def test_a_run_can_be_claimed_before_it_is_due(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run, _ = store.start(new_run(ready_at=99.0))
    claimed = store.claim_run(run.key, owner, 20.0)
    assert claimed is not None
    assert (claimed.lease, claimed.status) == (1, "running")
    assert store.claim_run(run.key, owner, 20.0) is None


@pytest.mark.parametrize("status", ["paused", "parked", "completed", "failed", "cancelled"])
def test_what_is_stopped_or_ended_is_seized_but_not_claimed(store: SqliteStore, status: str) -> None:
    run = carried(store)
    store.commit(turn(run, release=Release(status, None)))
    owner = store.register("me", 1.0)
    assert store.claim(owner, 99.0, 9) == []
    assert store.claim_run(run.key, owner, 99.0) is None
    seized = store.seize(run.key, owner)
    assert seized is not None
    assert (seized.status, seized.lease, seized.owner) == (status, 2, owner)
    assert store.seize(run.key, owner) is None


def test_a_seized_run_keeps_its_due_time_and_is_nobody_elses(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run, _ = store.start(new_run(ready_at=5.0))
    seized = store.seize(run.key, owner)
    assert seized is not None
    assert (seized.status, seized.ready_at) == ("pending", 5.0)
    assert store.claim(owner, 99.0, 9) == []
    assert store.next_due() is None


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_committed_rows_come_back_as_they_were(store: SqliteStore, count: int) -> None:
    run = carried(store)
    rows = [row(2 + number, data=bytes([number])) for number in range(count)]
    assert store.commit(turn(run, *rows)) == 0
    assert store.history(run.key, after=1) == rows
    assert store.history(run.key, after=2) == rows[1:]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_short_door_for_rows_keeps_what_commit_keeps(store: SqliteStore, count: int) -> None:
    run, rows = carried(store), [row(2 + number, data=bytes([number])) for number in range(count)]
    assert store.append(run.key, run.lease, 0, rows) == 0
    assert store.history(run.key, after=1) == rows
    assert store.append(run.key, run.lease, 0, rows) == 0
    store.tell(run.key, letter(), 11.0)
    assert store.append(run.key, run.lease, 0, [row(9)]) == 1
    with pytest.raises(LogError, match="other content"):
        store.append(run.key, run.lease, 1, [row(2, b"other")])
    with pytest.raises(LeaseLost):
        store.append(run.key, run.lease + 1, 1, [row(10)])
    store.commit(turn(run, mail=1, release=waiting()))
    with pytest.raises(LeaseLost):
        store.append(run.key, run.lease, 1, [row(10)])
    assert seqs(store, run) == [*range(1, 2 + count), 9]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_stale_lease_writes_nothing(store: SqliteStore, count: int) -> None:
    run = carried(store)
    store.commit(turn(run, release=waiting(15.0)))
    assert run.owner is not None
    store.claim(run.owner, 20.0, 1)
    with pytest.raises(LeaseLost):
        store.commit(turn(run, *[row(2 + number) for number in range(count)]))
    assert seqs(store, run) == [1]


def test_a_run_that_was_let_go_accepts_no_more_rows_under_the_old_lease(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, row(2), release=waiting()))
    with pytest.raises(LeaseLost):
        store.commit(turn(run, row(3)))
    assert seqs(store, run) == [1, 2]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_commit_made_again_counts_as_done(store: SqliteStore, count: int) -> None:
    run = carried(store)
    commit = turn(run, *[row(2 + number) for number in range(count)])
    store.commit(commit)
    assert store.commit(commit) == 0
    assert seqs(store, run) == list(range(1, 2 + count))


def test_a_release_made_again_counts_as_done(store: SqliteStore) -> None:
    run = carried(store)
    with_rows, without = turn(run, row(2), release=waiting(15.0)), turn(run, release=waiting(15.0))
    store.commit(with_rows)
    assert store.commit(with_rows) == 0
    assert store.commit(without) == 0


def test_a_commit_made_again_after_somebody_else_went_on_counts_as_done(store: SqliteStore) -> None:
    run = carried(store)
    commit = turn(run, row(2), release=waiting(15.0))
    store.commit(commit)
    assert run.owner is not None
    store.claim(run.owner, 20.0, 1)
    assert store.commit(commit) == 0


def test_other_rows_with_the_same_numbers_are_refused(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, row(2, b"1")))
    with pytest.raises(LogError, match="other content"):
        store.commit(turn(run, row(2, b"2"), row(3)))
    assert store.history(run.key, after=1) == [row(2, b"1")]


def test_a_commit_of_a_deleted_run_has_lost_its_lease(store: SqliteStore) -> None:
    run = carried(store)
    assert store.delete([run.key], force=True, now=30.0) == []
    with pytest.raises(LeaseLost):
        store.commit(turn(run, row(2)))


def test_a_commit_tells_of_mail_it_did_not_know(store: SqliteStore) -> None:
    run = carried(store)
    store.tell(run.key, letter(), 11.0)
    assert store.commit(turn(run, row(2))) == 1
    assert seqs(store, run) == [1, 2]
    assert store.commit(turn(run, row(3), mail=1)) == 1


def test_a_release_is_refused_while_there_is_unknown_mail(store: SqliteStore) -> None:
    run = carried(store)
    store.tell(run.key, letter(), 11.0)
    with pytest.raises(MailArrived):
        store.commit(turn(run, row(2), release=waiting()))
    assert seqs(store, run) == [1]
    assert store.run_by_key(run.key) == run._replace(mail=1)
    store.commit(turn(run, row(2), mail=1, consumed=1, release=waiting()))
    assert store.mail(run.key) == []


def test_consumed_mail_and_followed_orders_are_deleted_and_no_other(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    for _ in range(5):
        store.tell(run.key, letter(), 11.0)
    store.tell(other.key, letter(), 11.0)
    numbers = [mail.seq for mail in store.mail(run.key)]
    store.commit(turn(run, row(2), mail=numbers[-1], consumed=numbers[1], taken=[numbers[3]]))
    assert [mail.seq for mail in store.mail(run.key)] == [numbers[2], numbers[4]]
    assert [mail.seq for mail in store.mail(run.key, after=numbers[2])] == [numbers[4]]
    assert len(store.mail(other.key)) == 1


def test_a_release_says_what_the_run_is_from_now_on(store: SqliteStore) -> None:
    run = carried(store)
    parked = Release("parked", None, "Mismatch", "line 3 asks for something else", '{"ask": 2}')
    store.commit(turn(run, release=parked, code="code-2", at=21.0))
    after = store.run_by_key(run.key)
    assert after is not None
    assert (after.status, after.reason, after.sentence, after.waits) == parked[:1] + parked[2:5]
    assert (after.owner, after.ready_at, after.code, after.updated_at, after.ended_at) == (
        None,
        None,
        "code-2",
        21.0,
        None,
    )


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_an_ended_run_has_an_end_an_outcome_and_nothing_open(store: SqliteStore, status: str) -> None:
    run = carried(store)
    store.commit(turn(run, row(2), work=[NewWork(2, "add", b"", None, None)]))
    store.tell(run.key, letter("answer"), 11.0)
    store.commit(turn(run, row(3), mail=1, release=Release(status, None, outcome=b"42"), at=21.0))
    after = store.run_by_key(run.key)
    assert after is not None
    assert (after.status, after.ended_at, after.outcome) == (status, 21.0, b"42")
    assert (store.mail(run.key), store.work(run.key), store.next_due()) == ([], [], None)
    assert not store.tell(run.key, letter(), 22.0)


def test_a_failed_run_that_goes_on_has_no_end_any_more(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, release=Release("failed", None, "ValueError", "no", outcome=b"x")))
    assert run.owner is not None
    seized = store.seize(run.key, run.owner)
    assert seized is not None
    store.commit(turn(seized, row(2, kind="retried"), release=waiting(30.0)))
    after = store.run_by_key(run.key)
    assert after is not None
    assert (after.status, after.ended_at, after.outcome, after.reason) == ("waiting", None, None, None)


def test_mail_has_its_columns_and_rising_numbers_that_are_never_used_twice(store: SqliteStore) -> None:
    run = carried(store)
    assert store.tell(run.key, letter("answer", ask=3, attempt=2), 11.0)
    (mail,) = store.mail(run.key)
    assert (mail.seq, mail.kind, mail.ask, mail.attempt, mail.name) == (1, "answer", 3, 2, "approve")
    assert (mail.key, mail.value, mail.sender, mail.sent_at) == (None, b"true", "pid 1", 11.0)
    store.commit(turn(run, row(2), mail=1, consumed=1))
    store.tell(run.key, letter(), 12.0)
    assert [mail.seq for mail in store.mail(run.key)] == [2]


def test_mail_wakes_a_waiting_run(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, release=waiting(99.0)))
    store.tell(run.key, letter(), 30.0)
    assert store.next_due() == 30.0
    store.tell(run.key, letter(), 31.0)
    assert store.next_due() == 30.0


def test_mail_that_does_not_wake_leaves_the_due_time_alone(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, release=waiting(99.0)))
    store.tell(run.key, letter(wakes=False), 30.0)
    assert store.next_due() == 99.0


@pytest.mark.parametrize("status", ["paused", "parked"])
def test_mail_does_not_wake_what_a_person_has_to_wake(store: SqliteStore, status: str) -> None:
    run = carried(store)
    store.commit(turn(run, release=Release(status, None)))
    assert store.tell(run.key, letter(), 30.0)
    assert store.next_due() is None


def test_mail_does_not_make_a_leased_run_due(store: SqliteStore) -> None:
    run = carried(store)
    store.tell(run.key, letter(), 30.0)
    assert store.next_due() is None
    assert store.run_by_key(run.key) == run._replace(mail=1)


def test_mail_for_nobody_is_reported(store: SqliteStore) -> None:
    assert not store.tell(77, letter(), 30.0)


def test_a_lease_can_be_given_back_without_a_turn(store: SqliteStore) -> None:
    run = carried(store)
    assert store.give_back(run.key, run.lease, 30.0)
    after = store.run_by_key(run.key)
    assert after == run._replace(owner=None, ready_at=30.0, updated_at=30.0)


def test_a_lost_lease_is_not_given_back_twice(store: SqliteStore) -> None:
    run = carried(store)
    store.give_back(run.key, run.lease, 30.0)
    assert run.owner is not None
    (claimed,) = store.claim(run.owner, 30.0, 1)
    assert store.give_back(run.key, run.lease, 40.0)
    assert store.run_by_key(run.key) == claimed
