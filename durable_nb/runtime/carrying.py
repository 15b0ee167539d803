"""Carrying a run on the calling thread: its code to the next wait or the end, the outcome into the log."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from durable_nb.engine.cursor import Cursor
from durable_nb.engine.turn import Outcome, Turn, run_turn
from durable_nb.errors import BadArguments, Corrupt, LogError, Uncapturable, UnknownCode, Untrusted
from durable_nb.flows.flow import Flow
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.runtime import output
from durable_nb.runtime.kept import Kept, can_go_on, close
from durable_nb.runtime.lease import Lease
from durable_nb.runtime.port import Port
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.runtime.settle import settle
from durable_nb.runtime.shared import Shared
from durable_nb.runtime.steps import Workers
from durable_nb.stores.protocol import LeaseLost, MailArrived
from durable_nb.stores.shapes import Mail, RunRecord

_logger = logging.getLogger("durable_nb.carrying")


class Carrying:
    """The runs in the hands of this process, on whatever thread."""

    def __init__(self, shared: Shared, workers: Workers) -> None:
        self._shared = shared
        self._workers = workers
        self.leases: dict[int, Lease] = {}
        self._stranded: dict[int, int] = {}
        self._kept = Kept()
        shared.deliver = self._deliver

    def carry(self, record: RunRecord, echo: output.Echo = output.Echo.NEVER, log: Sequence[Row] = ()) -> Lease:
        """Carry a leased run as far as it goes. It is settled, or lost, when this returns.

        `log` is its history where that is known: of a run that was born leased. Else it is read.
        """
        output.install()
        shared = self._shared
        lease = self._kept.take(record)
        is_kept = lease is not None
        while True:
            if lease is None:
                lease = Lease(shared, record, echo, log or shared.store.history(record.key, record.base))
            self.leases[record.key] = lease
            try:
                with lease.interrupts:
                    settle(lease, _go_on(lease) if is_kept else _turn(lease, Port(lease, self._workers)))
                if lease.has_ended:
                    self._workers.forget(record.key)
            except MailArrived:
                is_kept = can_go_on(lease)
                if not is_kept:
                    close(lease)
                    self._workers.post(record, lease.leftovers())
                record, log = record._replace(mail=shared.newest_mail(record.key)), ()
                lease = lease.renew(record) if is_kept else None
                continue
            except LeaseLost:
                _logger.info("run %r was taken over by another process", record.id)
                close(lease)
            except LogError as broken:
                lease.broken = broken
                close(lease)
            except BaseException:
                close(lease)  # left to the collector, its clean-up would ask in the turn of whatever run comes next
                raise
            finally:
                if self.leases.get(record.key) is lease:  # somebody else here may have the run again by now
                    self.leases.pop(record.key, None)
                shared.news.announce(record.key)
            self._workers.post(record, lease.leftovers())
            if lease.broken is not None:
                self.strand(record)
            self._kept.put(lease)  # last: from here on another thread may go on with it
            return lease

    def let_go(self) -> None:
        """Give up the code of every waiting run; the log has all that is needed to make it again."""
        self._kept.clear()

    def strand(self, record: RunRecord) -> None:
        """A run whose turn could not be written: it is given back as soon as the log can be written again."""
        self._stranded[record.key] = record.lease

    def give_back(self) -> bool:
        """Give back what could not be given back before; True when any was."""
        store, now = self._shared.store, self._shared.now()
        given = [key for key, lease in list(self._stranded.items()) if store.give_back(key, lease, now)]
        for key in given:
            self._stranded.pop(key, None)
        return bool(given)

    def has_mail(self, run: int | None = None) -> None:
        """There may be mail for this run, or for any."""
        leases = list(self.leases.values()) if run is None else [self.leases.get(run)]
        for lease in leases:
            if lease is not None:
                lease.tell()

    def _deliver(self, run: int, answer: Mail) -> bool:
        lease = self.leases.get(run)
        return lease is not None and lease.deliver(answer)

    def heed(self) -> None:
        """Tell steps on their flow's own thread that their run is being cancelled; that thread looks only afterwards."""
        for lease in list(self.leases.values()):
            here = lease.here
            if here is not None and lease.was_told:
                mails = self._shared.store.mail(lease.record.key, lease.inbox.read_to)
                here.stop.is_set = here.stop.is_set or any(mail.kind == "cancel" for mail in mails)

    def flush_output(self) -> None:
        for lease in list(self.leases.values()):
            if not lease.sink.is_empty:
                lease.flush_output()

    def flush(self) -> None:
        """Write every answer that still waits for company."""
        for lease in list(self.leases.values()):
            try:
                lease.flush()
            except LogError as error:
                _logger.warning("the last answer of run %r was not written: %s", lease.record.id, error)


def _go_on(lease: Lease) -> Outcome:
    """Run the code on from where it waits."""
    turn = lease.turn
    assert turn is not None
    turn.cursor.closed = None
    return _run(lease, turn, turn.loop.go_on)


def _turn(lease: Lease, port: Port) -> Outcome:
    """Run the code; what keeps it from running at all parks the run."""
    record, shared = lease.record, lease.shared
    cursor = Cursor(lease.rows, port)
    turn = Turn(record.id, record.uid, record.execution, record.version, cursor, lease.reader)
    turn.sink = lease.sink
    lease.turn = turn
    try:
        arguments = lease.arguments()
        turn.state = dict(lease.started.state)
        flow, is_changed = shared.definitions.code(record)
        if is_changed:
            _accept_code(lease, flow)
        args, kwargs = flow.arguments.call_form(arguments)
        code = flow.new_code()
    except (UnknownCode, Untrusted, Corrupt, BadArguments, Uncapturable) as error:
        lease.park(_REASONS[type(error)], str(error))
    if lease.ending is not None:
        return run_turn(turn, lease.close_turn)
    return _run(lease, turn, lambda: flow.run(turn, code, args, kwargs))


def _run(lease: Lease, turn: Turn, code: Callable[[], object]) -> Outcome:
    interrupts = lease.interrupts

    def body() -> object:
        interrupts.leave_engine()
        try:
            return code()
        finally:
            interrupts.enter_engine()

    outcome = run_turn(turn, body)
    lease.raise_broken()
    return outcome


def _accept_code(lease: Lease, flow: Flow[..., Any]) -> None:
    """The module of the flow has changed since the run began: go on with the new code if it fits, else park."""
    record, shared = lease.record, lease.shared
    _, wrong = rehearse(lease.log, flow, record, shared.values)
    if wrong is not None:
        lease.park(
            "code_changed", f"the code of flow `{record.flow}` has changed and does not fit the run any more: {wrong}"
        )
        return
    digest = shared.definitions.pin(flow)
    event = e.CodeChanged(seq=lease.head + 1, at=shared.now(), code=digest, mark="")
    lease.commit([wire.row_of(event)], code=digest)


_REASONS = {
    UnknownCode: "no_code",
    Untrusted: "untrusted",
    Corrupt: "corrupt",
    BadArguments: "arguments",
    Uncapturable: "no_code",
}
