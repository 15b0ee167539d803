"""The limits of queues, in the claim of a store: places, rates, turns of keys, priorities; who holds a session."""

from typing import Any

import pytest

from durable_nb.stores.shapes import Limits, NewWork, Release, RunRecord, WorkRecord
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import begun, carried, letter, row, together, turn


def queued(store: SqliteStore, *new: NewWork, id: str = "order-1", **limits: Any) -> RunRecord:
    """A run with that work, whose asks are 2, 3, and so on."""
    run = carried(store, id)
    work = [each._replace(ask=2 + number) for number, each in enumerate(new)]
    store.commit(turn(run, *[row(each.ask) for each in work], work=work, at=20.0))
    if limits:
        store.put_queue("gpu", Limits(**limits))
    return run


def one(key: str = "", **rest: Any) -> NewWork:
    return NewWork(0, "add", b"", rest.pop("due", None), None, queue="gpu", queue_key=key, **rest)


def claimed(store: SqliteStore, owner: int, now: float = 30.0, limit: int = 99, *tags: str) -> list[WorkRecord]:
    """Claimed, and begun at once."""
    found = [store.begin_work(work, now, begun) for work in store.claim_work(owner, now, limit, tags)]
    return [work for work in found if work is not None]


def asks(work: list[WorkRecord]) -> list[int]:
    return [each.ask for each in work]


def finish(store: SqliteStore, work: WorkRecord, now: float = 31.0) -> bool:
    return store.finish_work(work, [letter("returned", ask=work.ask, attempt=work.attempt)], now)


def test_a_queue_lets_in_as_many_as_have_a_place(store: SqliteStore) -> None:
    queued(store, *[one()] * 5, concurrency=2)
    here, there = store.register("here", 1.0), store.register("there", 1.0)
    first, second = claimed(store, here)
    assert (claimed(store, there), store.next_due(there)) == ([], None)
    assert not store.has_room("gpu", 30.0)
    assert finish(store, first)
    assert asks(claimed(store, there)) == [4]
    assert finish(store, second)
    assert asks(claimed(store, there)) == [5]


def test_each_process_has_its_own_places(store: SqliteStore) -> None:
    queued(store, *[one()] * 5, per_worker=1)
    here, there = store.register("here", 1.0), store.register("there", 1.0)
    assert [asks(claimed(store, owner)) for owner in (here, there, here, there)] == [[2], [3], [], []]
    assert store.next_due(store.register("fresh", 1.0)) == 20.0


def test_a_rate_is_kept_in_every_window(store: SqliteStore) -> None:
    queued(store, *[one()] * 6, rate_count=2, rate_period=10.0)
    owner = store.register("here", 1.0)
    assert asks(claimed(store, owner, 30.0)) == [2, 3]
    assert store.next_due(owner, now=30.0) == 40.0
    assert claimed(store, owner, 39.9) == []
    assert asks(claimed(store, owner, 40.0, 1)) == [4]
    assert asks(claimed(store, owner, 45.0)) == [5]
    assert (claimed(store, owner, 49.0), store.next_due(owner)) == ([], 50.0)
    assert asks(claimed(store, owner, 50.0)) == [6]


def test_whoever_is_behind_in_time_begins_no_earlier_than_the_one_before(store: SqliteStore) -> None:
    run = queued(store, *[one()] * 3, rate_count=2, rate_period=10.0)
    owner = store.register("here", 1.0)
    claimed(store, owner, 30.0, 1)
    claimed(store, owner, 29.5, 1)
    assert [mail.sent_at for mail in store.mail(run.key)] == [30.0, 30.0]
    assert claimed(store, owner, 39.9) == []


def test_a_clock_set_far_back_does_not_bar_a_queue(store: SqliteStore) -> None:
    queued(store, *[one()] * 3, rate_count=1, rate_period=10.0)
    owner = store.register("here", 1.0)
    claimed(store, owner, 1000.0)
    assert asks(claimed(store, owner, 40.0)) == [3]
    assert claimed(store, owner, 49.0) == []


def test_an_undefined_queue_lets_nothing_in_until_somebody_defines_it(store: SqliteStore) -> None:
    queued(store, one())
    owner = store.register("here", 1.0)
    assert (claimed(store, owner), store.next_due(owner), store.limits("gpu")) == ([], None, None)
    store.put_queue("gpu", Limits())
    assert asks(claimed(store, owner)) == [2]


def test_the_newest_limits_are_everybodys(store: SqliteStore) -> None:
    queued(store, *[one()] * 4, concurrency=1)
    owner = store.register("here", 1.0)
    assert asks(claimed(store, owner)) == [2]
    store.put_queue("gpu", Limits(concurrency=3))
    assert store.limits("gpu") == Limits(concurrency=3)
    assert asks(claimed(store, owner)) == [3, 4]


def test_each_key_has_its_turn(store: SqliteStore) -> None:
    run = queued(store, *[one("big")] * 4, one("small"), one("late"), one("small"), concurrency=1)
    owner = store.register("here", 1.0)
    keys = []
    for _ in range(7):
        (work,) = claimed(store, owner)
        keys.append(work.queue_key)
        finish(store, work)
    assert keys == ["big", "late", "small", "big", "small", "big", "big"]
    assert store.work(run.key) == []


def test_each_key_has_its_turn_within_one_claim(store: SqliteStore) -> None:
    queued(store, *[one("big")] * 4, one("small"), one("late"), one("small"), concurrency=9)
    keys = [work.queue_key for work in claimed(store, store.register("here", 1.0), limit=5)]
    assert sorted(keys) == ["big", "big", "late", "small", "small"]


def test_a_higher_priority_goes_first_whatever_its_key(store: SqliteStore) -> None:
    queued(store, one("a"), one("a", priority=5), one("b"), one("b", priority=-1), one("b", priority=5), concurrency=1)
    owner = store.register("here", 1.0)
    order = []
    for _ in range(5):
        (work,) = claimed(store, owner)
        order.append(work.ask)
        finish(store, work)
    assert order == [3, 6, 2, 4, 5]


def test_work_has_the_priority_of_its_run(store: SqliteStore) -> None:
    plain = queued(store, NewWork(0, "add", b"", None, None))
    urgent = store.start(new_urgent(store))[0]
    store.commit(turn(urgent, row(2), work=[NewWork(2, "add", b"", None, None)], at=21.0))
    assert [work.run for work in claimed(store, store.register("here", 1.0))] == [urgent.key, plain.key]


def new_urgent(store: SqliteStore) -> Any:
    from tests.stores.examples import new_run

    return new_run("urgent", owner=store.register("test", 1.0), priority=7)


def test_runs_of_a_higher_priority_are_claimed_first(store: SqliteStore) -> None:
    from tests.stores.examples import new_run

    for id, priority in [("low", -1), ("first", 0), ("high", 2), ("higher", 3), ("second", 0)]:
        store.start(new_run(id, priority=priority))
    owner = store.register("here", 1.0)
    assert store.next_due() == 10.0
    assert [run.id for run in store.claim(owner, 30.0, 3)] == ["higher", "high", "first"]
    assert [run.id for run in store.claim(owner, 30.0, 9)] == ["second", "low"]
    assert store.claim(owner, 30.0, 9) == []


def test_a_limit_of_one_queue_does_not_hold_up_others(store: SqliteStore) -> None:
    queued(store, *[one()] * 3, NewWork(0, "add", b"", 25.0, None), concurrency=1)
    assert asks(claimed(store, store.register("here", 1.0))) == [2, 5]


def test_a_place_is_kept_until_the_body_has_ended_although_its_work_is_gone(store: SqliteStore) -> None:
    run = queued(store, one(), one(), concurrency=1)
    owner = store.register("here", 1.0)
    (work,) = claimed(store, owner)
    store.commit(turn(run, dropped=[2]))
    assert claimed(store, owner) == []
    assert not finish(store, work)
    assert asks(claimed(store, owner)) == [3]


def test_a_place_outlives_a_deleted_run(store: SqliteStore) -> None:
    run = queued(store, one(), concurrency=1)
    owner = store.register("here", 1.0)
    (work,) = claimed(store, owner)
    store.delete([run.key], True, 30.0)
    queued(store, one(), id="order-2")
    assert claimed(store, owner) == []
    store.leave_queue(work, 31.0)
    assert len(claimed(store, owner)) == 1


def test_an_attempt_that_failed_gives_its_place_to_others(store: SqliteStore) -> None:
    queued(store, one(), one(), concurrency=1)
    owner = store.register("here", 1.0)
    (work,) = claimed(store, owner)
    assert store.postpone_work(work, 30.0, [letter("attempt_failed", wakes=False)], 30.0)
    assert asks(claimed(store, owner)) == [3]


def test_the_places_and_sessions_of_the_dead_are_free(path: str) -> None:
    dying, living = open_sqlite(path, "process"), open_sqlite(path, "process")
    run = queued(dying, one(), one(session="s"), concurrency=2)
    owner = dying.register("dying", 1.0)
    assert asks(claimed(dying, owner)) == [2, 3]
    assert living.session_owner("s") == owner
    dying.abandon()
    assert owner in living.bury(40.0)
    assert living.session_owner("s") is None
    again = claimed(living, living.register("living", 1.0), 40.0)
    assert [(work.ask, work.attempt, work.crashes) for work in again] == [(2, 2, 1), (3, 2, 1)]
    assert {work.run for work in again} == {run.key}
    living.close()


def test_one_of_many_who_claim_at_once_gets_the_only_place(path: str) -> None:
    stores = [open_sqlite(path, "process") for _ in range(4)]
    queued(stores[0], *[one(session="s")] * 8, concurrency=1)
    owners = [store.register(f"process {number}", 1.0) for number, store in enumerate(stores)]
    found = together([lambda s=s, o=o: claimed(s, o) for s, o in zip(stores, owners, strict=True)])
    assert sorted(map(len, found)) == [0, 0, 0, 1]
    for store in stores:
        store.close()


def test_tags_of_one_queue_share_its_places(store: SqliteStore) -> None:
    queued(store, one(tag="a"), one(), one(tag="b"), one(tag="a"), concurrency=2)
    owner = store.register("here", 1.0)
    assert asks(claimed(store, owner, 30.0, 99, "b")) == [3, 4]
    assert claimed(store, owner, 30.0, 99, "any") == []


def test_an_idle_session_is_forgotten_when_another_begins(store: SqliteStore) -> None:
    plain = [NewWork(0, "add", b"", None, None, session=name) for name in ("old", "new")]
    queued(store, plain[0], plain[1]._replace(due=900.0))
    owner = store.register("here", 1.0)
    (work,) = claimed(store, owner)
    finish(store, work, 40.0)
    assert store.session_owner("old") == owner
    assert asks(claimed(store, owner, 900.0)) == [3]
    assert (store.session_owner("old"), store.session_owner("new")) == (None, owner)


@pytest.mark.parametrize("keys", [1, 50])
def test_what_was_let_in_is_not_remembered_for_ever(store: SqliteStore, keys: int) -> None:
    number = 1100
    run = queued(store, *[one(str(n % keys)) for n in range(number)], rate_count=5000, rate_period=60.0)
    store.put_queue("gpu", Limits())
    owner = store.register("here", 1.0)
    done = 0
    while work := claimed(store, owner, 30.0 + done):
        done += len(work)
        for each in work:
            finish(store, each)
    assert (done, store.work(run.key)) == (number, [])
    ((kept,),) = store.database.read("select count(*) from admission")
    assert kept <= 1099


def test_what_is_claimed_has_its_place_before_it_begins_and_loses_it_when_given_back(store: SqliteStore) -> None:
    queued(store, one(), one(), concurrency=1)
    owner = store.register("here", 1.0)
    (work,) = store.claim_work(owner, 30.0, 9)
    assert (work.attempt, store.has_room("gpu", 30.0), store.claim_work(owner, 30.0, 9)) == (0, False, [])
    assert store.give_back_work(work, 31.0)
    assert store.has_room("gpu", 31.0)


@pytest.mark.parametrize("knows", [False, True])
def test_the_place_of_a_begun_attempt_is_free_when_it_is_given_back(store: SqliteStore, knows: bool) -> None:
    queued(store, one(), concurrency=1)
    (work,) = store.claim_work(store.register("here", 1.0), 30.0, 9)
    attempt = store.begin_work(work, 30.0, begun)
    assert attempt is not None
    assert not store.has_room("gpu", 30.0)
    assert store.give_back_work(attempt if knows else work, 31.0)
    assert store.has_room("gpu", 31.0)


def test_a_rate_counts_from_the_beginning_of_an_attempt_not_from_its_claim(store: SqliteStore) -> None:
    run = queued(store, one(), one(), rate_count=1, rate_period=10.0)
    owner = store.register("here", 1.0)
    (work,) = store.claim_work(owner, 30.0, 9)
    assert store.begin_work(work, 34.0, begun) is not None
    assert [mail.sent_at for mail in store.mail(run.key)] == [34.0]
    assert (store.claim_work(owner, 43.0, 9), store.next_due(owner, (), 43.0)) == ([], 44.0)
    assert asks(store.claim_work(owner, 44.0, 9)) == [3]


def told(store: SqliteStore, run: RunRecord) -> list[tuple[int | None, bytes]]:
    """Which asks were refused, and whose work holds the key."""
    return [(mail.ask, mail.value) for mail in store.mail(run.key) if mail.kind == "queued"]


def test_work_with_a_key_that_is_held_is_not_added_and_its_run_is_told_by_whom(store: SqliteStore) -> None:
    first = queued(store, one(dedup="k"), one(dedup="other"), concurrency=9)
    second = carried(store, "order-2")
    mark = store.commit(turn(second, row(2), work=[one(dedup="k")._replace(ask=2)], at=20.0))
    assert (told(store, second), store.work(second.key)) == ([(2, b'"order-1"')], [])
    assert mark == store.mail(second.key)[-1].seq
    assert asks(store.work(first.key)) == [2, 3]


def test_of_equal_keys_in_one_commit_the_first_is_added(store: SqliteStore) -> None:
    run = queued(store, one(dedup="k"), one(dedup="k"), one(), one(), concurrency=9)
    assert (asks(store.work(run.key)), told(store, run)) == ([2, 4, 5], [(3, b'"order-1"')])


def test_a_run_that_lets_go_with_its_refused_work_is_woken(store: SqliteStore) -> None:
    queued(store, one(dedup="k"))
    second = carried(store, "order-2")
    release = Release("waiting", None)
    store.commit(turn(second, row(2), work=[one(dedup="k")._replace(ask=2)], at=20.0, release=release))
    assert [run.id for run in store.claim(store.register("here", 1.0), 30.0, 9)] == ["order-2"]


def test_a_key_is_free_again_when_its_work_is_done_or_dropped(store: SqliteStore) -> None:
    run = queued(store, one(dedup="k"), one(dedup="l"), concurrency=9)
    (work, _) = claimed(store, store.register("here", 1.0), 30.0, 9)
    assert finish(store, work)
    store.commit(turn(run, row(9), dropped=[3]))
    other = carried(store, "order-2")
    again = [one(dedup=key)._replace(ask=2 + number) for number, key in enumerate("kl")]
    store.commit(turn(other, row(2), row(3), work=again, at=20.0))
    assert told(store, other) == [(3, b'"order-1"')], "the body of the dropped one still runs"


def test_a_step_is_no_duplicate_of_itself(store: SqliteStore) -> None:
    """Given up by a failed run whose body still runs, and asked for again by its retry."""
    run = queued(store, one(dedup="k"), concurrency=9)
    claimed(store, store.register("here", 1.0))
    store.commit(turn(run, row(9), dropped=[2]))
    store.commit(turn(run, row(10), work=[one(dedup="k")._replace(ask=2, begun=1)]))
    assert (asks(store.work(run.key)), told(store, run)) == ([2], [])


def test_of_two_processes_that_queue_one_key_at_once_one_is_refused(path: str) -> None:
    stores = [open_sqlite(path, "process") for _ in range(4)]
    held = [carried(store, f"order-{number}") for number, store in enumerate(stores)]
    commits = [turn(run, row(2), work=[one(dedup="k")._replace(ask=2)]) for run in held]
    together([lambda s=s, c=c: s.commit(c) for s, c in zip(stores, commits, strict=True)])
    assert sum(len(stores[0].work(run.key)) for run in held) == 1
    assert sum(len(told(stores[0], run)) for run in held) == 3
    for store in stores:
        store.close()
