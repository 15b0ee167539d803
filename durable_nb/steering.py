"""Steering runs from outside their code: signals, pause, resume, retry, cancel, terminate, delete."""

from typing import Any

from durable_nb.client import ENDED, Client
from durable_nb.codec.values import plain_json
from durable_nb.errors import LogError, Refused, SignalRejected, UnknownRun
from durable_nb.flows.expected import misfit
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.summary import Asked, asks, effective
from durable_nb.runtime.asking import cancel_mail
from durable_nb.runtime.births import child_id
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores.protocol import MailArrived
from durable_nb.stores.shapes import Commit, Message, NewMail, Release, RunRecord
from durable_nb.views.sentences import waits_of


class Steering:
    """What a person may do with a run. The client knows the log and who asks."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.store

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
            client.record(id)  # UnknownRun, with ids that look like this one
            raise UnknownRun(f"there is no run {id!r} in this log yet; before_start=True keeps the signal for it")
        return told.what

    def cancel(self, id: str, reason: str) -> None:
        """Ask the run to end."""
        record = self._client.record(id)
        if record.status in ENDED:
            raise Refused(f"run {id!r} is {record.status}; there is nothing to cancel")
        if record.status == "parked":
            raise Refused(f"run {id!r} is parked, so its code cannot clean up; run.terminate() ends it at once")
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
        if record.status in ENDED:
            raise Refused(f"run {id!r} is {record.status}; there is nothing to terminate")
        seized = self._store.wrest(record.key, self._client.owner())
        if seized is None:
            raise UnknownRun(f"run {id!r} was deleted meanwhile")
        rows, now = self._store.history(record.key, record.base), self._client.now()
        sentence = f"terminated by {self._client.label}" + (f": {reason}" if reason else "")
        row = wire.row_of(e.RunCancelled(seq=rows[-1].seq + 1, at=now, sentence=sentence))
        release = Release("cancelled", None, reason="terminated", sentence=sentence, outcome=wire.ended_of(row))
        messages = [
            Message(_child(record, asked), None, cancel_mail(f"run {id}", "its parent was terminated"))
            for asked in asks(effective(rows)).values()
            if asked.kind == "child" and asked.answer is None and not asked.is_dropped and not asked.is_aside
        ]
        self._commit_seized(
            Commit(record.key, seized.lease, seized.mail, [row], now, messages=messages, release=release)
        )

    def pause(self, id: str) -> None:
        record = self._client.record(id)
        if record.status in ENDED:
            raise Refused(f"run {id!r} is {record.status}; there is nothing to pause")
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
        if record.status not in ("paused", "parked"):
            raise Refused(f"run {id!r} is {record.status}; only a paused or parked run can be resumed")
        seized = self._seized(record)
        self._steer(seized, "waiting", f"resumed by {self._client.label}", e.Resumed)

    def retry(self, id: str, redo: bool) -> None:
        """Append Retried(cut) to a failed run and let it go on."""
        record = self._client.record(id)
        if record.status != "failed":
            raise Refused(f"run {id!r} is {record.status}; only a failed run can be retried")
        rows = self._store.history(record.key, record.base)
        failed = wire.event_of(next(row for row in reversed(rows) if row.kind == "failed"))
        assert isinstance(failed, e.RunFailed)
        self._check_redo(id, rows, failed.cut, redo)
        code = self._fitting_code(record, rows, failed)
        seized = self._seized(record)
        now, head = self._client.now(), rows[-1].seq
        events: list[e.AnyEvent] = [e.Retried(seq=head + 1, at=now, cut=failed.cut)]
        if code is not None:
            events.append(e.CodeChanged(seq=head + 2, at=now, code=code, mark=""))
        release = Release("waiting", now)
        commit = Commit(
            seized.key, seized.lease, seized.mail, [wire.row_of(one) for one in events], now, code=code, release=release
        )
        self._commit_seized(commit)

    def _commit_seized(self, commit: Commit) -> None:
        """The commit of a momentary lease; when it cannot be written, the lease ends all the same."""
        while True:
            try:
                self._store.commit(commit)
                return
            except MailArrived:
                present = self._store.run_by_key(commit.run)
                commit = commit._replace(mail=commit.mail if present is None else present.mail)
            except LogError:
                self._store.give_back(commit.run, commit.lease, commit.at)
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
        newest = self._client.definitions.newest(record)
        if newest is None:
            return None
        before = [row for row in effective(rows) if row.seq < failed.cut]
        _, wrong = rehearse(before, self._client.definitions.registered(record), record, self._client.values)
        return newest if wrong is None else None

    def delete(self, id: str, force: bool) -> None:
        record = self._client.record(id)
        if self._store.delete([record.key], force, self._client.now()):
            raise Refused(f"run {id!r} is {record.status}; delete(force=True) removes a run that has not ended")

    def _seized(self, record: RunRecord) -> RunRecord:
        seized = self._store.seize(record.key, self._client.owner())
        if seized is None:
            raise Refused(f"run {record.id!r} is being carried right now; try again in a moment")
        return seized

    def _steer(self, record: RunRecord, status: str, sentence: str, event: type[e.Paused] | type[e.Resumed]) -> None:
        """One event under a momentary lease, and the run's new status."""
        now = self._client.now()
        row = wire.row_of(event(seq=self._store.history(record.key)[-1].seq + 1, at=now, sentence=sentence))
        orders = [mail.seq for mail in self._store.mail(record.key) if mail.kind == "pause"]
        release = Release(
            status,
            now if status == "waiting" else None,
            reason="paused" if status == "paused" else None,
            sentence=sentence if status == "paused" else None,
            waits=record.waits,
        )
        self._commit_seized(Commit(record.key, record.lease, record.mail, [row], now, taken=orders, release=release))


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
