"""Everything one can do with a log without carrying its runs: start, find, read, steer. Works beside a dead kernel too."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from durable_nb.chance import token
from durable_nb.errors import LogError, Refused, RunConflict, RunFailed, RunParked, RunPaused, UnknownRun
from durable_nb.flows.flow import Flow
from durable_nb.flows.host import StartOptions
from durable_nb.flows.values import Values
from durable_nb.history import events as e, wire
from durable_nb.history.calls import argument_difference
from durable_nb.history.events import Row
from durable_nb.history.summary import asks, effective
from durable_nb.history.values import Value, payloads
from durable_nb.runtime.definitions import Definitions
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores.protocol import Commit, NewMail, NewRun, Release, RunRecord, Store
from durable_nb.views.sentences import why as why_sentence

ENDED = frozenset({"completed", "failed", "cancelled"})
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
        self._now = now
        self._owner = owner
        self._label = label

    # starting

    def start(
        self, flow: Flow[..., Any], id: str | None, args: Any, kwargs: Any, options: StartOptions, owner: int | None
    ) -> tuple[RunRecord, list[Row]]:
        """The run of that id and, when it was created now, its history; RunConflict when the id is something else's."""
        new, arguments = self._new(flow, id, args, kwargs, options, owner)
        record, is_created = self.store.start(new)
        if is_created:
            return record, [new.started]
        if options.on_conflict == "replace":
            self.store.delete(record.key, True)
            record, is_created = self.store.start(new)
            return record, [new.started] if is_created else []
        self._check_conflict(record, flow, arguments, options.on_conflict)
        if record.status == "failed" and options.on_conflict == "match":
            self.retry(record.id, False)
        return self.record(record.id), []

    def _new(
        self, flow: Flow[..., Any], id: str | None, args: Any, kwargs: Any, options: StartOptions, owner: int | None
    ) -> tuple[NewRun, Value]:
        named = flow.arguments.named(args, kwargs)
        arguments = self.values.keep_arguments(named, f"flow `{flow.name}`")
        code = self.definitions.pin(flow)
        uid, now = token(16).hex(), self._now()
        event = e.Started(
            seq=1, at=now, flow=flow.name, code=code, mark="", arguments=arguments, version=options.version
        )
        row = self.values.mark_row(wire.row_of(event), uid)
        ready = now + options.delay
        refers = tuple(sorted(set(payloads(arguments))))
        return NewRun(
            id=id if id is not None else new_id(),
            uid=uid,
            flow=flow.name,
            version=options.version,
            code=code,
            arguments=wire.encode_value(arguments),
            started=row,
            ready_at=ready,
            owner=owner if not options.delay else None,
            payloads=refers,
        ), arguments

    def _check_conflict(self, record: RunRecord, flow: Flow[..., Any], arguments: Value, policy: str) -> None:
        if policy == "attach" and record.flow == flow.name:
            return
        if record.flow != flow.name:
            raise RunConflict(f"the id {record.id!r} belongs to a run of flow `{record.flow}`, not of `{flow.name}`")
        if policy == "reject":
            raise RunConflict(f"run {record.id!r} of flow `{record.flow}` exists already; it is {record.status}")
        found = argument_difference(arguments, wire.decode_value(record.arguments))
        if found is not None:
            raise RunConflict(
                f"run {record.id!r} of flow `{record.flow}` exists with other arguments: {found}. Use another id, or "
                f'on_conflict="attach" or "replace"'
            )

    # reading

    def record(self, id: str) -> RunRecord:
        record = self.store.run(id)
        if record is None:
            near = self.store.similar_ids(id)
            hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
            raise UnknownRun(f"there is no run {id!r} in this log{hint}")
        return record

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
        rows = [*self.store.history(record.key), *self._mail_rows(record)]
        return why_sentence(record, asks(rows), self._now(), owners.get(record.owner or 0))

    def _mail_rows(self, record: RunRecord) -> Iterator[Row]:
        """Attempts that lie in the inbox, as if they were admitted, for looking."""
        for mail in self.store.mail(record.key):
            if mail.kind in ("attempt", "attempt_failed") and mail.ask is not None:
                yield Row(0, mail.kind, mail.ask, None, mail.value, mail.sent_at)

    # steering

    def pause(self, id: str) -> None:
        record = self.record(id)
        if record.status in ENDED:
            raise Refused(f"run {id!r} is {record.status}; there is nothing to pause")
        if record.status == "paused":
            return
        seized = self.store.seize(record.key, self._owner())
        if seized is None:
            mail = NewMail("pause", None, None, None, None, b"{}", self._label, False)
            self.store.tell(record.key, mail, self._now())
            return
        self._steer(seized, "paused", f"paused by {self._label}", e.Paused)

    def resume(self, id: str) -> None:
        record = self.record(id)
        if record.status not in ("paused", "parked"):
            raise Refused(f"run {id!r} is {record.status}; only a paused or parked run can be resumed")
        seized = self._seized(record)
        self._steer(seized, "waiting", f"resumed by {self._label}", e.Resumed)

    def retry(self, id: str, redo: bool) -> None:
        """Append Retried(cut) to a failed run and let it go on."""
        record = self.record(id)
        if record.status != "failed":
            raise Refused(f"run {id!r} is {record.status}; only a failed run can be retried")
        rows = self.store.history(record.key)
        failed = wire.event_of(next(row for row in reversed(rows) if row.kind == "failed"))
        assert isinstance(failed, e.RunFailed)
        self._check_redo(id, rows, failed.cut, redo)
        code = self._fitting_code(record, rows, failed)
        seized = self._seized(record)
        now, head = self._now(), rows[-1].seq
        events: list[e.AnyEvent] = [e.Retried(seq=head + 1, at=now, cut=failed.cut)]
        if code is not None:
            events.append(e.CodeChanged(seq=head + 2, at=now, code=code, mark=""))
        release = Release("waiting", now)
        commit = Commit(
            seized.key,
            seized.lease,
            seized.mail,
            [wire.row_of(one) for one in events],
            now,
            code=code,
            release=release,
            forgives=True,
        )
        self._commit_seized(commit)

    def _commit_seized(self, commit: Commit) -> None:
        """The commit of a momentary lease; when it cannot be written, the lease ends all the same."""
        try:
            self.store.commit(commit)
        except LogError:
            self.store.give_back(commit.run, commit.lease, commit.at)
            raise

    def _check_redo(self, id: str, rows: list[Row], cut: int, redo: bool) -> None:
        finished = [
            one
            for one in asks(effective(rows)).values()
            if one.seq > cut and one.answer is not None and one.answer.kind == "returned"
        ]
        if finished and not redo:
            names = ", ".join(f"`{one.name}`" for one in finished)
            raise Refused(
                f"run {id!r} has finished {names} after the failure (a compensation?); a retry would leave that undone or "
                "do it twice. Use retry(redo=True) if that is right"
            )

    def _fitting_code(self, record: RunRecord, rows: list[Row], failed: e.RunFailed) -> str | None:
        """The newest flow code, when the flow's own line failed and the new code replays up to there."""
        if failed.cut != failed.seq:
            return None
        newest = self.definitions.newest(record)
        if newest is None:
            return None
        before = [row for row in effective(rows) if row.seq < failed.cut]
        _, wrong = rehearse(before, self.definitions.registered(record), record.id, record.uid, self.values)
        return newest if wrong is None else None

    def delete(self, id: str, force: bool) -> None:
        record = self.record(id)
        if not self.store.delete(record.key, force):
            raise Refused(f"run {id!r} is {record.status}; delete(force=True) removes a run that has not ended")

    def _seized(self, record: RunRecord) -> RunRecord:
        seized = self.store.seize(record.key, self._owner())
        if seized is None:
            raise Refused(f"run {record.id!r} is being carried right now; try again in a moment")
        return seized

    def _steer(self, record: RunRecord, status: str, sentence: str, event: type[e.Paused] | type[e.Resumed]) -> None:
        """One event under a momentary lease, and the run's new status."""
        now = self._now()
        row = wire.row_of(event(seq=self.store.history(record.key)[-1].seq + 1, at=now, sentence=sentence))
        forgives = event is e.Resumed  # also the steps whose crashes nobody has been told of yet
        over = {"pause", "crashed"} if forgives else {"pause"}
        orders = [mail.seq for mail in self.store.mail(record.key) if mail.kind in over]
        release = Release(
            status,
            now if status == "waiting" else None,
            reason="paused" if status == "paused" else None,
            sentence=sentence if status == "paused" else None,
            waits=record.waits,
        )
        self._commit_seized(
            Commit(record.key, record.lease, record.mail, [row], now, orders=orders, release=release, forgives=forgives)
        )

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
            for row in self.store.history(record.key)
        ]
        frozen = {
            "format": 1,
            "log": self.store.log().uid,
            "flow": record.flow,
            "id": record.id,
            "uid": record.uid,
            "rows": rows,
        }
        return msgspec.json.format(msgspec.json.encode(frozen))


def new_id() -> str:
    """An automatic id: "~" and twelve characters that cannot be misread."""
    return "~" + base64.b32encode(token(8)).decode().lower()[:12]
