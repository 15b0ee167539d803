"""Steering runs from outside their code: signals, pause, resume, retry, cancel, terminate, delete."""

from typing import Any

from durable_nb.client import ENDED, Client, refuse_cells
from durable_nb.codec.values import plain_json
from durable_nb.errors import DurableError, Refused, ResultExpired, SignalRejected, UnknownRun
from durable_nb.flows.expected import misfit
from durable_nb.history import events as e, wire
from durable_nb.history.summary import Asked, asks, effective
from durable_nb.runtime.asking import cancel_mail
from durable_nb.runtime.births import child_id
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.steer.retrying import Retrying
from durable_nb.steer.seizure import Seizure, as_it_was
from durable_nb.stores.shapes import Commit, Message, NewMail, Release, RunRecord
from durable_nb.views.sentences import waits_of


class Steering:
    """What a person may do with a run. The client knows the log and who asks."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.store
        self._seizure = Seizure(client)
        self._retrying = Retrying(client, self._seizure)

    def signal(self, id: str, name: str, value: Any, key: str | None, before_start: bool) -> str:
        """Put a signal into a mailbox; what became of it. Refused for a run that is over or was never begun."""
        client = self._client
        record = self._store.run(id)
        if record is not None:
            _check_fits(record, name, value)
        kept = client.values.mark(client.values.keep(value, f"the signal `{name}`"), id, 0, "signal")
        mail = NewMail("signal", None, None, name, key, wire.encode_value(kept), client.label, True)
        told = self._store.signal(id, mail, client.now(), before_start)
        if told.what == "ended":
            raise Refused(f"run {id!r} has ended; it takes no signals any more")
        if told.what == "unknown":
            raise self._unknown(id)
        return told.what

    def _unknown(self, id: str) -> UnknownRun:
        """With ids that look like this one, or that it was pruned, and what can be done about it."""
        try:
            self._client.record(id)
        except ResultExpired as error:
            return error
        except UnknownRun as error:
            return UnknownRun(f"{error}; before_start=True keeps the signal for it")
        return UnknownRun(f"run {id!r} has just begun; send the signal again")

    def cancel(self, id: str, reason: str) -> None:
        """Ask the run to end."""
        record = self._client.record(id)
        _refuse_unfit("cancel", record)
        now = self._client.now()
        if record.status == "pending" and record.ready_at is not None and record.ready_at > now:
            self.terminate(id, reason)  # it has not begun: there is nothing to clean up
            return
        self._store.tell(record.key, cancel_mail(self._client.label, reason), now)
        if record.status == "paused":
            self.resume(id)

    def terminate(self, id: str, reason: str) -> None:
        """End the run at once; whoever carries it can write nothing more."""
        record = self._client.record(id)
        _refuse_unfit("terminate", record)
        seized = self._store.wrest(record.key, self._client.owner())
        if seized is None:
            raise UnknownRun(f"run {id!r} was deleted meanwhile")
        rows, now = self._store.history(record.key, record.base), self._client.now()
        sentence = f"terminated by {self._client.label}" + (f": {reason}" if reason else "")
        row = wire.row_of(e.RunCancelled(seq=rows[-1].seq + 1, at=now, sentence=sentence, is_cut_off=True))
        release = Release("cancelled", None, reason="terminated", sentence=sentence, outcome=wire.ended_of(row))
        messages = [
            Message(_child(record, asked), None, cancel_mail(f"run {id}", "its parent was terminated"))
            for asked in asks(effective(rows)).values()
            if asked.kind == "child" and asked.answer is None and not asked.is_dropped and not asked.is_aside
        ]
        self._seizure.write(
            Commit(record.key, seized.lease, seized.mail, [row], now, messages=messages, release=release)
        )

    def pause(self, id: str) -> None:
        record = self._client.record(id)
        _refuse_unfit("pause", record)
        if record.status == "paused":
            return
        seized = self._store.seize(record.key, self._client.owner())
        if seized is None:
            mail = NewMail("pause", None, None, None, None, b"{}", self._client.label, False)
            self._store.tell(record.key, mail, self._client.now())
            return
        self._steer(seized, "paused", f"paused by {self._client.label}", e.Paused)

    def resume(self, id: str) -> None:
        record = self._client.record(id)
        _refuse_unfit("resume", record)
        seized = self._seizure.take(record)
        self._steer(seized, "waiting", f"resumed by {self._client.label}", e.Resumed)

    def retry(self, id: str, redo: bool) -> None:
        """Let a failed run go on from before its failure, and the children that fell with it."""
        record = self._client.record(id)
        _refuse_unfit("retry", record)
        self._retrying.retry(record, redo)

    def upgrade(self, id: str) -> None:
        """Replay the newest code; where it fits the run is pinned to it, and goes on if it was parked."""
        client = self._client
        record = client.record(id)
        _refuse_unfit("upgrade", record)
        if record.status in ENDED:
            raise Refused(
                f"run {id!r} is {record.status}; only a run that has not ended can be upgraded, others forked"
            )
        flow = client.definitions.newest_flow(record)
        code = client.definitions.pin(flow)
        if code == record.code and record.status != "parked":
            return
        seized = self._seizure.take(record)
        try:
            rows = self._store.history(record.key, record.base)
            _, wrong = rehearse(rows, flow, record, client.values)
            if wrong is not None:
                raise Refused(f"run {id!r} cannot go on with the newest code of flow `{record.flow}`: {wrong}")
        except BaseException:
            self._seizure.put_down(seized)
            raise
        now, head = client.now(), rows[-1].seq
        events: list[e.AnyEvent] = [e.CodeChanged(seq=head + 1, at=now, code=code, mark="")]
        release, taken = as_it_was(seized, now), list[int]()
        is_parked = seized.status == "parked"
        if is_parked:
            events.append(e.Resumed(seq=head + 2, at=now, sentence=f"upgraded by {client.label}"))
            release, taken = Release("waiting", now, waits=seized.waits), self._over(record.key, "crashed")
        self._seizure.write(
            Commit(
                record.key, seized.lease, seized.mail, [wire.row_of(one) for one in events], now, taken=taken, code=code,
                release=release, forgives=is_parked,
            )
        )  # fmt: skip

    def delete(self, id: str, force: bool) -> None:
        record = self._client.record(id)
        _refuse_unfit("delete", record)
        held = self._store.delete([record.key], force, self._client.now())
        if held:
            raise Refused(_held(record, self._store.run_by_key(held[0])))

    def objection(self, id: str, verb: str, given: dict[str, Any]) -> str | None:
        """Why the verb would be refused right now; None = it would be done."""
        try:
            record = self._client.record(id)
            _refuse_unfit(verb, record)
            if verb == "signal":
                _check_fits(record, given["name"], given["value"])
            elif verb == "retry":
                self._retrying.family(record, given["redo"])
            elif verb == "delete" and not given["force"]:
                for one in self._store.tree(record.key):
                    if one.status not in ENDED or one.owner is not None:
                        return _held(record, one)
        except DurableError as error:
            return str(error)
        return None

    def _steer(self, record: RunRecord, status: str, sentence: str, event: type[e.Paused] | type[e.Resumed]) -> None:
        """One event under a momentary lease, and the run's new status."""
        now = self._client.now()
        row = wire.row_of(event(seq=self._store.history(record.key)[-1].seq + 1, at=now, sentence=sentence))
        forgives = event is e.Resumed
        taken = self._over(record.key, "pause", "crashed") if forgives else self._over(record.key, "pause")
        release = Release(
            status,
            now if status == "waiting" else None,
            reason="paused" if status == "paused" else None,
            sentence=sentence if status == "paused" else None,
            waits=record.waits,
        )
        self._seizure.write(
            Commit(record.key, record.lease, record.mail, [row], now, taken=taken, release=release, forgives=forgives)
        )

    def _over(self, run: int, *kinds: str) -> list[int]:
        """Mail that a person has dealt with: orders, and crashes that nobody has been told of yet."""
        return [mail.seq for mail in self._store.mail(run) if mail.kind in kinds]


def _refuse_unfit(verb: str, record: RunRecord) -> None:
    """Refused when the verb makes no sense for this run, or in this status."""
    id, status = record.id, record.status
    refuse_cells(verb, record)
    if verb in ("cancel", "terminate", "pause") and status in ENDED:
        raise Refused(f"run {id!r} is {status}; there is nothing to {verb}")
    if verb == "cancel" and status == "parked":
        raise Refused(f"run {id!r} is parked, so its code cannot clean up; run.terminate() ends it at once")
    if verb == "resume" and status not in ("paused", "parked"):
        raise Refused(f"run {id!r} is {status}; only a paused or parked run can be resumed")
    if verb == "retry" and status != "failed":
        raise Refused(f"run {id!r} is {status}; only a failed run can be retried")
    if verb == "signal" and status in ENDED:
        raise Refused(f"run {id!r} has ended; it takes no signals any more")


def _held(record: RunRecord, held: RunRecord | None) -> str:
    """Why a run is not deleted: it, or a run below it, has not ended."""
    if held is None or held.id == record.id:
        return f"run {record.id!r} is {record.status}; delete(force=True) removes a run that has not ended"
    return f"run {held.id!r} below it is {held.status}; delete(force=True) removes what has not ended"


def _check_fits(record: RunRecord, name: str, value: Any) -> None:
    """SignalRejected when an open wait says what it expects, and this is not it."""
    plain = plain_json(value)
    waiting = [one for one in waits_of(record) if one.kind == "signal" and one.name == name and one.type]
    if plain is None or not waiting:
        return
    found = misfit(waiting[0].type or {}, value)
    if found is not None:
        raise SignalRejected(f"the signal `{name}` does not fit what run {record.id!r} waits for: {found}")


def _child(record: RunRecord, asked: Asked) -> str:
    return asked.child or child_id(record, asked.seq)
