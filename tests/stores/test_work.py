from typing import Any

import pytest

from durable_nb.errors import LogFull
from durable_nb.stores.shapes import NewMail, NewWork, Release, RunRecord, WorkRecord
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import begun, carried, letter, row, turn, waiting


def with_work(store: SqliteStore, *new: NewWork) -> RunRecord:
    run = carried(store)
    store.commit(turn(run, *[row(each.ask) for each in new], work=new, at=20.0))
    return run


def taken(store: SqliteStore, now: float = 30.0) -> WorkRecord:
    """The one due work, claimed by a new owner."""
    (work,) = store.claim_work(store.register("worker", 1.0), now, 9)
    return work


def at_work(store: SqliteStore, now: float = 30.0) -> WorkRecord:
    """The same, begun."""
    work = store.begin_work(taken(store, now), now, begun)
    assert work is not None
    return work


def told(store: SqliteStore, run: RunRecord) -> list[tuple[str, int | None, int | None]]:
    return [(mail.kind, mail.ask, mail.attempt) for mail in store.mail(run.key)]


def test_work_is_claimed_when_it_is_due_oldest_first(store: SqliteStore) -> None:
    run = with_work(
        store,
        NewWork(2, "late", b"", 40.0, None),
        NewWork(3, "second", b"3", 25.0, None),
        NewWork(4, "first", b"4", None, None),
    )
    owner = store.register("worker", 1.0)
    assert store.next_due() == 20.0
    assert store.claim_work(owner, 10.0, 9) == []
    claimed = store.claim_work(owner, 30.0, 9)
    assert claimed == [
        WorkRecord(run.key, 4, "first", b"4", 0, 0, 20.0, owner, 0, False),
        WorkRecord(run.key, 3, "second", b"3", 0, 0, 25.0, owner, 0, False),
    ]
    assert store.claim_work(owner, 30.0, 9) == []
    assert store.next_due() == 40.0


def test_the_claim_has_a_limit(store: SqliteStore) -> None:
    with_work(store, *[NewWork(2 + number, "add", b"", None, None) for number in range(5)])
    assert [work.ask for work in store.claim_work(store.register("worker", 1.0), 30.0, 2)] == [2, 3]


def test_work_born_with_an_owner_is_its_first_attempt(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run = with_work(store, NewWork(2, "add", b"", None, owner))
    assert store.work(run.key) == [WorkRecord(run.key, 2, "add", b"", 1, 0, 20.0, owner, 0, True)]
    assert store.claim_work(owner, 99.0, 9) == []
    assert store.next_due() is None


def test_an_answer_deletes_the_work_and_reaches_the_run(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    store.commit(turn(run, release=waiting()))
    work = at_work(store)
    assert store.finish_work(work, [letter("answer", ask=2, attempt=1)], 31.0)
    assert store.work(run.key) == []
    assert told(store, run) == [("attempt", 2, 1), ("answer", 2, 1)]
    assert store.next_due() == 31.0


def test_an_answer_counts_once(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = at_work(store)
    assert store.finish_work(work, [letter("answer")], 31.0)
    assert not store.finish_work(work, [letter("answer")], 31.0)
    assert not store.postpone_work(work, 50.0, [letter("answer")], 31.0)
    assert [mail.kind for mail in store.mail(run.key)] == ["attempt", "answer"]


@pytest.mark.parametrize("change", [{"attempt": 2}, {"owner": 77}, {"ask": 3}, {"owner": None}], ids=str)
def test_an_attempt_that_is_not_open_answers_nothing(store: SqliteStore, change: dict[str, Any]) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = at_work(store)
    assert not store.finish_work(work._replace(**change), [letter("answer")], 31.0)
    assert not store.postpone_work(work._replace(**change), 50.0, [letter("answer")], 31.0)
    assert (store.work(run.key), told(store, run)) == ([work], [("attempt", 2, 1)])


def test_a_failed_attempt_frees_the_work_until_it_is_due(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = at_work(store)
    assert store.postpone_work(work, 50.0, [letter("attempt_failed", wakes=False)], 31.0)
    assert store.work(run.key) == [work._replace(owner=None, due=50.0, is_open=False)]
    assert [mail.kind for mail in store.mail(run.key)] == ["attempt", "attempt_failed"]
    assert store.claim_work(store.register("worker", 1.0), 49.0, 9) == []
    assert at_work(store, 50.0).attempt == 2


def test_dropped_work_is_gone(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None), NewWork(3, "add", b"", None, None))
    store.commit(turn(run, dropped=[2]))
    assert [work.ask for work in store.work(run.key)] == [3]


def test_next_due_is_the_earliest_of_runs_and_work(store: SqliteStore) -> None:
    assert store.next_due() is None
    run = with_work(store, NewWork(2, "add", b"", 40.0, None))
    assert store.next_due() == 40.0
    store.commit(turn(run, release=waiting(35.0)))
    assert store.next_due() == 35.0


def test_a_claim_begins_nothing(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = taken(store)
    assert (work.attempt, work.is_open) == (0, False)
    assert (store.work(run.key), told(store, run)) == ([work], [])


def test_an_attempt_is_begun_and_told_in_one_commit(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    claimed = taken(store)
    work = store.begin_work(claimed, 31.0, begun)
    assert work == claimed._replace(attempt=1, told=1, is_open=True)
    assert (store.work(run.key), told(store, run)) == ([work], [("attempt", 2, 1)])


def test_nothing_is_begun_when_its_mail_cannot_be_put(store: SqliteStore) -> None:
    def broken(work: WorkRecord) -> NewMail:
        raise ValueError("no mail")

    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = taken(store)
    with pytest.raises(ValueError, match="no mail"):
        store.begin_work(work, 31.0, broken)
    assert (store.work(run.key), told(store, run)) == ([work], [])


@pytest.mark.parametrize("change", [{"attempt": 1}, {"owner": 77}, {"ask": 3}, {"owner": None}], ids=str)
def test_what_is_not_ours_is_not_begun(store: SqliteStore, change: dict[str, Any]) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = taken(store)
    assert store.begin_work(work._replace(**change), 31.0, begun) is None
    assert (store.work(run.key), told(store, run)) == ([work], [])


def test_an_attempt_is_begun_once(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    claimed = taken(store)
    work = store.begin_work(claimed, 31.0, begun)
    assert work is not None
    assert store.begin_work(claimed, 31.0, begun) is None
    assert store.begin_work(work, 31.0, begun) is None
    assert told(store, run) == [("attempt", 2, 1)]


def test_work_that_was_buried_meanwhile_is_not_begun(path: str) -> None:
    lost, here = open_sqlite(path), open_sqlite(path)
    with_work(lost, NewWork(2, "add", b"", None, None))
    work = taken(lost)
    assert work.owner is not None
    lost._owners._locks.drop(work.owner)  # as another program can, that closes the file in the same process
    here.bury(30.0)
    assert lost.begin_work(work, 31.0, begun) is None
    assert at_work(here).attempt == 1
    lost.close()
    here.close()


def test_work_of_an_ended_run_is_not_begun(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = taken(store)
    store.commit(turn(run, release=Release("completed", None)))
    assert store.begin_work(work, 31.0, begun) is None


def test_the_second_attempt_tells_of_the_first_that_was_born_claimed(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run = with_work(store, NewWork(2, "add", b"", None, owner), NewWork(3, "add", b"", None, owner, begun=2))
    store.retire(owner, 21.0)
    for work in store.claim_work(store.register("worker", 1.0), 30.0, 9):
        store.begin_work(work, 30.0, begun)
    assert told(store, run) == [("attempt", 2, 1), ("attempt", 2, 2), ("attempt", 3, 3), ("attempt", 3, 4)]


def test_an_attempt_of_which_its_failure_told_is_not_told_of_again(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run = with_work(store, NewWork(2, "add", b"", None, owner))
    (work,) = store.work(run.key)
    mails = [begun(work), letter("attempt_failed", ask=2, attempt=1)]
    assert store.postpone_work(work, 25.0, mails, 21.0)
    at_work(store)
    assert told(store, run) == [("attempt", 2, 1), ("attempt_failed", 2, 1), ("attempt", 2, 2)]


@pytest.mark.parametrize("is_begun", [False, True])
def test_work_is_given_back_without_a_crash(store: SqliteStore, is_begun: bool) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = at_work(store) if is_begun else taken(store)
    assert store.give_back_work(work, 32.0)
    assert store.work(run.key) == [work._replace(owner=None, is_open=False)]
    assert store.give_back_work(work, 32.0)
    assert at_work(store).attempt == 1 + is_begun


def test_work_is_given_back_when_its_beginning_was_committed_and_nobody_knew(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = taken(store)
    store.begin_work(work, 31.0, begun)
    store.give_back_work(work, 32.0)
    assert [(each.owner, each.is_open, each.attempt) for each in store.work(run.key)] == [(None, False, 1)]


def test_the_work_of_somebody_else_is_not_given_back(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    work = at_work(store)
    store.give_back_work(work._replace(owner=77), 32.0)
    store.give_back_work(work._replace(attempt=2), 32.0)
    assert store.work(run.key) == [work]


def test_work_cannot_be_given_back_to_a_full_log(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with_work(store, NewWork(2, "add", b"", None, None))
    work = taken(store)

    def full(change: Any) -> None:
        raise LogFull

    monkeypatch.setattr(store.database, "transact", full)
    assert not store.give_back_work(work, 32.0)


def test_resume_and_retry_forgive_crashes(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run = with_work(store, NewWork(2, "add", b"", None, owner))
    store.database.one("update work set crashes = 4 where run = ?", (run.key,))
    store.commit(turn(run, forgives=True))
    assert [work.crashes for work in store.work(run.key)] == [0]
