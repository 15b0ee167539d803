"""Small runs, rows, mail and commits for the tests of the store."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from durable_nb.history.events import Row
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import Commit, NewMail, NewRun, Release, RunRecord, WorkRecord


def row(seq: int, data: bytes = b"1", kind: str = "step", at: float = 10.0) -> Row:
    return Row(seq, kind, None, "add", data, at)


def new_run(
    id: str = "order-1",
    *,
    uid: str | None = None,
    flow: str = "checkout",
    ready_at: float = 10.0,
    owner: int | None = None,
    payloads: tuple[str, ...] = (),
    at: float = 10.0,
    **rest: Any,
) -> NewRun:
    started, uid = Row(1, "started", None, flow, b"{}", at), uid or f"uid of {id}"
    return NewRun(id, uid, flow, None, "code-1", b'{"json": [1]}', started, ready_at, owner, payloads, **rest)


def carried(store: Store, id: str = "order-1", owner: int | None = None) -> RunRecord:
    """A run that is leased from birth."""
    return store.start(new_run(id, owner=store.register("test", 1.0) if owner is None else owner))[0]


def turn(run: RunRecord, *rows: Row, mail: int | None = None, at: float = 20.0, **rest: Any) -> Commit:
    return Commit(run.key, run.lease, run.mail if mail is None else mail, rows, at, **rest)


def waiting(ready_at: float | None = None) -> Release:
    return Release("waiting", ready_at)


def letter(
    kind: str = "signal",
    *,
    wakes: bool = True,
    ask: int | None = None,
    attempt: int | None = None,
    key: str | None = None,
    value: bytes = b"true",
) -> NewMail:
    return NewMail(kind, ask, attempt, "approve", key, value, "pid 1", wakes)


def as_it_is(store: Store, run: RunRecord) -> RunRecord:
    """The row of the run now."""
    found = store.run_by_key(run.key)
    assert found is not None
    return found


def values(store: Store, run: RunRecord) -> list[bytes]:
    """What the mail of the run says, in order."""
    return [mail.value for mail in store.mail(run.key)]


def begun(work: WorkRecord) -> NewMail:
    return letter("attempt", ask=work.ask, attempt=work.attempt, wakes=False)


def seqs(store: Store, run: RunRecord) -> list[int]:
    return [each.seq for each in store.history(run.key)]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread does, where no event can be had from inside the store."""
    for _ in range(60_000):
        if is_so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen within a minute")


def together(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run all at the same moment, a thread each; what each returned or raised."""
    outcomes: list[Any] = [None] * len(works)
    ready = threading.Barrier(len(works))

    def run(number: int) -> None:
        ready.wait()
        try:
            outcomes[number] = works[number]()
        except BaseException as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return outcomes
