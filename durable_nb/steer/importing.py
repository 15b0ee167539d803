"""A run from a file: a run of this log under a new uid, every value signed anew for its place here."""

from collections.abc import Iterable, Sequence

from durable_nb.chance import token
from durable_nb.client import ENDED, Client
from durable_nb.errors import Corrupt, RunConflict, Untrusted
from durable_nb.flows.remarks import Move, Owned, Spot
from durable_nb.flows.run import checked_id
from durable_nb.flows.source.travelling import digest_of
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.management.export import About, Parcel
from durable_nb.runtime.pasts import Begetting, Newborn
from durable_nb.stores.shapes import CodeRecord, Mail, NewMail, Release


def take_in(client: Client, parcel: Parcel, id: str | None, trust: bool) -> str:
    """Import it; the id of the run. Payloads and code come first, then the run, whole, in one transaction."""
    about = parcel.about
    if not trust and not client.values.is_sealed(parcel.digest, parcel.seal):
        raise Untrusted(
            f"the file of run {about.id!r} was not written with your key; import_run(…, trust=True) accepts what is in it, "
            "which may then execute here"
        )
    name = about.id if id is None else checked_id(id)
    if client.store.run(name) is not None:
        raise RunConflict(f"there is a run {name!r} already; give the imported run another id")
    _put_payloads(client, parcel)
    _put_codes(client, parcel.codes)
    uid = token(16).hex()
    source = Owned(client.values.of_log(about.log), about.uid, is_checked=not trust)
    born = _newborn(parcel, name, Move(source, Owned(client.values, uid)), client.now())
    new, past = Begetting(client, client.store, client.now()).parts(born)
    _, is_created = client.store.start_with_past(new, past._replace(output=parcel.output))
    if not is_created:
        raise RunConflict(f"there is a run {name!r} already; give the imported run another id")
    return name


def _newborn(parcel: Parcel, id: str, move: Move, now: float) -> Newborn:
    about, rows = parcel.about, parcel.rows
    if not rows or [row.seq for row in rows] != list(range(rows[0].seq, rows[0].seq + len(rows))):
        raise Corrupt(f"rows of run {about.id!r} are missing in the file")
    forked = e.Forked(seq=rows[-1].seq + 1, at=now, origin=about.id, uid=about.uid, at_event=rows[-1].seq)
    moved = [move.row(row) for row in rows]
    release = None
    if about.status in ENDED:
        # What it drew by chance was drawn with its old uid, so the mark of that comes before the end.
        forked = e.Forked(seq=rows[-1].seq, at=now, origin=about.id, uid=about.uid, at_event=rows[-1].seq - 1)
        ending = _ended_later(move.row(rows[-1], rows[-1].seq + 1), rows[-1].seq)
        moved[-1:] = [wire.row_of(forked), ending]
        release = Release(about.status, None, about.reason, about.sentence, None, wire.ended_of(ending))
    else:
        moved.append(wire.row_of(forked))
        if about.status in ("paused", "parked"):
            release = Release(about.status, None, about.reason, about.sentence, about.waits)
    place = next((place for place, row in enumerate(moved) if row.seq == about.base + 1), None)
    if place is None:
        raise Corrupt(f"the present execution of run {about.id!r} is not in the file")
    return Newborn(
        id=id,
        uid=move.target.uid,
        execution=about.execution,
        code=about.code,
        rows=moved[place:],
        earlier=moved[:place],
        note=None if about.note is None else move.own(wire.decode_value(about.note), "note"),
        mail=[] if about.status in ENDED else _mail(parcel.mail, about, id, move),
        origin=None,
        moment=rows[-1].at,
        release=release,
    )


def _ended_later(row: Row, before: int) -> Row:
    """The row of the end one place later; a cut at the end itself goes with it."""
    event = wire.event_of(row)
    if isinstance(event, e.RunFailed) and event.cut == before:
        return wire.row_of(e.RunFailed(seq=event.seq, at=event.at, failure=event.failure, cut=event.seq))
    return row


def _mail(mail: Iterable[Mail], about: About, id: str, move: Move) -> list[NewMail]:
    """Signals nobody has received, and outcomes that were not in the history yet."""
    found: list[NewMail] = []
    for one in mail:
        if one.kind == "signal":
            kept = move.value(wire.decode_value(one.value), Spot(about.id, 0, "signal"), Spot(id, 0, "signal"))
            data = wire.encode_value(kept)
        else:
            data = move.row(Row(-(one.ask or 0), one.kind, one.ask, None, one.value, one.sent_at)).data
        found.append(NewMail(one.kind, one.ask, one.attempt, one.name, one.key, data, one.sender, True))
    return found


def _put_payloads(client: Client, parcel: Parcel) -> None:
    for payload in parcel.payloads:
        missing = [chunk for chunk in payload.chunks if chunk not in parcel.chunks]
        if missing:
            raise Corrupt(f"the chunk {missing[0]} of run {parcel.about.id!r} is not in the file")
        chunks = [(chunk, parcel.chunks[chunk]) for chunk in payload.chunks]
        client.store.put_payload(payload.digest, payload.size, chunks)


def _put_codes(client: Client, codes: Sequence[CodeRecord]) -> None:
    """Definitions that are not here yet, signed; what was the newest of a name here stays the newest."""
    for code in codes:
        if client.store.code(code.digest) is not None:
            continue
        newest = client.store.latest_code(code.kind, code.name)
        mark = client.values.sign_code(code.kind, code.name, digest_of(code.document, code.digest))
        client.store.put_code(code._replace(mark=mark, at=client.now()))
        if newest is not None:
            client.store.put_code(newest)
