from typing import Any

import pytest

from durable_nb.stores.shapes import NewWork, RunRecord, WorkRecord
from durable_nb.stores.sqlite import SqliteStore
from tests.stores.examples import begun, carried, letter, row, turn, waiting


def with_work(store: SqliteStore, *new: NewWork) -> RunRecord:
    run = carried(store)
    store.commit(turn(run, *[row(each.ask) for each in new], work=new, at=20.0))
    return run


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
    assert store.claim_work(owner, 10.0, 9, begun) == []
    claimed = store.claim_work(owner, 30.0, 9, begun)
    assert claimed == [
        WorkRecord(run.key, 4, "first", b"4", 1, 0, 20.0, owner),
        WorkRecord(run.key, 3, "second", b"3", 1, 0, 25.0, owner),
    ]
    assert store.claim_work(owner, 30.0, 9, begun) == []
    assert store.next_due() == 40.0


def test_the_claim_has_a_limit(store: SqliteStore) -> None:
    with_work(store, *[NewWork(2 + number, "add", b"", None, None) for number in range(5)])
    assert [work.ask for work in store.claim_work(store.register("worker", 1.0), 30.0, 2, begun)] == [2, 3]


def test_work_born_with_an_owner_is_its_first_attempt(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run = with_work(store, NewWork(2, "add", b"", None, owner))
    assert store.work(run.key) == [WorkRecord(run.key, 2, "add", b"", 1, 0, 20.0, owner)]
    assert store.claim_work(owner, 99.0, 9, begun) == []
    assert store.next_due() is None


def test_an_answer_deletes_the_work_and_reaches_the_run(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    store.commit(turn(run, release=waiting()))
    (work,) = store.claim_work(store.register("worker", 1.0), 30.0, 9, begun)
    assert store.finish_work(work, letter("answer", ask=2, attempt=1), 31.0)
    assert store.work(run.key) == []
    assert told(store, run) == [("attempt", 2, 1), ("answer", 2, 1)]
    assert store.next_due() == 31.0


def test_an_answer_counts_once(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    (work,) = store.claim_work(store.register("worker", 1.0), 30.0, 9, begun)
    assert store.finish_work(work, letter("answer"), 31.0)
    assert not store.finish_work(work, letter("answer"), 31.0)
    assert not store.postpone_work(work, 50.0, letter("answer"), 31.0)
    assert [mail.kind for mail in store.mail(run.key)] == ["attempt", "answer"]


@pytest.mark.parametrize("change", [{"attempt": 2}, {"owner": 77}, {"ask": 3}, {"owner": None}], ids=str)
def test_an_attempt_that_is_not_open_answers_nothing(store: SqliteStore, change: dict[str, Any]) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    (work,) = store.claim_work(store.register("worker", 1.0), 30.0, 9, begun)
    assert not store.finish_work(work._replace(**change), letter("answer"), 31.0)
    assert not store.postpone_work(work._replace(**change), 50.0, letter("answer"), 31.0)
    assert (store.work(run.key), told(store, run)) == ([work], [("attempt", 2, 1)])


def test_a_failed_attempt_frees_the_work_until_it_is_due(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    owner = store.register("worker", 1.0)
    (work,) = store.claim_work(owner, 30.0, 9, begun)
    assert store.postpone_work(work, 50.0, letter("attempt_failed", wakes=False), 31.0)
    assert store.work(run.key) == [work._replace(owner=None, due=50.0)]
    assert [mail.kind for mail in store.mail(run.key)] == ["attempt", "attempt_failed"]
    assert store.claim_work(owner, 49.0, 9, begun) == []
    assert [work.attempt for work in store.claim_work(owner, 50.0, 9, begun)] == [2]


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


def test_a_claim_tells_the_run_of_the_attempt_in_the_same_commit(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None), NewWork(3, "add", b"", None, None))
    store.claim_work(store.register("worker", 1.0), 30.0, 9, begun)
    assert told(store, run) == [("attempt", 2, 1), ("attempt", 3, 1)]


def test_a_claim_tells_too_of_a_first_attempt_that_was_born_claimed_and_died(store: SqliteStore) -> None:
    owner = store.register("me", 1.0)
    run = carried(store)
    asked = row(2, b'{"elsewhere":true}')
    store.commit(turn(run, asked, row(3), work=[NewWork(ask, "add", b"", None, owner) for ask in (2, 3)], at=20.0))
    store.retire(owner, 21.0)
    store.claim_work(store.register("worker", 1.0), 30.0, 9, begun)
    assert told(store, run) == [("attempt", 2, 1), ("attempt", 2, 2), ("attempt", 3, 2)]  # 3 was first run in place


def test_work_that_is_answered_by_its_claim_is_gone(store: SqliteStore) -> None:
    run = with_work(store, NewWork(2, "add", b"", None, None))
    (work,) = store.claim_work(
        store.register("worker", 1.0), 30.0, 9, lambda work: letter("crashed", ask=work.ask, attempt=work.attempt)
    )
    assert (work.owner, work.attempt) == (None, 1)
    assert (store.work(run.key), told(store, run)) == ([], [("crashed", 2, 1)])
