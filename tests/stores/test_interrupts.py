import _thread
import signal
import threading
from typing import Any

import pytest

from durable_nb.stores import database
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import carried, new_run, row, seqs, turn, until

pytestmark = pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="no signals")


def test_ctrl_c_during_a_commit_comes_after_it(store: SqliteStore) -> None:
    run = carried(store)

    def interrupt(moment: str) -> None:
        if moment == "before commit":
            signal.raise_signal(signal.SIGINT)

    database.crash_point = interrupt
    with pytest.raises(KeyboardInterrupt):
        store.commit(turn(run, row(2)))
    database.crash_point = None
    assert seqs(store, run) == [1, 2]
    store.commit(turn(run, row(3)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_spares_commits_is_left_in_place(store: SqliteStore) -> None:
    class Careful:
        spares_commits = True
        pressed = 0

        def handle(self, number: int, frame: Any) -> None:
            self.pressed += 1

    careful = Careful()
    before = signal.signal(signal.SIGINT, careful.handle)
    try:
        database.crash_point = lambda moment: signal.raise_signal(signal.SIGINT)
        store.start(new_run())
    finally:
        signal.signal(signal.SIGINT, before)
    assert careful.pressed == 2


def test_ctrl_c_takes_a_waiting_commit_back(store: SqliteStore) -> None:
    """The main thread queues behind another; its commit has not begun and never will."""
    run = carried(store)
    reached, may_go = threading.Event(), threading.Event()

    def hold(moment: str) -> None:
        if moment == "before commit":
            reached.set()
            assert may_go.wait(60)

    database.crash_point = hold
    other = threading.Thread(target=lambda: store.start(new_run("other")))
    other.start()
    assert reached.wait(60)

    def press() -> None:
        until(lambda: bool(store.database._queue))
        _thread.interrupt_main()

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        store.commit(turn(run, row(2)))
    database.crash_point = None
    may_go.set()
    other.join(60)
    presser.join(60)
    assert seqs(store, run) == [1]
    store.commit(turn(run, row(2)))
    assert store.run("other") is not None


def test_ctrl_c_ends_the_wait_for_another_process_and_others_wait_on(filed: SqliteStore, path: str) -> None:
    run, theirs = carried(filed), carried(filed, "theirs")
    outside = open_sqlite(path, "process")
    outside.database._writer.execute("begin immediate")
    outcomes: list[int] = []
    other = threading.Thread(target=lambda: outcomes.append(filed.commit(turn(theirs, row(2)))))

    def press() -> None:
        until(filed.database._mutex.locked)
        other.start()
        until(lambda: bool(filed.database._queue))
        _thread.interrupt_main()

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        filed.commit(turn(run, row(2)))
    presser.join(60)
    assert outcomes == []
    outside.database._writer.execute("rollback")
    other.join(60)
    assert outcomes == [0]
    assert (seqs(filed, run), seqs(filed, theirs)) == ([1], [1, 2])
    filed.commit(turn(run, row(2)))
    outside.close()
