"""A log with something of everything, and the verbs that change much of it at once."""

from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import (
    Commit,
    Execution,
    Mail,
    Message,
    NewWork,
    OutputRecord,
    Past,
    Query,
    Release,
    RunRecord,
)
from durable_nb.stores.sqlite import SqliteStore
from tests.stores.examples import carried, letter, new_run, row, turn, waiting

_TABLES = (
    "run",
    "event",
    "inbox",
    "signal_key",
    "early",
    "watch",
    "state",
    "work",
    "code",
    "payload",
    "payload_ref",
    "output",
    "expired",
)


def prepare(store: Store) -> None:
    """A sender that has received one of its three signals, a friend that waits, a child that is signalled early."""
    sender = carried(store, "sender")
    store.commit(turn(carried(store, "friend"), release=waiting()))
    store.signal("child", letter(key="early"), 11.0, before_start=True)
    for key in ("k1", "k2", "k3"):
        store.signal("sender", letter(key=key), 12.0, before_start=False)
    store.put_payload("p1", 1, [("c1", b"a")])
    work = [NewWork(2, "add", b"", None, None)]
    store.commit(turn(sender, row(2), mail=3, taken=[1], work=work, state=[("gone", b"1"), ("kept", b"1")]))
    store.start(new_run("taken"))
    store.commit(turn(carried(store, "done"), release=Release("completed", None)))
    ending = carried(store, "ending")
    store.put_payload("p2", 1, [("c2", b"b")])
    store.commit(turn(ending, row(2), watches=[("friend", 2)], payloads=[(2, "p2")]))
    watching = carried(store, "watching")
    store.commit(turn(watching, row(2), watches=[("ending", 2), ("sender", 3)], release=waiting()))


def whole_turn(sender: RunRecord) -> Commit:
    """One commit with all that a commit can have."""
    back = Mail(1, "signal", None, None, "approve", "k1", b"true", "pid 1", 12.0)
    starts = [new_run("child", parent=sender.key, parent_ask=3, payloads=("p1",)), new_run("taken")]
    messages = [Message(id, None, letter(key="from sender")) for id in ("friend", "child", "sender")]
    return turn(
        sender,
        row(3),
        row(4, kind="started"),
        taken=[sender.mail],
        returned=[back],
        freed=[("approve", "k2")],
        work=[NewWork(3, "add", b"", None, None)],
        dropped=[2],
        starts=starts,
        messages=messages,
        watches=[(id, 3) for id in ("child", "friend", "done", "nobody")],
        state=[("gone", None), ("new", b"2")],
        note=b"3/9",
        next=Execution(3, "code-2", "v2"),
        release=waiting(99.0),
    )


def picture(store: SqliteStore) -> dict[str, list[tuple[object, ...]]]:
    """All that the log holds."""
    return {table: store.database.read(f"select * from {table} order by 1, 2, 3") for table in _TABLES}


def found(store: Store, id: str) -> RunRecord:
    run = store.run(id)
    assert run is not None
    return run


def commit(store: Store) -> None:
    store.commit(whole_turn(found(store, "sender")._replace(lease=1, mail=3)))


def commit_all(store: Store) -> None:
    ending = found(store, "ending")._replace(lease=1)
    sender = found(store, "sender")._replace(lease=1, mail=3)
    store.commit_all([turn(ending, row(3), release=waiting()), whole_turn(sender)])


def append(store: Store) -> None:
    """The same without a release: the lease is still held when it is tried again."""
    sender = found(store, "sender")._replace(lease=1, mail=3)
    store.commit(whole_turn(sender)._replace(release=None))


def start(store: Store) -> None:
    store.start(new_run("child", owner=1))


def signal(store: Store) -> None:
    store.signal("friend", letter(key="k1"), 30.0, before_start=False)


def signal_early(store: Store) -> None:
    store.signal("nobody", letter(key="k1"), 30.0, before_start=True)


def end(store: Store) -> None:
    store.commit(turn(found(store, "ending")._replace(lease=1), row(3), release=Release("failed", None)))


def delete(store: Store) -> None:
    store.delete([run.key for run in store.find(Query(search="ending"))], force=True, now=30.0)


def expire(store: Store) -> None:
    store.expire([run.key for run in store.find(Query(search="done"))], now=30.0)


def start_with_past(store: Store) -> None:
    """A fork with all that it can have."""
    parts = Commit(
        0, 0, 0, (row(5), row(6)), 30.0,
        payloads=[(6, "p1")], starts=[new_run("child of fork")], watches=[("friend", 5), ("done", 6)],
        messages=[Message("fork", "uid of fork", letter(key="k1"))], state=[("kept", b"1")], note=b"3/9",
    )  # fmt: skip
    new = new_run("fork", origin="sender")
    new = new._replace(started=new.started._replace(seq=4))
    store.start_with_past(new, Past(2, 3, parts, [OutputRecord(None, 1, "stdout", "a", 11.0)]))


def gc(store: Store) -> None:
    store.gc(11.0 + 8 * 24 * 3600.0)


CHANGES = {
    each.__name__: each
    for each in (commit, commit_all, append, start, start_with_past, signal, signal_early, end, delete, expire, gc)
}
