"""Everything one can do with a log without carrying its runs: start, find, read, steer. Works beside a dead kernel too."""

import base64
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from durable_nb.chance import token
from durable_nb.durations import as_datetime
from durable_nb.errors import (
    DurableError,
    Refused,
    ResultExpired,
    RunCancelled,
    RunFailed,
    RunParked,
    RunPaused,
    UnknownCode,
    UnknownRun,
)
from durable_nb.flows.children import Begin
from durable_nb.flows.flow import Flow
from durable_nb.flows.host import StartOptions
from durable_nb.flows.policy import ANY
from durable_nb.flows.run import checked_id
from durable_nb.flows.values import Values
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import Asked, asks
from durable_nb.runtime.births import child_id, conflict, new_run
from durable_nb.runtime.definitions import Definitions
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import NewRun, RunRecord
from durable_nb.views.sentences import waits_of, why as why_sentence

BATCH = 500  # runs of start_many in one commit
ENDED = frozenset({"completed", "failed", "cancelled"})
CELLS = "durable cells"  # the flow of the run that keeps the durable cells of a log; nobody carries it
SETTLED = ENDED | {"parked", "paused"}  # ended, or waiting for a person


class Client:
    """A log and what may be done to its runs. `owner` is asked for when a run has to be seized."""

    def __init__(
        self,
        store: Store,
        values: Values,
        definitions: Definitions,
        now: Callable[[], float],
        owner: Callable[[], int],
        label: str,
    ) -> None:
        self.store = store
        self.values = values
        self.definitions = definitions
        self.now = now
        self.owner = owner
        self.label = label

    # starting

    def start(
        self, flow: Flow[..., Any], id: str | None, args: Any, kwargs: Any, options: StartOptions, owner: int | None
    ) -> tuple[RunRecord, list[Row]]:
        """The run of that id and, when it was created now, its history; RunConflict when the id is something else's."""
        begin = Begin(flow, id, args, kwargs, options)
        if id is not None and options.on_conflict != "replace":
            self._refuse_expired(id)
        new = self._new(begin, owner)
        record, is_created = self.store.start(new)
        if is_created:
            return record, [new.started]
        if options.on_conflict == "replace":
            self.store.delete([record.key], True, self.now())
            record, is_created = self.store.start(new)
            return record, [new.started] if is_created else []
        error = conflict(self, begin, record, is_child=False)
        if error is not None:
            raise error
        return self.record(record.id), []

    def _new(self, begin: Begin, owner: int | None) -> NewRun:
        new = new_run(self, begin, begin.id if begin.id is not None else new_id(), token(16).hex(), self.now())
        return new._replace(owner=owner if not begin.options.delay else None)

    def start_many(self, flow: Flow[..., Any], calls: Iterable[Any], options: StartOptions) -> list[str]:
        """A run for each call, a few hundred in one commit; ids that exist already are taken as `start` does."""
        ids: list[str] = []
        for batch in _batched(calls, BATCH):
            begins = [Begin(flow, *_call(each), options) for each in batch]
            for begin in begins:
                if begin.id is not None:
                    self._refuse_expired(begin.id)
            news = [self._new(begin, None) for begin in begins]
            for new, begin, is_created in zip(news, begins, self.store.start_many(news), strict=True):
                if not is_created:
                    self.start(flow, begin.id, begin.args, begin.kwargs, options, None)
                ids.append(new.id)
        return ids

    # reading

    def record(self, id: str) -> RunRecord:
        record = self.store.run(id)
        if record is None:
            self._refuse_expired(id)
            near = self.store.similar_ids(id)
            hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
            raise UnknownRun(f"there is no run {id!r} in this log{hint}")
        return record

    def _refuse_expired(self, id: str) -> None:
        """ResultExpired for the id of a run that was pruned."""
        found = self.store.expired(id)
        if found is not None:
            ended, pruned = (as_datetime(at).strftime("%Y-%m-%d %H:%M") for at in (found.ended_at, found.pruned_at))
            raise ResultExpired(
                f"run {id!r} {found.status} at {ended} and was pruned at {pruned} (UTC); it is not kept"
            )

    def events(self, id: str) -> list[e.AnyEvent]:
        return [wire.event_of(row) for row in self.store.history(self.record(id).key)]

    def arguments(self, id: str) -> dict[str, Any]:
        record = self.record(id)
        return self.values.started_with(self.store.history(record.key), record.uid, record.flow)

    def outcome(self, record: RunRecord) -> Any:
        """The result of an ended run, or its failure raised; RunParked and RunPaused for what waits for a person."""
        name = f"run {record.id!r} of flow `{record.flow}`"
        if record.status == "parked":
            raise RunParked(f"{name} is parked ({record.reason}): {record.sentence}")
        if record.status == "cancelled":
            raise RunCancelled(f"{name} was cancelled: {record.sentence}")
        if record.status == "paused":
            raise RunPaused(f'{name} is paused: {record.sentence}; runs["{record.id}"].resume() goes on')
        assert record.outcome is not None
        ended = wire.decode_ended(record.outcome)
        if ended.value is not None:
            if ended.value.is_plain:
                return self.values.take(ended.value, record.uid, ended.seq, "completed", f"the result of {name}")
            return self._stored_result(record, ended.seq, name)
        row = self._row(record, ended.seq)
        raise self.values.error(wire.failure_of(row), record.uid, row.seq, row.kind, RunFailed)

    def _stored_result(self, record: RunRecord, seq: int, name: str) -> Any:
        row = self._row(record, seq)
        return self.values.take(wire.value_of(row), record.uid, seq, "completed", f"the result of {name}")

    def _row(self, record: RunRecord, seq: int) -> Row:
        return self.store.history(record.key, seq - 1)[0]

    def why(self, id: str) -> str:
        record = self.record(id)
        owners = {owner.key: owner.label for owner in self.store.owners()} if record.owner is not None else {}
        asked = asks([*self.store.history(record.key), *self._mail_rows(record)])
        return why_sentence(record, asked, self.now(), owners.get(record.owner or 0), self.obstacles(record, asked))

    def obstacles(self, record: RunRecord, asked: Mapping[int, Asked]) -> dict[int, str]:
        """What has to happen first, for those asks of a waiting run where that can be said."""
        if record.status != "waiting":
            return {}
        return self._hindered(record) | self._unknown(record) | self._stopped(record, asked)

    def _unknown(self, record: RunRecord) -> dict[int, str]:
        """Steps that are free for anybody, and that neither this process nor the log knows."""
        found: dict[int, str] = {}
        for one in self.store.work(record.key):
            try:
                if one.owner is None:
                    self.definitions.step_of(one.name, one.data, record)
            except UnknownCode:
                found[one.ask] = "a process that knows it: run its cell, or import its module,"
            except DurableError:
                continue  # the worker that takes it will tell
        return found

    def _stopped(self, record: RunRecord, asked: Mapping[int, Asked]) -> dict[int, str]:
        """Children that the run waits for and that wait for a person."""
        found: dict[int, str] = {}
        for one in waits_of(record):
            if one.kind != "child" or one.ask not in asked:
                continue
            child = self.store.run(asked[one.ask].child or child_id(record, one.ask))
            if child is not None and child.status in ("parked", "paused"):
                why = f"{child.status}: {child.sentence}"
                found[one.ask] = f"its child `{one.name}`, run {child.id!r}, which is {why}"
        return found

    def _hindered(self, record: RunRecord) -> dict[int, str]:
        """What keeps steps of the run from beginning that are due: nobody has their tag, or their queue is full."""
        work = [one for one in self.store.work(record.key) if one.owner is None and one.due <= self.now()]
        if not any(one.tag or one.queue or one.session for one in work):
            return {}
        living = {owner.key: owner for owner in self.store.owners() if owner.is_alive}
        tags = {tag for owner in living.values() for tag in owner.tags}
        found: dict[int, str] = {}
        for one in work:
            holder = living.get(self.store.session_owner(one.session) or 0) if one.session else None
            if one.tag and not tags & {one.tag, ANY}:
                found[one.ask] = f"a worker with tag `{one.tag}`"
            elif one.queue and self.store.limits(one.queue) is None:
                found[one.ask] = f"queue `{one.queue}`, which nobody has defined: Queue({one.queue!r}, …)"
            elif one.queue and not self.store.has_room(one.queue, self.now()):
                found[one.ask] = f"its turn in queue `{one.queue}`"
            elif holder is not None and one.tag and not {one.tag, ANY} & {*holder.tags}:
                found[one.ask] = f"session `{one.session}`, held by {holder.label} without tag `{one.tag}`"
        return found

    def _mail_rows(self, record: RunRecord) -> Iterator[Row]:
        """Attempts that lie in the inbox, as if they were admitted, for looking."""
        for mail in self.store.mail(record.key):
            if mail.kind in ("attempt", "attempt_failed") and mail.ask is not None:
                yield Row(0, mail.kind, mail.ask, None, mail.value, mail.sent_at)

    def note(self, id: str) -> Any:
        return self.note_of(self.record(id))

    def note_of(self, record: RunRecord) -> Any:
        """What the run last said about itself."""
        if record.note is None:
            return None
        return self.values.take(wire.decode_value(record.note), record.uid, 0, "note", f"the note of run {record.id!r}")

    def state(self, id: str) -> dict[str, Any]:
        """The run's own data as it is now."""
        record = self.record(id)
        return {
            key: self.values.take(wire.decode_value(kept), record.uid, 0, "state", f"state[{key!r}] of run {id!r}")
            for key, kept in self.store.state(record.key).items()
        }

    def parent(self, id: str) -> str | None:
        parent = self.record(id).parent
        found = None if parent is None else self.store.run_by_key(parent)
        return None if found is None else found.id

    def children(self, id: str) -> list[str]:
        return [child.id for child in self.store.children(self.record(id).key)]

    # freezing

    def frozen(self, id: str) -> bytes:
        """The history as one JSON document, for `durable_nb.testing.replay`."""
        record = self.record(id)
        rows = [
            {
                "seq": row.seq,
                "kind": row.kind,
                "ref": row.ref,
                "name": row.name,
                "at": row.at,
                "data": msgspec.Raw(row.data),
            }
            for row in self.store.history(record.key, record.base)
        ]
        frozen = {
            "format": 1,
            "log": self.store.log().uid,
            "flow": record.flow,
            "id": record.id,
            "uid": record.uid,
            "execution": record.execution,
            "rows": rows,
        }
        return msgspec.json.format(msgspec.json.encode(frozen))


def refuse_cells(verb: str, record: RunRecord) -> None:
    """The run of the durable cells takes signals, and nothing else."""
    if record.flow == CELLS and verb != "signal":
        raise Refused(
            f"run {record.id!r} keeps the durable cells of a notebook, so {verb} is not for it; "
            "`%durable forget CELL` lets one cell run again, and without the log's file everything begins anew"
        )


def new_id() -> str:
    """An automatic id: "~" and twelve characters that cannot be misread."""
    return "~" + base64.b32encode(token(8)).decode().lower()[:12]


def _batched(calls: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(calls)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _call(call: Any) -> tuple[str | None, tuple[Any, ...], dict[str, Any]]:
    """One item of start_many: (id, arguments) with a tuple of arguments, a tuple of arguments, or the only argument."""
    if isinstance(call, tuple) and len(call) == 2 and isinstance(call[0], str) and isinstance(call[1], tuple):
        return checked_id(call[0]), call[1], {}
    return None, call if isinstance(call, tuple) else (call,), {}
