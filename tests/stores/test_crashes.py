import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from durable_nb.stores.shapes import NewWork
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import begun, carried, row, seqs, together, turn
from tests.stores.processes import child, heard, rest, tell
from tests.stores.whole import CHANGES, picture, prepare

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes")


@pytest.mark.parametrize("moment", ["before commit", "after commit"])
@pytest.mark.parametrize(("threads", "nth"), [(1, 1), (1, 2), (1, 41), (8, 1), (8, 100)])
def test_what_was_acknowledged_survives_sigkill(path: str, moment: str, threads: int, nth: int) -> None:
    with child("commit_until_killed", path, str(threads), moment, str(nth)) as process:
        acknowledged = [line.split() for line in rest(process)]
        assert process.wait(60) == -signal.SIGKILL
    store = open_sqlite(path)
    for number in range(threads):
        run = store.run(f"run-{number}")
        assert run is not None
        there = seqs(store, run)
        told = [int(seq) for thread, seq in acknowledged if int(thread) == number]
        assert there == list(range(1, len(there) + 1)), "no gaps"
        assert told == list(range(2, 2 + len(told)))
        # One more may be there: it was committed, and the process died before it could say so.
        assert len(there) - 1 - len(told) in ((0, 1) if threads > 1 or moment == "after commit" else (0,))
    store.close()


@pytest.mark.parametrize("moment", ["before commit", "after commit"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_there_whole_or_not_at_all_and_may_be_made_again(path: str, change: str, moment: str) -> None:
    twin, store = open_sqlite(":memory:"), open_sqlite(path)
    prepare(twin)
    prepare(store)
    before = picture(twin)
    assert picture(store) == before
    store.close()
    CHANGES[change](twin)
    after = picture(twin)
    twin.close()
    with child("change_and_die", path, change, moment) as process:
        assert process.wait(60) == -signal.SIGKILL
    store = open_sqlite(path)
    assert picture(store) == (before if moment == "before commit" else after)
    CHANGES[change](store)
    assert picture(store) == after
    store.close()


def test_a_killed_owner_is_buried_at_once_and_no_living_one(path: str) -> None:
    store = open_sqlite(path)
    me = store.register("me", 1.0)
    with child("own", path) as process:
        owner = int(heard(process))
        assert store.bury(30.0) == []
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert store.bury(30.0) == []
        assert [(each.key, each.is_alive, each.runs) for each in store.owners()] == [(me, True, 0), (owner, True, 1)]
        process.kill()
        process.wait(60)
    assert [(each.key, each.is_alive) for each in store.owners()] == [(me, True), (owner, False)]
    assert store.bury(30.0) == [owner]
    assert store.bury(30.0) == []
    (run,) = store.claim(me, 30.0, 9)
    assert (run.id, run.lease) == ("held", 2)
    (work,) = store.claim_work(me, 30.0, 9)
    assert (work.attempt, work.crashes, work.is_open) == (1, 1, False)
    assert [each.key for each in store.owners()] == [me]
    store.close()


# What one process does with work, commit by commit: the work is begun as often, and its crashes are so many, as it died
# within an attempt. Each case: who is killed at which commit, and attempt and crashes of the work after the burial.
_KILLED = [
    ("before commit", 1, (0, 0), []),  # the claim
    ("after commit", 1, (0, 0), []),
    ("before commit", 2, (0, 0), []),  # the beginning
    ("after commit", 2, (1, 1), [1]),
    ("before commit", 3, (1, 1), [1]),  # the failure
    ("after commit", 3, (1, 0), [1]),
    ("before commit", 4, (1, 0), [1]),  # the second claim
    ("after commit", 4, (1, 0), [1]),
    ("before commit", 5, (1, 0), [1]),  # the second beginning
    ("after commit", 5, (2, 1), [1, 2]),
    ("before commit", 6, (2, 1), [1, 2]),  # the answer
]


@pytest.mark.parametrize(("moment", "nth", "counted", "numbers"), _KILLED)
def test_only_an_attempt_that_was_begun_is_a_crash(
    path: str, moment: str, nth: int, counted: tuple[int, int], numbers: list[int]
) -> None:
    store = open_sqlite(path)
    run = carried(store)
    store.commit(turn(run, row(2), work=[NewWork(2, "add", b"", None, None)]))
    with child("work_until_killed", path, moment, str(nth)) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert len(store.bury(50.0)) == 1
    (work,) = store.work(run.key)
    assert (work.attempt, work.crashes) == counted
    assert (work.owner, work.is_open) == (None, False)
    begun_again = store.begin_work(store.claim_work(store.register("next", 1.0), 60.0, 9)[0], 60.0, begun)
    assert begun_again is not None
    assert [mail.attempt for mail in store.mail(run.key) if mail.kind == "attempt"] == [*numbers, counted[0] + 1]
    store.close()


def test_a_foreign_lock_is_waited_for(filed: SqliteStore, path: str) -> None:
    run = carried(filed)
    with child("hold_the_writer", path) as process:
        assert heard(process) == "locked"
        # No thread here could commit before the child lets go, and none is told of a lock.
        works: list[Callable[[], Any]] = [partial(filed.commit, turn(run, row(seq))) for seq in range(2, 6)]
        works.append(lambda: tell(process))
        outcomes = together(works)
        assert heard(process) == "free"
    assert outcomes == [0, 0, 0, 0, None]
    assert seqs(filed, run) == [1, 2, 3, 4, 5]


def test_two_processes_on_one_file_never_see_a_lock(path: str) -> None:
    store = open_sqlite(path)
    run = carried(store, "mine")
    with child("append_many", path, "theirs", "300") as process:
        assert heard(process) == "ready"
        tell(process)
        for seq in range(2, 302):
            store.commit(turn(run, row(seq)))
        assert heard(process) == "done"
        assert process.wait(60) == 0
    theirs = store.run("theirs")
    assert theirs is not None
    assert seqs(store, run) == seqs(store, theirs) == list(range(1, 302))
    store.close()


def test_a_log_is_made_once_although_six_processes_open_it_at_once(path: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(child("open_at_once", path)) for _ in range(6)]
        assert [heard(process) for process in processes] == ["ready"] * 6
        for process in processes:
            tell(process)
        uids = {heard(process) for process in processes}
        assert [process.wait(60) for process in processes] == [0] * 6
    store = open_sqlite(path)
    assert uids == {store.log().uid}
    store.close()
