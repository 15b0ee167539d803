"""Going on after a failure: the run that failed and those below it that fell with it, in one commit."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from durable_nb.client import ENDED, Client
from durable_nb.errors import Refused
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import Asked, asks, effective
from durable_nb.runtime.births import child_id
from durable_nb.runtime.mail import mail_again
from durable_nb.runtime.pasts import begotten, open_asks
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.steer.cuts import cut_of
from durable_nb.steer.seizure import Seizure, as_it_was
from durable_nb.stores.shapes import Commit, Mail, NewRun, Release, RunRecord


class Fallen(NamedTuple):
    """A run that failed, or was cancelled for that, and goes on from the cut. The rows are of its present execution."""

    record: RunRecord
    rows: Sequence[Row]
    cut: int

    def back(self, now: float) -> e.Retried:
        return e.Retried(seq=self.rows[-1].seq + 1, at=now, cut=self.cut)

    def waits(self, now: float) -> list[Asked]:
        """The runs that it waits for again."""
        rows = effective([*self.rows, wire.row_of(self.back(now))])
        return [asked for asked in open_asks(rows).values() if asked.kind in ("child", "watch")]


class Spared(NamedTuple):
    """A run that goes on as if nobody had told it to end: it has not heard it yet."""

    record: RunRecord
    orders: Sequence[int]


class Retrying:
    """Retries a run with all below it."""

    def __init__(self, client: Client, seizure: Seizure) -> None:
        self._client = client
        self._store = client.store
        self._seizure = seizure

    def family(self, record: RunRecord, redo: bool) -> list[Fallen | Spared]:
        """Whom a retry of the run concerns, those below it first; Refused when one of them has undone something."""
        found = list(self._family(record))
        for one in found:
            if isinstance(one, Fallen) and not redo:
                _refuse_undone(one)
        return found

    def retry(self, record: RunRecord, redo: bool) -> None:
        """Let all of them go on. Nobody else has written to their histories since they were read."""
        now, held = self._client.now(), list[RunRecord]()
        family = self.family(record, redo)
        try:
            for one in family:
                seized = self._seizure.take(one.record)
                held.append(seized)
                if seized.lease != one.record.lease + 1:
                    raise Refused(f"run {one.record.id!r} was steered by somebody else just now; look at it again")
            commits = [self._commit(one, seized, now) for one, seized in zip(family, held, strict=True)]
        except BaseException:
            for seized in held:
                self._seizure.put_down(seized)
            raise
        self._seizure.write(*commits)

    def _family(self, record: RunRecord) -> Iterator[Fallen | Spared]:
        rows = self._store.history(record.key, record.base)
        fallen = Fallen(record, rows, cut_of(self._store, record, rows))
        for asked in fallen.waits(self._client.now()):
            child = self._store.run(_name(record, asked))
            if child is None or (child.parent, child.parent_ask) != (record.key, asked.seq):
                continue
            if child.status in ("failed", "cancelled"):
                yield from self._family(child)
            elif child.status not in ENDED:
                yield from self._spared(child, f"run {record.id}")
        yield fallen

    def _spared(self, child: RunRecord, by: str) -> Iterator[Spared]:
        """A child that its parent told to end when it failed, and that has not come to that."""
        rows = effective(self._store.history(child.key, child.base))
        told = next((wire.event_of(row) for row in rows if row.kind == "cancelling"), None)
        if isinstance(told, e.Cancelling) and told.sender == by:
            raise Refused(f"run {child.id!r} below it is still being cancelled; try again when that has ended")
        mail = self._store.mail(child.key)
        orders = [one.seq for one in mail if one.kind == "cancel" and one.sender == by]
        if orders:
            yield Spared(child, orders)

    def _commit(self, one: Fallen | Spared, seized: RunRecord, now: float) -> Commit:
        if isinstance(one, Spared):
            release = as_it_was(seized, now)
            return Commit(seized.key, seized.lease, seized.mail, [], now, taken=one.orders, release=release)
        return self._going_on(one, seized, now)

    def _going_on(self, fallen: Fallen, seized: RunRecord, now: float) -> Commit:
        events: list[e.AnyEvent] = [fallen.back(now)]
        code = self._fitting_code(fallen)
        if code is not None:
            events.append(e.CodeChanged(seq=events[0].seq + 1, at=now, code=code, mark=""))
        waits = [(_name(seized, asked), asked.seq) for asked in fallen.waits(now)]
        taken, returned = self._signals(fallen, now)
        return Commit(
            seized.key, seized.lease, seized.mail, [wire.row_of(one) for one in events], now,
            taken=taken, returned=returned, code=code, starts=self._begun(fallen, waits, now), watches=waits,
            release=Release("waiting", now), forgives=True,
        )  # fmt: skip

    def _begun(self, fallen: Fallen, waits: Sequence[tuple[str, int]], now: float) -> list[NewRun]:
        """Children that were asked for and are not there: never begun, or deleted since."""
        rows = {row.seq: row for row in fallen.rows}
        record, found = fallen.record, []
        for id, ask in waits:
            event = wire.event_of(rows[ask])
            if isinstance(event, e.ChildAsked) and self._store.run(id) is None:
                new = begotten(self._client, record.uid, event, id, now)
                found.append(new._replace(parent=record.key, priority=record.priority))
        return found

    def _signals(self, fallen: Fallen, now: float) -> tuple[list[int], list[Mail]]:
        """What leaves the inbox, because the flow has it already, and what comes back, because it has it no more."""
        before = effective(fallen.rows)
        after = {row.seq for row in effective([*before, wire.row_of(fallen.back(now))])}
        kept, lost = set[int](), list[e.Received]()
        for row in before:
            event = wire.event_of(row) if row.kind == "received" else None
            if isinstance(event, e.Received) and row.seq in after:
                kept.add(event.mail)
            elif isinstance(event, e.Received):
                lost.append(event)
        there = {mail.seq for mail in self._store.mail(fallen.record.key)}
        values, record = self._client.values, fallen.record
        back = [mail_again(values, record, event) for event in lost if event.mail not in kept | there]
        return sorted(kept & there), back

    def _fitting_code(self, fallen: Fallen) -> str | None:
        """The newest flow code, when the flow's own line failed and the new code replays up to there."""
        last = fallen.rows[-1]
        if last.kind != "failed" or fallen.cut != last.seq:
            return None
        record, definitions = fallen.record, self._client.definitions
        newest = definitions.newest(record)
        if newest is None:
            return None
        before = [row for row in effective(fallen.rows) if row.seq < fallen.cut]
        _, wrong = rehearse(before, definitions.registered(record), record, self._client.values)
        return newest if wrong is None else None


def _name(record: RunRecord, asked: Asked) -> str:
    return asked.child or child_id(record, asked.seq)


def _refuse_undone(fallen: Fallen) -> None:
    finished = [
        f"`{one.name}`"
        for one in asks(effective(fallen.rows)).values()
        if one.seq > fallen.cut and one.answer is not None and one.answer.kind == "returned"
    ]
    if finished:
        why = "the failure" if fallen.rows[-1].kind == "failed" else "it was told to end"
        raise Refused(
            f"run {fallen.record.id!r} has finished {', '.join(finished)} after {why} (a compensation?); a retry would "
            "leave that undone or do it twice. Use retry(redo=True) if that is right"
        )
