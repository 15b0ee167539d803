"""Accepting a log from elsewhere: everything in it that may execute is signed again, with this user's key."""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from durable_nb.codec.sign import Signer
from durable_nb.errors import Corrupt, Refused
from durable_nb.flows.source.travelling import digest_of
from durable_nb.flows.values import Values
from durable_nb.history import wire
from durable_nb.history.events import Row
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import Mail, Query, RunRecord

_PAGE = 200  # runs looked up at once
_ROWS = 1000  # rows written in one transaction


class Description(NamedTuple):
    """What somebody who accepts the log accepts."""

    uid: str
    is_yours: bool  # the log itself carries your mark
    runs: dict[str, int]  # by status
    flows: tuple[str, ...]  # names whose stored code may run from then on
    steps: tuple[str, ...]
    schedules: tuple[str, ...]  # which start runs by themselves


class Accepted(NamedTuple):
    """What was signed again."""

    runs: int
    rows: int
    codes: int
    unreadable: int  # rows that were left as they are, because nobody can read them


def describe(store: Store, signer: Signer) -> Description:
    """What `trust` would accept; nothing is decoded or executed."""
    log, codes = store.log(), store.codes()
    return Description(
        uid=log.uid,
        is_yours=bool(log.mark) and signer.verify(log.mark, "log", log.uid),
        runs=store.counts(),
        flows=tuple(sorted({code.name for code in codes if code.kind == "flow"})),
        steps=tuple(sorted({code.name for code in codes if code.kind == "step"})),
        schedules=tuple(record.id for record in store.schedules()),
    )


def trust(store: Store, signer: Signer, now: float) -> Accepted:
    """Sign every value, every definition and last the log itself; killed on the way, it can be run again."""
    store.bury(now)
    _refuse_carried(store)
    log = store.log()
    values = Values(store, signer, log.uid)
    runs = rows = unreadable = 0
    for record in _every_run(store):
        signed, broken = _sign_history(store, values, record)
        _sign_beside(store, values, record)
        runs, rows, unreadable = runs + 1, rows + signed, unreadable + broken
        _sign_mail(store, values, record)
    _sign_schedules(store, values)
    _sign_early(store, values)
    codes = _sign_codes(store, values)
    store.sign_log(signer.sign("log", log.uid))
    return Accepted(runs, rows, codes, unreadable)


def _refuse_carried(store: Store) -> None:
    """Whoever carries runs now signs with the other key, beside us and after us."""
    for owner in store.owners():
        if owner.is_alive and owner.runs:
            raise Refused(
                f"{owner.label} on {owner.host} carries runs of this log right now; stop it, then trust the log"
            )


def _every_run(store: Store) -> Iterator[RunRecord]:
    before: int | None = None
    while page := store.find(Query(before=before, limit=_PAGE)):
        yield from page
        before = page[-1].key


def _sign_history(store: Store, values: Values, record: RunRecord) -> tuple[int, int]:
    """How many rows were signed, and how many cannot be read."""
    changed: list[Row] = []
    broken = 0
    for row in store.history(record.key):
        try:
            fresh = values.mark_row(row, record.uid)
        except Corrupt:
            broken += 1
            continue
        if fresh.data != row.data:
            changed.append(fresh)
    for start in range(0, len(changed), _ROWS):
        store.replace_marks(record.key, changed[start : start + _ROWS])
    return len(changed), broken


def _sign_beside(store: Store, values: Values, record: RunRecord) -> None:
    """State, note and outcome of a run."""
    state = [(key, old, _again(values, old, record.uid, "state")) for key, old in store.state(record.key).items()]
    changed = [(key, fresh) for key, old, fresh in state if fresh != old]
    note = None if record.note is None else _again(values, record.note, record.uid, "note")
    outcome = record.outcome
    if outcome is not None:
        with suppress(Corrupt):  # counted with the rows
            seq = wire.decode_ended(outcome).seq
            outcome = wire.ended_of(store.history(record.key, seq - 1)[0])
    if changed or (note, outcome) != (record.note, record.outcome):
        store.replace_beside(record.key, changed, note, outcome)


def _sign_schedules(store: Store, values: Values) -> None:
    """Again, until nobody else has put one with the other key meanwhile."""
    while changed := [
        (record, record._replace(arguments=fresh))
        for record in store.schedules()
        if (fresh := _again(values, record.arguments, record.id, "schedule")) != record.arguments
    ]:
        for old, new in changed:
            store.fire(old, new, ())


def _sign_early(store: Store, values: Values) -> None:
    found = [(signal, _again(values, signal.value, id, "signal")) for id, signal in store.early()]
    changed = [signal._replace(value=fresh) for signal, fresh in found if fresh != signal.value]
    if changed:
        store.replace_early(changed)


def _again(values: Values, data: bytes, uid: str, kind: str) -> bytes:
    """A value that lies beside histories, with your mark; as it is when nobody can read it."""
    try:
        return wire.encode_value(values.mark(wire.decode_value(data), uid, 0, kind))
    except Corrupt:
        return data


def _sign_codes(store: Store, values: Values) -> int:
    signed = 0
    for code in store.codes():
        mark = values.sign_code(code.kind, code.name, digest_of(code.document, code.digest))
        if mark != code.mark:
            store.replace_code_mark(code._replace(mark=mark))
            signed += 1
    return signed


def _sign_mail(store: Store, values: Values, record: RunRecord) -> None:
    found = [(mail, _signed(values, mail, record)) for mail in store.mail(record.key)]
    changed = [mail._replace(value=fresh) for mail, fresh in found if fresh != mail.value]
    if changed:
        store.replace_mail(changed)


def _signed(values: Values, mail: Mail, record: RunRecord) -> bytes:
    """A worker signs a value for its ask, whoever signals for the id; the carrier marks it for its place in the history."""
    if mail.kind == "signal":
        return _again(values, mail.value, record.id, "signal")
    if mail.ask is None or mail.kind not in ("returned", "raised", "attempt_failed"):
        return mail.value
    try:
        return values.mark_row(Row(-mail.ask, mail.kind, mail.ask, None, mail.value, mail.sent_at), record.uid).data
    except Corrupt:
        return mail.value
