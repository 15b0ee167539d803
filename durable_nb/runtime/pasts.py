"""A run that begins in the middle (a fork, an import): what it has from its birth on, and what is asked again for it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from durable_nb.codec.digest import digest_bytes
from durable_nb.flows.remarks import Move, Owned, Spot
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import Asked, asks, effective, started_of
from durable_nb.history.values import Value, payloads
from durable_nb.runtime.births import Nursery, child_name
from durable_nb.runtime.lease import payloads_of
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import Commit, Message, NewMail, NewRun, Past, Release


class Newborn(NamedTuple):
    """Who the run will be, and what it begins with. Its rows are its own already, marked for its uid."""

    id: str
    uid: str
    execution: int
    code: str
    rows: Sequence[Row]
    note: Value | None
    mail: Sequence[NewMail]
    origin: str | None
    moment: float  # what is left of timers is counted from here
    release: Release | None = None  # what it is, when it does not simply go on
    earlier: Sequence[Row] = ()  # of executions before the present one


class Begetting:
    """Makes what the store takes of it. Nothing is written here but the code of children."""

    def __init__(self, log: Nursery, store: Store, now: float) -> None:
        self._log = log
        self._store = store
        self._now = now

    def parts(self, born: Newborn) -> tuple[NewRun, Past]:
        """The run with its first row, and all else it has."""
        is_over = born.release is not None and born.release.outcome is not None
        found = {} if is_over else open_asks(born.rows)
        rows = [self._later(row, found, born.moment) for row in born.rows]
        started = started_of(rows)
        starts, watches = self._asked_again(born, found, rows)
        whole = [*born.earlier, *rows]
        first, others = whole[0], whole[1:]
        refers = [(row.seq, name) for row in others for name in payloads_of(row)]
        if born.note is not None:
            refers += [(first.seq, name) for name in payloads(born.note)]
        commit = Commit(
            0, 0, 0, others, self._now,
            payloads=refers, starts=starts, watches=watches,
            messages=[Message(born.id, born.uid, mail) for mail in born.mail],
            state=[(key, wire.encode_value(kept)) for key, kept in state_after(rows, self._own(born)).items()],
            note=None if born.note is None else wire.encode_value(born.note),
            release=born.release,
        )  # fmt: skip
        new = NewRun(
            id=born.id,
            uid=born.uid,
            flow=started.flow,
            version=started.version,
            code=born.code,
            arguments=wire.encode_value(started.arguments),
            started=first,
            ready_at=self._now,
            owner=None,
            payloads=tuple(payloads_of(first)),
            origin=born.origin,
        )
        return new, Past(born.execution, rows[0].seq - 1, commit)

    def _own(self, born: Newborn) -> Move:
        from_itself = Owned(self._log.values, born.uid)
        return Move(from_itself, from_itself)

    def _later(self, row: Row, found: dict[int, Asked], moment: float) -> Row:
        """What an open timer has left, it has left from now on."""
        event = wire.event_of(row) if row.kind in ("timer", "step", "attempt_failed", "cancelling") else None
        if isinstance(event, e.TimerAsked) and row.seq in found:
            return wire.row_of(msgspec.structs.replace(event, due=self._shifted(event.due, moment)))
        if isinstance(event, e.StepAsked) and event.due is not None and row.seq in found:
            return wire.row_of(msgspec.structs.replace(event, due=self._shifted(event.due, moment)))
        if isinstance(event, e.AttemptFailed) and event.ref in found:
            return wire.row_of(msgspec.structs.replace(event, retry_at=self._shifted(event.retry_at, moment)))
        if isinstance(event, e.Cancelling) and found:
            return wire.row_of(msgspec.structs.replace(event, until=self._shifted(event.until, moment)))
        return row

    def _shifted(self, due: float, moment: float) -> float:
        return self._now + max(0.0, due - moment)

    def _asked_again(
        self, born: Newborn, found: dict[int, Asked], rows: Sequence[Row]
    ) -> tuple[list[NewRun], list[tuple[str, int]]]:
        """Children are begun under the new run's ids; one with an id of its own is waited for, whoever began it.

        Signals are waited for by the run itself, and its first turn sees to the steps.
        """
        starts: list[NewRun] = []
        watches: list[tuple[str, int]] = []
        by_seq = {row.seq: row for row in rows}
        answered = {mail.ask for mail in born.mail}
        for asked in found.values():
            if asked.seq in answered:
                continue
            event = wire.event_of(by_seq[asked.seq])
            if isinstance(event, e.WatchAsked):
                watches.append((event.run, asked.seq))
            elif isinstance(event, e.ChildAsked):
                id = event.id or child_name(born.id, born.execution, asked.seq)
                if self._store.run(id) is None:
                    starts.append(begotten(self._log, born.uid, event, id, self._now))
                watches.append((id, asked.seq))
        return starts, watches


def begotten(log: Nursery, uid: str, event: e.ChildAsked, id: str, now: float) -> NewRun:
    """The child that the run of that uid has asked for, as a run that is to begin."""
    definitions, values = log.definitions, log.values
    own = digest_bytes(f"{uid}/{event.seq}".encode())[:32]
    code = definitions.pin(definitions.flow(event.name))
    move = Move(Owned(values, uid), Owned(values, own))
    arguments = move.value(event.arguments, Spot(uid, event.seq, "child"), Spot(own, 1, "started"))
    started = e.Started(seq=1, at=now, flow=event.name, code=code, mark="", arguments=arguments, version=event.version)
    return NewRun(
        id=id,
        uid=own,
        flow=event.name,
        version=event.version,
        code=code,
        arguments=wire.encode_value(arguments),
        started=wire.row_of(started),
        ready_at=now,
        owner=None,
        payloads=tuple(sorted(set(payloads(arguments)))),
        parent_ask=event.seq,
    )


def open_asks(rows: Iterable[Row]) -> dict[int, Asked]:
    """The asks that the code still waits for, or may."""
    return {
        asked.seq: asked
        for asked in asks(rows).values()
        if asked.answer is None and not asked.is_aside and not asked.is_dropped
    }


def state_after(rows: Sequence[Row], move: Move) -> dict[str, Value]:
    """The run's own data after these rows, marked for the place beside the run."""
    found = {key: move.own(kept, "state") for key, kept in started_of(rows).state.items()}
    for row in effective(rows):
        if row.kind not in ("set", "unset"):
            continue
        event = wire.event_of(row)
        if isinstance(event, e.StateSet):
            old = Spot(move.source.uid, row.seq, "set")
            found[event.name] = move.value(event.value, old, Spot(move.target.uid, 0, "state"))
        elif isinstance(event, e.StateRemoved):
            found.pop(event.name, None)
    return found


def note_after(rows: Iterable[Row], move: Move) -> Value | None:
    """What the run last said about itself in these rows."""
    last = next((row for row in reversed(list(rows)) if row.kind == "note"), None)
    if last is None:
        return None
    event = wire.event_of(last)
    assert isinstance(event, e.Noted)
    return move.value(event.value, Spot(move.source.uid, last.seq, "note"), Spot(move.target.uid, 0, "note"))
