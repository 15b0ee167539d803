import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from durable_nb.errors import LogClosed, LogFull
from durable_nb.stores import database
from durable_nb.stores.library import sqlite
from durable_nb.stores.protocol import IdTaken, LeaseLost
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import carried, new_run, row, seqs, together, turn, until


class Gate:
    """Stops the leader right before a commit until it is opened, so that the others have to queue."""

    def __init__(self) -> None:
        self.is_reached, self.may_go = threading.Event(), threading.Event()
        self.commits = 0

    def __call__(self, moment: str) -> None:
        if moment == "before commit":
            self.commits += 1
            self.is_reached.set()
            assert self.may_go.wait(60)


def queued(store: SqliteStore, works: Sequence[Callable[[], Any]]) -> tuple[list[Any], int]:
    """Let one commit wait while `works` queue behind it; their outcomes and the number of commits it took."""
    gate = database.crash_point = Gate()

    def start_first() -> None:
        with suppress(LogFull):
            store.start(new_run("first"))

    first = threading.Thread(target=start_first)
    first.start()
    assert gate.is_reached.wait(60)

    def open_gate() -> None:
        until(lambda: len(store.database._queue) == len(works))
        gate.may_go.set()

    opener = threading.Thread(target=open_gate)
    opener.start()
    outcomes = together(works)
    opener.join(60)
    first.join(60)
    database.crash_point = None
    return outcomes, gate.commits - 1


def start(store: SqliteStore, id: str) -> bool:
    return store.start(new_run(id))[1]


def test_those_who_wait_are_committed_together(store: SqliteStore) -> None:
    works = [partial(start, store, f"run-{number}") for number in range(16)]
    outcomes, commits = queued(store, works)
    assert outcomes == [True] * 16
    assert commits == 1
    assert store.counts() == {"pending": 17}


def test_more_than_a_group_is_handed_on(store: SqliteStore) -> None:
    works = [partial(start, store, f"run-{number}") for number in range(100)]
    outcomes, commits = queued(store, works)
    assert outcomes == [True] * 100
    assert commits == 2


def test_an_error_reaches_only_its_owner(store: SqliteStore) -> None:
    runs = [carried(store, f"run-{number}") for number in range(16)]

    def write_then_fail(connection: Any) -> None:
        connection.execute("update run set sentence = 'half'")
        raise ZeroDivisionError

    def work(number: int) -> Callable[[], Any]:
        if number % 4 == 1:
            return lambda: store.commit(turn(runs[number], row(2))._replace(lease=9))
        if number % 4 == 2:
            return lambda: store.database.transact(write_then_fail)
        return lambda: store.commit(turn(runs[number], row(2), row(3)))

    outcomes, commits = queued(store, [work(number) for number in range(16)])
    assert commits == 1
    for number, outcome in enumerate(outcomes):
        if number % 4 == 1:
            assert isinstance(outcome, LeaseLost)
        elif number % 4 == 2:
            assert isinstance(outcome, ZeroDivisionError)
        else:
            assert outcome == 0
        assert seqs(store, runs[number]) == ([1] if number % 4 in (1, 2) else [1, 2, 3])
    assert store.database.read("select count(*) from run where sentence is not null") == [(0,)]


def test_an_id_that_is_taken_is_told_to_its_owner_only(store: SqliteStore) -> None:
    runs = [carried(store, f"run-{number}") for number in range(8)]
    works = [
        partial(store.commit, turn(run, row(2), starts=[new_run("child", uid=f"uid {number % 4}")]))
        for number, run in enumerate(runs)
    ]
    outcomes, commits = queued(store, works)
    assert commits == 1
    child = store.run("child")
    assert child is not None
    for number, (run, outcome) in enumerate(zip(runs, outcomes, strict=True)):
        is_its_own = child.uid == f"uid {number % 4}"
        assert outcome == 0 if is_its_own else isinstance(outcome, IdTaken)
        assert seqs(store, run) == ([1, 2] if is_its_own else [1])


def test_sixteen_threads_lose_nothing_that_was_acknowledged(path: str) -> None:
    store = open_sqlite(path, "process")
    runs = [carried(store, f"run-{number}") for number in range(16)]

    def carry(number: int) -> Callable[[], int]:
        def work() -> int:
            refused = 0
            for seq in range(2, 102):
                if seq % 10 == number % 10:
                    with pytest.raises(LeaseLost):
                        store.commit(turn(runs[number], row(seq, b"stale"))._replace(lease=0))
                    refused += 1
                if seq % 2:
                    store.append(runs[number].key, 1, 0, [row(seq)])
                else:
                    store.commit(turn(runs[number], row(seq)))
            return refused

        return work

    assert together([carry(number) for number in range(16)]) == [10] * 16
    store.close()
    again = open_sqlite(path, "process")
    for run in runs:
        assert [(each.seq, each.data) for each in again.history(run.key, after=1)] == [(n, b"1") for n in range(2, 102)]
    again.close()


class Unwilling:
    """A connection whose commits fail as often as it is told; everything else is the real one's."""

    def __init__(self, connection: Any, failures: int) -> None:
        self._connection = connection
        self._failures = failures

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql == "commit" and self._failures:
            self._failures -= 1
            error = sqlite.OperationalError("database or disk is full")
            error.sqlite_errorcode = 13
            raise error
        return self._connection.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_a_commit_that_fails_fails_for_everybody_and_may_be_tried_again(store: SqliteStore) -> None:
    runs = [carried(store, f"run-{number}") for number in range(4)]
    works = [partial(store.commit, turn(run, row(2))) for run in runs]
    # The commit that stops the queue is the first, the group the second.
    real = store.database._writer
    store.database._writer = Unwilling(real, 2)  # type: ignore[assignment]
    outcomes, _ = queued(store, works)
    store.database._writer = real
    assert all(isinstance(outcome, LogFull) for outcome in outcomes), outcomes
    assert len({id(outcome) for outcome in outcomes}) == 4
    assert [seqs(store, run) for run in runs] == [[1]] * 4
    assert [work() for work in works] == [0] * 4
    assert [seqs(store, run) for run in runs] == [[1, 2]] * 4


def test_closing_refuses_and_hangs_nobody(path: str) -> None:
    store = open_sqlite(path, "process")
    runs = [carried(store, f"run-{number}") for number in range(8)]
    begun = threading.Barrier(9)

    def carry(number: int) -> Callable[[], int]:
        def work() -> int:
            last = 1
            begun.wait()
            try:
                for seq in range(2, 100_000):
                    store.commit(turn(runs[number], row(seq)))
                    last = seq
            except LogClosed:
                return last
            return 0

        return work

    def close() -> None:
        begun.wait()
        store.close()

    outcomes = together([*[carry(number) for number in range(8)], close])
    again = open_sqlite(path, "process")
    assert [seqs(again, run)[-1] for run in runs] == outcomes[:8]
    again.close()


def test_a_closed_log_says_so_and_closes_again(store: SqliteStore) -> None:
    store.close()
    store.close()
    for verb in (store.counts, store.changes, lambda: store.start(new_run()), lambda: store.heartbeat(1, 2.0)):
        with pytest.raises(LogClosed):
            verb()


def test_a_full_log_says_so_and_the_same_commit_succeeds_later(filed: SqliteStore) -> None:
    run = carried(filed)
    large = row(2, b"x" * 200_000)

    def limit(pages: int) -> None:
        filed.database.transact(lambda connection: connection.execute(f"pragma max_page_count = {pages}").fetchall())

    (pages,) = filed.database.read("pragma page_count")[0]
    limit(pages + 2)
    with pytest.raises(LogFull, match="nothing was lost"):
        filed.commit(turn(run, large))
    with pytest.raises(LogFull):
        filed.append(run.key, run.lease, 0, [large])
    assert filed.commit(turn(run, row(2), row(3))) == 0
    limit(1_000_000)
    assert filed.commit(turn(run, large._replace(seq=4))) == 0
    assert seqs(filed, run) == [1, 2, 3, 4]


def test_a_large_neighbour_that_does_not_fit_does_not_harm_the_others(filed: SqliteStore) -> None:
    runs = [carried(filed, f"run-{number}") for number in range(4)]
    (pages,) = filed.database.read("pragma page_count")[0]
    filed.database.transact(lambda connection: connection.execute(f"pragma max_page_count = {pages + 3}").fetchall())
    works: list[Callable[[], Any]] = [partial(filed.commit, turn(run, row(2))) for run in runs[1:]]
    works.insert(1, lambda: filed.commit(turn(runs[0], row(2, b"x" * 200_000))))
    outcomes, _ = queued(filed, works)
    assert isinstance(outcomes[1], LogFull)
    assert [outcomes[0], *outcomes[2:]] == [0, 0, 0]
    assert [seqs(filed, run) for run in runs] == [[1], [1, 2], [1, 2], [1, 2]]
