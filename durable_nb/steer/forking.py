"""Forks: a run goes on a second time from one of its events, with other results, other arguments or newer code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from durable_nb.chance import token
from durable_nb.client import Client, new_id, refuse_cells
from durable_nb.errors import BadArguments, BadOption, DurableError, Refused, RunConflict
from durable_nb.flows.remarks import Move, Owned, Spot
from durable_nb.flows.run import Run, checked_id
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import asks, effective, started_of
from durable_nb.history.values import Value
from durable_nb.runtime.pasts import Begetting, Newborn, note_after, open_asks
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.steer.cuts import AT_ONCE, cut_of
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import Mail, NewMail, RunRecord

_BESIDE = frozenset({"parked", "paused"})


class Again(NamedTuple):
    """Something that the fork asks again. `event` is its number in the history of the origin."""

    event: int
    kind: str
    name: str | None
    why: str


class Preview(NamedTuple):
    """What a fork would do. `misfit` says why it would be refused; None = it starts."""

    origin: str
    at: int
    code: str
    kept: int
    again: tuple[Again, ...]
    misfit: str | None

    def __str__(self) -> str:
        lines = [
            f"a fork of run {self.origin!r} after event {self.at}, with {self.code}: {self.kept} finished asks are kept"
        ]
        lines += [f"  again: {one.kind} {f'`{one.name}` ' if one.name else ''}({one.why})" for one in self.again]
        if not self.again:
            lines.append("  nothing runs again; the flow goes on from there")
        if self.misfit is not None:
            lines.append(f"  it would be refused: {self.misfit}")
        return "\n".join(lines)


class _Who(NamedTuple):
    """Whose history is rehearsed."""

    id: str
    uid: str
    execution: int
    version: str | None


class _Plan(NamedTuple):
    record: RunRecord
    at: int
    born: Newborn
    code: str
    misfit: str | None
    log: Sequence[Row]  # of the origin, this execution


@dataclass(frozen=True)
class Fork:
    """A fork that is being made up; `start()` begins it."""

    client: Client
    origin: str
    at: int | None
    id: str | None
    is_copying: bool
    started: Callable[[str], Run]
    results: dict[int | str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    def with_result(self, step: Any, value: Any) -> "Fork":
        """The last call of the step up to there has returned this; `step` is it, its name, or the number of the ask."""
        is_number = isinstance(step, int) and not isinstance(step, bool)
        known: int | str = step if is_number else getattr(step, "name", step)
        if not isinstance(known, str | int):
            raise BadOption(f"with_result takes a step, its name or the number of the ask, not {step!r}")
        return replace(self, results={**self.results, known: value})

    def with_arguments(self, **named: Any) -> "Fork":
        """It was begun with these arguments; those that are not named stay as they were."""
        return replace(self, arguments={**self.arguments, **named})

    def preview(self) -> Preview:
        """What would be kept and what would run again. Nothing is written."""
        plan = self._plan(new_id(), token(16).hex())
        found = asks(effective(plan.born.rows))
        kept = [one for one in found.values() if one.answer is not None and not one.is_aside]
        answered = {mail.ask for mail in plan.born.mail if mail.ask is not None}
        names = {row.seq: row.name for row in plan.log}
        open_now = open_asks(plan.born.rows)
        again = [
            Again(one.seq, one.kind, names.get(one.seq), f"event {one.seq} has no outcome there")
            for one in open_now.values()
            if one.seq not in answered
        ]
        again += [
            Again(row.seq, row.kind, row.name, f"event {row.seq} comes after it")
            for row in effective(plan.log)
            if row.seq > plan.at and row.kind in e.ASKS
        ]
        return Preview(self.origin, plan.at, plan.code, len(kept) + len(answered), tuple(again), plan.misfit)

    def start(self) -> Run:
        """Begin it; Refused with both sides when the flow's code does not fit what was copied."""
        id = self.id if self.id is not None else new_id()
        uid = token(16).hex()
        plan = self._plan(id, uid)
        if plan.misfit is not None:
            raise Refused(f"run {self.origin!r} cannot be forked after event {plan.at}: {plan.misfit}")
        client = self.client
        new, past = Begetting(client, client.store, client.now()).parts(plan.born)
        _, is_created = client.store.start_with_past(new, past)
        if not is_created:
            raise RunConflict(f"there is a run {id!r} already; give the fork another id")
        return self.started(id)

    def _plan(self, id: str, uid: str) -> _Plan:
        client = self.client
        record = client.record(self.origin)
        # The mail first: a signal that is received meanwhile is in both, and known by its number.
        letters = client.store.mail(record.key)
        whole = client.store.history(record.key)
        log = [row for row in whole if row.seq > record.base]
        at = _checked_at(client.store, record, log, self.at)
        now = client.now()
        is_now = self.at is None and record.ended_at is None
        move = Move(Owned(client.values, record.uid), Owned(client.values, uid))
        rows = [move.row(row) for row in log if row.seq <= at]
        moment = now if is_now else rows[-1].at
        if self.arguments:
            rows[0] = self._with_arguments(rows[0], record, uid)
        rows, mail = self._with_results(rows, uid, now)
        forked = e.Forked(seq=rows[-1].seq + 1, at=now, origin=record.id, uid=record.uid, at_event=at)
        rows.append(wire.row_of(forked))
        note = note_after((row for row in whole if row.seq <= at), move)
        if self.is_copying:
            mail += self._signals(record, log, letters, at, id)
        code, name, misfit = self._fitting_code(record, rows, _Who(id, uid, record.execution, record.version))
        born = Newborn(id, uid, record.execution, code, rows, note, mail, record.id, moment)
        return _Plan(record, at, born, name, misfit, log)

    def _with_arguments(self, row: Row, record: RunRecord, uid: str) -> Row:
        values = self.client.values
        flow = self.client.definitions.flow(record.flow)
        named = values.started_with([row], uid, record.flow)
        unknown = [name for name in self.arguments if name not in named]
        if unknown:
            raise BadArguments(
                f"flow `{record.flow}` was begun without {', '.join(unknown)}; it has {', '.join(named) or 'no arguments'}"
            )
        args, kwargs = flow.arguments.call_form({**named, **self.arguments})
        kept = values.keep_arguments(flow.arguments.named(args, kwargs), f"flow `{record.flow}`")
        started = started_of([row])
        changed = e.Started(
            seq=row.seq, at=row.at, flow=started.flow, code=started.code, mark=started.mark, arguments=kept,
            version=started.version, state=started.state,
        )  # fmt: skip
        return values.mark_row(wire.row_of(changed), uid)

    def _with_results(self, rows: list[Row], uid: str, now: float) -> tuple[list[Row], list[NewMail]]:
        """The given results in the place of those that were; of an open step elsewhere, as the mail of a worker."""
        values, mail = self.client.values, []
        for step, given in self.results.items():
            asked = _asked(rows, step)
            kept = values.keep(given, f"the result of step `{asked.name}`")
            answer = next(
                (place for place, row in enumerate(rows) if row.ref == asked.seq and row.kind in e.ANSWERS), None
            )
            if answer is not None:
                old = rows[answer]
                rows[answer] = values.mark_row(_returned(old.seq, asked.seq, kept, old.at), uid)
            elif b'"elsewhere":true' in asked.data or asked.kind == "child":
                marked = values.mark_row(_returned(-asked.seq, asked.seq, kept, now), uid)
                sender = self.client.label
                mail.append(NewMail("returned", asked.seq, 1, None, None, marked.data, sender, True))
            else:
                rows.append(values.mark_row(_returned(rows[-1].seq + 1, asked.seq, kept, now), uid))
        return rows, mail

    def _signals(
        self, record: RunRecord, log: Sequence[Row], letters: Sequence[Mail], at: int, id: str
    ) -> list[NewMail]:
        """The signals that nobody had received by then, in their order."""
        values = self.client.values
        move = Move(Owned(values, record.uid), Owned(values, id))
        found: dict[int, NewMail] = {}
        for row in log:
            event = wire.event_of(row) if row.kind == "received" and row.seq > at else None
            if isinstance(event, e.Received):
                value = move.value(event.value, Spot(record.uid, row.seq, "received"), Spot(id, 0, "signal"))
                found[event.mail] = _signal(event.name, event.key, value, event.sender)
        for one in letters:
            if one.kind == "signal":
                kept = wire.decode_value(one.value)
                value = move.value(kept, Spot(record.id, 0, "signal"), Spot(id, 0, "signal"))
                found[one.seq] = _signal(one.name, one.key, value, one.sender)
        return [found[number] for number in sorted(found)]

    def _fitting_code(self, record: RunRecord, rows: list[Row], who: _Who) -> tuple[str, str, str | None]:
        """The newest code if it fits what was copied, else the code the run is pinned to; else what is wrong with that."""
        definitions, values = self.client.definitions, self.client.values
        said: list[str] = []
        for name, find in (
            ("the newest code", definitions.newest_flow),
            ("the code it began with", definitions.pinned),
        ):
            try:
                flow = find(record)
                digest = definitions.pin(flow)
                _, wrong = rehearse(rows, flow, who, values)
            except DurableError as error:
                wrong = str(error)
            else:
                if wrong is None:
                    return digest, name, None
            said.append(wrong)
        return record.code, "the code it began with", said[-1]


def fork(
    client: Client, origin: str, at: int | None, id: str | None, signals: str, started: Callable[[str], Run]
) -> Fork:
    """A fork of the run, to be made up and started."""
    if signals not in ("leave", "copy"):
        raise BadOption(f'signals={signals!r}: "leave" them with the origin, or "copy" those that nobody has received')
    if at is not None and (isinstance(at, bool) or not isinstance(at, int)):
        raise BadOption(f"at={at!r}: the number of an event of the run, as run.history shows it")
    record = client.record(origin)
    refuse_cells("fork", record)
    _checked_at(client.store, record, client.store.history(record.key, record.base), at)
    return Fork(client, record.id, at, None if id is None else checked_id(id), signals == "copy", started)


def _checked_at(store: Store, record: RunRecord, log: Sequence[Row], at: int | None) -> int:
    """The last event to copy."""
    last = log[-1]
    latest = last.seq - 1 if last.kind in e.ENDINGS else last.seq
    if at is None:
        at = _before_the_end(store, record, log, latest)
    if at <= record.base:
        raise Refused(
            f"event {at} is not of the present execution of run {record.id!r}; fork from {record.base + 1} on"
        )
    if at > latest:
        raise Refused(f"run {record.id!r} has no event {at} to fork after; the last one is {latest}")
    row, follower = log[at - record.base - 1], log[at - record.base : at - record.base + 1]
    is_split = row.kind in AT_ONCE and follower and follower[0].ref == row.seq
    return at + 1 if is_split else at


def _before_the_end(store: Store, record: RunRecord, log: Sequence[Row], latest: int) -> int:
    """Before the failure, or before somebody wanted the run to end; else as far as it has come."""
    last = log[-1]
    if last.kind == "failed":
        return cut_of(store, record, log) - 1
    if last.kind == "cancelled":
        told = next((row.seq for row in reversed(log) if row.kind == "cancelling"), None)
        return latest if told is None else told - 1
    return next(row.seq for row in reversed(log) if row.seq <= latest and row.kind not in _BESIDE)


def _asked(rows: Sequence[Row], step: int | str) -> Row:
    """The ask whose result is given."""
    fitting = [row for row in effective(rows) if row.kind in ("step", "child") and step in (row.seq, row.name)]
    if not fitting:
        named = f"step `{step}`" if isinstance(step, str) else f"event {step}"
        raise Refused(f"the run has not called {named} up to event {rows[-1].seq}, so it can have no other result")
    return fitting[-1]


def _returned(seq: int, ask: int, kept: Value, at: float) -> Row:
    return wire.row_of(e.Returned(seq=seq, at=at, ref=ask, value=kept))


def _signal(name: str | None, key: str | None, value: Value, sender: str) -> NewMail:
    return NewMail("signal", None, None, name, key, wire.encode_value(value), sender, True)
