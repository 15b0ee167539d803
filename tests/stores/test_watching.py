import pytest

from durable_nb.stores.protocol import LeaseLost, MailArrived
from durable_nb.stores.shapes import Message, NewMail, Release, RunRecord
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import as_it_is, carried, letter, new_run, row, together, turn, waiting

ENDED = ["completed", "failed", "cancelled"]


def news(store: SqliteStore, run: RunRecord) -> list[tuple[str, int | None, str | None]]:
    return [(mail.kind, mail.ask, mail.name) for mail in store.mail(run.key)]


def watches(store: SqliteStore) -> list[tuple[int, int, int]]:
    return store.database.read("select run, by, ask from watch order by 1, 2, 3")  # type: ignore[return-value]


def pair(store: SqliteStore) -> tuple[RunRecord, RunRecord]:
    """One that is watched with ask 2, and one that waits for it."""
    watched, watcher = carried(store, "watched"), carried(store, "watcher")
    store.commit(turn(watcher, row(2), watches=[("watched", 2)], release=waiting()))
    return watched, watcher


@pytest.mark.parametrize("status", ENDED)
def test_the_end_of_a_run_reaches_its_watcher_and_wakes_it(store: SqliteStore, status: str) -> None:
    watched, watcher = pair(store)
    assert (store.mail(watcher.key), store.next_due()) == ([], None)
    store.commit(turn(watched, row(2), at=30.0, release=Release(status, None)))
    (mail,) = store.mail(watcher.key)
    assert (mail.kind, mail.ask, mail.attempt, mail.name, mail.key) == ("ended", 2, None, "watched", None)
    assert (mail.value, mail.sender, mail.sent_at) == (b"{}", "run watched", 30.0)
    assert (as_it_is(store, watcher).mail, store.next_due()) == (mail.seq, 30.0)
    assert watches(store) == []


@pytest.mark.parametrize("status", ["waiting", "paused", "parked"])
def test_what_is_not_an_end_is_no_news(store: SqliteStore, status: str) -> None:
    watched, watcher = pair(store)
    store.commit(turn(watched, row(2), release=Release(status, None)))
    assert news(store, watcher) == []
    assert watches(store) == [(watched.key, watcher.key, 2)]


def test_a_child_is_watched_in_the_commit_that_starts_it(store: SqliteStore) -> None:
    run = carried(store)
    child = new_run("child", parent=run.key, parent_ask=2, owner=run.owner)
    assert store.commit(turn(run, row(2), starts=[child], watches=[("child", 2)])) == 0
    (born,) = store.children(run.key)
    store.commit(turn(born, row(2), release=Release("completed", None)))
    assert news(store, run) == [("ended", 2, "child")]
    with pytest.raises(MailArrived):
        store.commit(turn(run, row(3), release=waiting()))


@pytest.mark.parametrize("status", ENDED)
def test_a_run_that_has_ended_already_is_news_at_once(store: SqliteStore, status: str) -> None:
    watched, watcher = carried(store, "watched"), carried(store, "watcher")
    store.commit(turn(watched, row(2), release=Release(status, None)))
    assert store.commit(turn(watcher, row(2), watches=[("watched", 2)])) == 1
    assert news(store, watcher) == [("ended", 2, "watched")]
    assert watches(store) == []
    store.commit(turn(watcher, row(3), mail=1, at=40.0, watches=[("watched", 3)], release=waiting()))
    assert store.next_due() == 40.0
    assert news(store, watcher) == [("ended", 2, "watched"), ("ended", 3, "watched")]


def test_a_run_that_nobody_has_is_gone(store: SqliteStore) -> None:
    watcher = carried(store)
    assert store.commit(turn(watcher, row(2), watches=[("nobody", 2)])) == 1
    (mail,) = store.mail(watcher.key)
    assert (mail.kind, mail.ask, mail.name, mail.sender) == ("gone", 2, "nobody", "run nobody")


def test_every_watcher_is_told_once_for_each_of_its_asks(store: SqliteStore) -> None:
    watched, watcher = pair(store)
    other = carried(store, "other")
    store.commit(turn(other, row(2), row(3), watches=[("watched", 2), ("watched", 3), ("watcher", 4)]))
    store.commit(turn(watched, row(2), release=Release("completed", None)))
    assert news(store, watcher) == [("ended", 2, "watched")]
    assert news(store, other) == [("ended", 2, "watched"), ("ended", 3, "watched")]
    assert watches(store) == [(watcher.key, other.key, 4)]


def test_a_message_of_an_ending_run_is_before_the_news_of_its_end(store: SqliteStore) -> None:
    watched, watcher = pair(store)
    last = Message("watcher", None, letter())
    store.commit(turn(watched, row(2), messages=[last], release=Release("completed", None)))
    assert [mail.kind for mail in store.mail(watcher.key)] == ["signal", "ended"]


@pytest.mark.parametrize("force", [False, True])
def test_a_deleted_run_is_gone_for_its_watchers(store: SqliteStore, force: bool) -> None:
    watched, watcher = pair(store)
    if not force:
        assert store.delete([watched.key], force=False, now=40.0) == [watched.key]
        assert news(store, watcher) == []
    assert store.delete([watched.key], force=True, now=40.0) == []
    assert news(store, watcher) == [("gone", 2, "watched")]
    assert (store.next_due(), watches(store)) == (40.0, [])
    assert store.delete([watched.key], force=True, now=41.0) == []
    assert len(store.mail(watcher.key)) == 1


def test_a_watched_child_that_is_deleted_with_its_parent_is_news_to_others_only(store: SqliteStore) -> None:
    parent, other = carried(store, "parent"), carried(store, "other")
    starts = [new_run("child", parent=parent.key, parent_ask=2)]
    store.commit(turn(parent, row(2), starts=starts, watches=[("child", 2)]))
    store.commit(turn(other, row(2), watches=[("child", 2), ("parent", 3)]))
    store.delete([parent.key], force=True, now=40.0)
    assert news(store, other) == [("gone", 3, "parent"), ("gone", 2, "child")]
    assert watches(store) == []


@pytest.mark.parametrize("status", ENDED)
def test_an_ended_watcher_watches_nobody(store: SqliteStore, status: str) -> None:
    watched, watcher = carried(store, "watched"), carried(store, "watcher")
    store.commit(turn(watcher, row(2), watches=[("watched", 2)]))
    store.commit(turn(watcher, row(3), watches=[("watched", 3)], release=Release(status, None)))
    assert watches(store) == []
    store.commit(turn(watched, row(2), release=Release("completed", None)))
    assert store.mail(watcher.key) == []


def test_a_deleted_watcher_watches_nobody(store: SqliteStore) -> None:
    watched, watcher = pair(store)
    store.delete([watcher.key], force=True, now=30.0)
    assert watches(store) == []
    store.commit(turn(watched, row(2), release=Release("completed", None)))


def test_a_dropped_ask_watches_nobody(store: SqliteStore) -> None:
    watched, watcher = carried(store, "watched"), carried(store, "watcher")
    store.commit(turn(watcher, row(2), row(3), watches=[("watched", 2), ("watched", 3)]))
    store.commit(turn(watcher, row(4), dropped=[2]))
    assert watches(store) == [(watched.key, watcher.key, 3)]
    store.commit(turn(watched, row(2), release=Release("completed", None)))
    assert news(store, watcher) == [("ended", 3, "watched")]


def test_a_retried_run_ends_once_more_for_those_who_watch_it_again(store: SqliteStore) -> None:
    watched, watcher = pair(store)
    store.commit(turn(watched, row(2), release=Release("failed", None)))
    assert watched.owner is not None
    seized = store.seize(watched.key, watched.owner)
    assert seized is not None
    store.commit(turn(seized, row(3, kind="retried"), release=waiting(30.0)))
    again = store.claim_run(watched.key, watched.owner, 31.0)
    woken = store.claim_run(watcher.key, watched.owner, 31.0)
    assert again is not None
    assert woken is not None
    store.commit(turn(woken, row(3), consumed=1, watches=[("watched", 3)], release=waiting()))
    store.commit(turn(again, row(4), release=Release("completed", None)))
    assert news(store, watcher) == [("ended", 3, "watched")]


def test_a_refused_commit_watches_nobody_and_tells_nobody(store: SqliteStore) -> None:
    watched, watcher = pair(store)
    store.tell(watched.key, NewMail("answer", 2, 1, None, None, b"", "worker", True), 25.0)
    end = turn(watched, row(2), watches=[("watcher", 2), ("nobody", 3)], release=Release("completed", None))
    with pytest.raises(MailArrived):
        store.commit(end)
    with pytest.raises(LeaseLost):
        store.commit(end._replace(lease=7, mail=1))
    assert (news(store, watcher), len(store.mail(watched.key))) == ([], 1)
    assert watches(store) == [(watched.key, watcher.key, 2)]


def test_an_end_is_not_missed_by_a_watch_that_comes_at_the_same_moment(filed: SqliteStore, path: str) -> None:
    other = open_sqlite(path, "process")
    watcher, owner = carried(filed, "watcher"), other.register("other", 1.0)
    for number in range(50):
        watched = carried(other, f"run-{number}", owner)
        watch = turn(watcher, row(2 + number), mail=99, watches=[(watched.id, number)])
        end = turn(watched, row(2), release=Release("completed", None))
        together([lambda watch=watch: filed.commit(watch), lambda end=end: other.commit(end)])
    assert news(filed, watcher) == [("ended", number, f"run-{number}") for number in range(50)]
    assert watches(filed) == []
    other.close()
