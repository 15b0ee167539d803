"""Other processes for the tests: `python -m tests.stores.children NAME ARGUMENTS`. They talk by lines."""

import os
import signal
import sys
import threading

from durable_nb.errors import LogError
from durable_nb.stores import database
from durable_nb.stores.shapes import NewWork
from durable_nb.stores.sqlite import open_sqlite
from tests.stores.examples import begun, carried, letter, new_run, row, turn
from tests.stores.whole import CHANGES


def say(text: str) -> None:
    print(text, flush=True)


def commit_until_killed(path: str, threads: str, moment: str, nth: str) -> None:
    """Append rows to a run per thread, tell of every one acknowledged, and die at the nth such moment."""
    store = open_sqlite(path)
    runs = [carried(store, f"run-{number}") for number in range(int(threads))]
    left, lock = int(nth), threading.Lock()

    def crash(reached: str) -> None:
        nonlocal left
        if reached == moment:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def carry(number: int) -> None:
        for seq in range(2, 10_000):
            if seq % 2:
                store.append(runs[number].key, 1, 0, [row(seq)])
            else:
                store.commit(turn(runs[number], row(seq)))
            with lock:
                say(f"{number} {seq}")

    database.crash_point = crash
    carriers = [threading.Thread(target=carry, args=(number,)) for number in range(int(threads))]
    for carrier in carriers:
        carrier.start()
    for carrier in carriers:
        carrier.join()


def change_and_die(path: str, change: str, moment: str) -> None:
    """Die around the commit of a change."""

    def crash(reached: str) -> None:
        if reached == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    store = open_sqlite(path)
    database.crash_point = crash
    CHANGES[change](store)


def own(path: str) -> None:
    """Become an owner with a leased run and claimed work, and wait."""
    store = open_sqlite(path)
    owner = store.register("child", 1.0)
    run = carried(store, "held", owner)
    store.commit(turn(run, row(2), work=[NewWork(2, "add", b"", None, owner)]))
    say(f"{owner}")
    sys.stdin.readline()


def work_until_killed(path: str, moment: str, nth: str) -> None:
    """Claim and begin the due work; the first attempt fails, the second answers. Die at the nth of these commits."""
    store = open_sqlite(path)
    owner = store.register("child", 1.0)
    left = int(nth)

    def crash(reached: str) -> None:
        nonlocal left
        if reached == moment:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    database.crash_point = crash
    for settle in (
        lambda work: store.postpone_work(work, 31.0, [letter("attempt_failed")], 31.0),
        lambda work: store.finish_work(work, [letter("returned")], 31.0),
    ):
        (work,) = store.claim_work(owner, 31.0, 9)
        begun_work = store.begin_work(work, 31.0, begun)
        assert begun_work is not None
        assert settle(begun_work)


def bury(path: str) -> None:
    store = open_sqlite(path)
    say(" ".join(str(key) for key in store.bury(99.0)))
    store.close()


def checkpoint(path: str) -> None:
    store = open_sqlite(path)
    store.checkpoint(is_idle=True)
    say("in charge")
    sys.stdin.readline()
    store.close()


def hold_the_writer(path: str) -> None:
    """Keep the write lock of the file until a line comes."""
    store = open_sqlite(path)

    def work(connection: object) -> None:
        say("locked")
        sys.stdin.readline()

    store.database.transact(work)
    store.close()
    say("free")


def append_many(path: str, name: str, count: str) -> None:
    store = open_sqlite(path)
    run = carried(store, name)
    say("ready")
    sys.stdin.readline()
    for seq in range(2, 2 + int(count)):
        store.commit(turn(run, row(seq)))
    store.close()
    say("done")


def open_at_once(path: str) -> None:
    say("ready")
    sys.stdin.readline()
    store = open_sqlite(path)
    say(store.log().uid)
    store.close()


def open_as_nobody(path: str) -> None:
    """Permissions mean nothing to root."""
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        store = open_sqlite(path)
        store.start(new_run())
    except LogError as error:
        say(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
