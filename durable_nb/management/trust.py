"""Accepting a log from elsewhere: everything in it that may execute is signed again, with this user's key."""

from collections.abc import Iterator
from typing import NamedTuple

from durable_nb.codec.sign import Signer
from durable_nb.errors import Corrupt, Refused
from durable_nb.flows.source.travelling import digest_of
from durable_nb.flows.values import Values
from durable_nb.history.events import Row
from durable_nb.stores.protocol import MailArrived, Store
from durable_nb.stores.shapes import Commit, Mail, NewMail, Query, Release, RunRecord

_PAGE = 200  # runs looked up at once
_ROWS = 1000  # rows written in one transaction


class Description(NamedTuple):
    """What somebody who accepts the log accepts."""

    uid: str
    is_yours: bool  # the log itself carries your mark
    runs: dict[str, int]  # by status
    flows: tuple[str, ...]  # names whose stored code may run from then on
    steps: tuple[str, ...]


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
    )


def trust(store: Store, signer: Signer, owner: int, now: float) -> Accepted:
    """Sign every value, every definition and last the log itself; killed on the way, it can be run again."""
    store.bury(now)
    _refuse_carried(store)
    log = store.log()
    values = Values(store, signer, log.uid)
    runs = rows = unreadable = 0
    for record in _every_run(store):
        signed, broken = _sign_history(store, values, record)
        runs, rows, unreadable = runs + 1, rows + signed, unreadable + broken
        _sign_mail(store, values, record, owner, now)
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


def _sign_codes(store: Store, values: Values) -> int:
    signed = 0
    for code in store.codes():
        mark = values.sign_code(code.kind, code.name, digest_of(code.document, code.digest))
        if mark != code.mark:
            store.replace_code_mark(code._replace(mark=mark))
            signed += 1
    return signed


def _sign_mail(store: Store, values: Values, record: RunRecord, owner: int, now: float) -> None:
    """Put the answers in the inbox again, signed: first all of them, then the old ones go, so that none is lost."""
    before = store.mail(record.key)
    if all(_signed(values, mail, record.uid) == mail.value for mail in before):
        return
    seized = store.seize(record.key, owner)
    if seized is None:
        raise Refused(f"run {record.id!r} is being carried right now; try again in a moment")
    # One that a killed `trust` had put already is the same to the byte, for a mark depends on nothing but its place.
    fresh = {mail._replace(seq=0, value=_signed(values, mail, record.uid)): None for mail in before}
    for mail in fresh:
        again = NewMail(mail.kind, mail.ask, mail.attempt, mail.name, mail.key, mail.value, mail.sender, False)
        store.tell(record.key, again, mail.sent_at)
    _release(store, seized, [mail.seq for mail in before], now)


def _signed(values: Values, mail: Mail, uid: str) -> bytes:
    """A worker signs a value for its ask; the carrier gives it the mark of its place when it is admitted."""
    if mail.ask is None or mail.kind not in ("returned", "raised", "attempt_failed"):
        return mail.value
    try:
        return values.mark_row(Row(-mail.ask, mail.kind, mail.ask, None, mail.value, mail.sent_at), uid).data
    except Corrupt:
        return mail.value


def _release(store: Store, record: RunRecord, old: list[int], now: float) -> None:
    """Drop the old mail and give the run back as it was, due at once where it can run at all."""
    is_live = record.status in ("pending", "running", "waiting")
    ready = min(record.ready_at if record.ready_at is not None else now, now) if is_live else None
    release = Release(record.status, ready, record.reason, record.sentence, record.waits, record.outcome)
    while (present := store.run_by_key(record.key)) is not None:
        commit = Commit(record.key, record.lease, present.mail, (), record.updated_at, taken=old, release=release)
        try:
            store.commit(commit)
        except MailArrived:
            continue  # from somebody else, just now; it is theirs to sign
        return
