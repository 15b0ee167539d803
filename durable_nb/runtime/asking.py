"""What the code asked, as one commit: the rows, and what each of them sets going."""

from collections.abc import Sequence
from typing import Any

import msgspec

from durable_nb.codec.digest import digest_bytes
from durable_nb.codec.values import plain_json
from durable_nb.engine.cursor import Ticket
from durable_nb.errors import DurableError, Refused, UnknownRun
from durable_nb.flows.children import Begin
from durable_nb.history import calls, events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.values import Value, plain
from durable_nb.runtime.births import child_id, conflict, new_run
from durable_nb.runtime.lease import Lease
from durable_nb.runtime.mail import mail_again
from durable_nb.runtime.steps import Workers
from durable_nb.stores.shapes import Mail, Message, NewMail, NewRun, NewWork, RunRecord


class Asking:
    """Turns asks into the parts of a commit. Nothing is written here."""

    def __init__(self, lease: Lease, workers: Workers | None) -> None:
        self._lease = lease
        self._workers = workers  # None at the end of a flow: what was asked is told and nobody does it
        self._at = lease.shared.now()
        self._numbers: dict[Ticket, int] = {}
        self.rows: list[Row] = []
        self.work: list[NewWork] = []
        self.begun: dict[int, calls.Ask] = {}  # what of it is to be done
        self.starts: dict[str, NewRun] = {}  # by id
        self.watches: list[tuple[str, int]] = []
        self.messages: list[Message] = []
        self.state: list[tuple[str, bytes | None]] = []
        self.note: bytes | None = None
        self.dropped: list[int] = []
        self.returned: list[Mail] = []

    def add(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._add(ticket)

    def parts(self) -> dict[str, Any]:
        """What goes into the commit beside the rows; only what there is."""
        parts = {
            "work": self.work, "starts": list(self.starts.values()), "watches": self.watches, "messages": self.messages,
            "state": self.state, "note": self.note, "dropped": self.dropped, "returned": self.returned,
        }  # fmt: skip
        return {name: part for name, part in parts.items() if part}

    def _add(self, ticket: Ticket) -> None:
        ask = ticket.ask
        if ask.kind == "drop":
            self._drop(ask.body)
            return
        number = self._put(ask.kind, None, ask.name, ask.data)
        self._numbers[ticket] = number
        match ask.kind:
            case "step":
                if ask.body.large:
                    self._lease.shared.values.put_large(ask.body.large)
                if ask.body.elsewhere and self._workers is not None and not ticket.is_dropped:
                    self.work.append(self._workers.new_work(number, ask))
                    self.begun[number] = ask
            case "child" if self._workers is not None and not ticket.is_dropped:
                self._begin(number, ask.body, is_awaited=True)
            case "start":
                self._begin(number, ask.body, is_awaited=False)
            case "watch" if self._workers is not None and not ticket.is_dropped:
                self._watch(number, msgspec.json.decode(ask.data, type=calls.RunCall).run)
            case "look":
                self._look(number, ask.name or "", msgspec.json.decode(ask.data, type=calls.RunCall).run)
            case "tell":
                self._tell(number, ask.name or "", msgspec.json.decode(ask.data, type=calls.RunCall))
            case "set":
                self.state.append((ask.name or "", wire.encode_value(_held(ask.data))))
            case "unset":
                self.state.append((ask.name or "", None))
            case "note":
                self.note = wire.encode_value(_held(ask.data))

    def _put(self, kind: str, ref: int | None, name: str | None, data: bytes) -> int:
        number = self._lease.head + len(self.rows) + 1
        self.rows.append(Row(number, kind, ref, name, data, self._at))
        return number

    # answers that are known at once

    def _answer(self, ask: int, value: Value) -> None:
        self._put("returned", ask, None, wire.encode_value(value))

    def _refuse(self, ask: int, error: Exception) -> None:
        self._put("raised", ask, None, wire.encode_failure(self._lease.shared.values.failure(error)))

    # other runs

    def _begin(self, number: int, begin: Begin, is_awaited: bool) -> None:
        shared, record = self._lease.shared, self._lease.record
        id = begin.id or child_id(record, number)
        uid = digest_bytes(f"{record.uid}/{number}".encode())[:32]
        known = self.starts.get(id) or shared.store.run(id)
        if known is not None and known.uid != uid:
            self._meet(number, begin, known, is_awaited)
            return
        try:
            new = new_run(shared, begin, id, uid, self._at)
        except DurableError as error:
            self._refuse(number, error)
            return
        priority = new.priority if begin.options.priority is not None else record.priority
        self.starts[id] = new._replace(parent=record.key, parent_ask=number, priority=priority)
        if is_awaited:
            self.watches.append((id, number))
        else:
            self._answer(number, plain(msgspec.json.encode(id)))

    def _meet(self, number: int, begin: Begin, known: RunRecord | NewRun, is_awaited: bool) -> None:
        """The id belongs to a run already: it is attached to if it is the same call, else refused."""
        error = conflict(self._lease.shared, begin, known, is_awaited)
        if error is not None:
            self._refuse(number, error)
        elif is_awaited:
            self._watch(number, known.id)
        else:
            self._answer(number, plain(msgspec.json.encode(known.id)))

    def _watch(self, number: int, run: str) -> None:
        if run not in self.starts and self._lease.shared.store.run(run) is None:
            self._refuse(number, UnknownRun(f"there is no run {run!r} in this log"))
        elif run == self._lease.record.id:
            self._refuse(number, Refused(f"run {run!r} cannot wait for its own end"))
        else:
            self.watches.append((run, number))

    def _look(self, number: int, key: str, run: str) -> None:
        shared = self._lease.shared
        record = shared.store.run(run)
        if record is None and run not in self.starts:
            self._refuse(number, UnknownRun(f"there is no run {run!r} in this log"))
            return
        stored = None if record is None else self._state_of(record).get(key)
        if record is None or stored is None:
            self._refuse(number, KeyError(key))
            return
        value = wire.decode_value(stored)
        shared.values.check(value, record.uid, 0, "state", f"state[{key!r}] of run {run!r}")
        self._answer(number, value)

    def _state_of(self, record: RunRecord) -> dict[str, bytes]:
        """As it is now; of the run itself with what this very commit changes."""
        stored: dict[str, bytes | None] = {**self._lease.shared.store.state(record.key)}
        if record.key == self._lease.record.key:
            stored.update(self.state)
        return {key: value for key, value in stored.items() if value is not None}

    def _tell(self, number: int, verb: str, call: calls.RunCall) -> None:
        shared, own = self._lease.shared, self._lease.record
        record = shared.store.run(call.run)
        found = self.starts.get(call.run) or record
        if found is None:
            self._refuse(number, UnknownRun(f"there is no run {call.run!r} in this log"))
            return
        if record is not None and record.ended_at is not None:
            self._refuse(number, Refused(f"run {call.run!r} has ended ({record.status}): it takes no {verb}"))
            return
        value = wire.encode_value(shared.values.mark(call.value, call.run, 0, "signal")) if call.value else b"{}"
        sender = f"run {own.id}"
        mail = NewMail(verb, None, None, call.mailbox, call.key, value, sender, True)
        if verb == "cancel":
            mail = cancel_mail(sender, _reason(call))
        self.messages.append(Message(call.run, found.uid, mail))
        self._answer(number, plain(b'"told"'))

    # giving up

    def _drop(self, given: Ticket) -> None:
        ref = given.row.seq if given.row is not None else self._numbers[given]
        self._put("drop", ref, None, b"{}")
        self.release(given, ref)

    def release(self, given: Ticket, ref: int, why: str = "gave it up") -> None:
        """Tell whoever does what is not wanted any more."""
        if given.answer is not None:
            event = wire.event_of(given.answer) if given.answer.kind == "received" else None
            if isinstance(event, e.Received):
                self.returned.append(mail_again(self._lease.shared.values, self._lease.record, event))
        elif given.ask.kind == "step":
            self.dropped.append(ref)
        elif given.ask.kind == "child":
            begin: Begin = given.ask.body
            id = begin.id or child_id(self._lease.record, ref)
            uid = digest_bytes(f"{self._lease.record.uid}/{ref}".encode())[:32]
            self.messages.append(Message(id, uid, cancel_mail(f"run {self._lease.record.id}", f"its parent {why}")))


def cancel_mail(sender: str, reason: str) -> NewMail:
    """The order to end."""
    return NewMail("cancel", None, None, None, None, plain_json(reason) or b'""', sender, True)


def _held(data: bytes) -> Value:
    return msgspec.json.decode(data, type=calls.Held).value


def _reason(call: calls.RunCall) -> str:
    if call.value is None or not call.value.is_plain:
        return ""
    return str(msgspec.json.decode(call.value.json))
