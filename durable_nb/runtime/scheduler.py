"""Schedules: kept in the log, and fired when they are due by whoever carries runs, each tick once."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from durable_nb.chance import token
from durable_nb.errors import BadOption, DurableError, LogError, UnknownSchedule
from durable_nb.flows.children import Begin
from durable_nb.flows.flow import Flow
from durable_nb.flows.host import StartOptions
from durable_nb.flows.schedule import MISFIRES, checked_schedule_id, due_ticks, run_id, ticks
from durable_nb.history import wire
from durable_nb.history.values import payloads
from durable_nb.runtime.births import kept_arguments, new_run
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import NewRun, ScheduleRecord

if TYPE_CHECKING:
    from durable_nb.flows.values import Values
    from durable_nb.runtime.definitions import Definitions

_logger = logging.getLogger("durable_nb.scheduler")
_AT_ONCE = 100  # missed ticks that one commit makes up for


class Log(Protocol):
    """What schedules need of an open log."""

    store: Store
    values: "Values"
    definitions: "Definitions"

    @property
    def now(self) -> Callable[[], float]: ...


class Timetable:
    """The schedules of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def put(
        self, flow: Flow[..., Any], args: Any, kwargs: Any, spec: str, id: str | None, tz: str, misfire: str
    ) -> ScheduleRecord:
        """Keep the schedule. One that has the id and the same times goes on with its next tick, paused if it was."""
        if misfire not in MISFIRES:
            raise BadOption(f"misfire={misfire!r}: it is one of {', '.join(MISFIRES)}")
        log, name = self._log, checked_schedule_id(id if id is not None else flow.name)
        now = log.now()
        next_at = ticks(spec, tz).after(now)
        arguments = kept_arguments(log, Begin(flow, None, args, kwargs, flow.options_))
        if list(payloads(arguments)):
            raise BadOption("the arguments of a schedule are too large; give a path or an id that says where they are")
        code = log.definitions.pin(flow)
        kept = wire.encode_value(log.values.mark(arguments, name, 0, "schedule"))
        made = ScheduleRecord(name, flow.name, code, kept, spec, tz, misfire, next_at, False, None, now)
        before = self._find(name)
        if before is not None and (before.spec, before.tz) == (spec, tz):
            made = made._replace(
                next_at=before.next_at, paused=before.paused, sentence=before.sentence, created_at=before.created_at
            )
        if made != before:
            log.store.put_schedule(made)
        return made

    def records(self) -> list[ScheduleRecord]:
        return self._log.store.schedules()

    def record(self, id: str) -> ScheduleRecord:
        found = self._find(id)
        if found is None:
            known = ", ".join(repr(each.id) for each in self.records()[:5]) or "none"
            raise UnknownSchedule(f"there is no schedule {id!r} in this log; there is {known}")
        return found

    def pause(self, id: str) -> None:
        self._change(id, lambda record: record._replace(paused=True, sentence="paused by a person"))

    def resume(self, id: str) -> None:
        now = self._log.now()

        def change(record: ScheduleRecord) -> ScheduleRecord:
            if not record.paused:
                return record
            return record._replace(paused=False, sentence=None, next_at=ticks(record.spec, record.tz).after(now))

        self._change(id, change)

    def delete(self, id: str) -> None:
        self.record(id)
        self._log.store.drop_schedule(id)

    def fire(self) -> None:
        """Start what is due. A schedule that cannot be started is paused and says why; the others go on."""
        now = self._log.now()
        for due in self._log.store.due_schedules(now):
            try:
                self._fire(due, now)
            except LogError:
                raise
            except DurableError as error:
                _logger.warning("schedule %r is paused: %s", due.id, error)
                self._log.store.fire(due, due._replace(paused=True, sentence=str(error)), ())

    def _fire(self, due: ScheduleRecord, now: float) -> None:
        """In one commit: the runs of the ticks, and the time of the next one. Only one process gets it."""
        at, next_at = due_ticks(due.spec, due.tz, due.misfire, due.next_at, now, _AT_ONCE)
        flow = self._log.definitions.flow(due.flow) if at else None
        starts = [self._start(due, flow, tick, now) for tick in at] if flow is not None else []
        code = starts[0].code if starts else due.code
        self._log.store.fire(due, due._replace(next_at=next_at, code=code), starts)

    def _start(self, due: ScheduleRecord, flow: Flow[..., Any], tick: float, now: float) -> NewRun:
        what = f"schedule `{due.id}`"
        named = self._log.values.take_arguments(wire.decode_value(due.arguments), due.id, 0, "schedule", what)
        args, kwargs = flow.arguments.call_form(named)
        options: StartOptions = flow.options_._replace(delay=0.0)
        return new_run(self._log, Begin(flow, None, args, kwargs, options), run_id(due.id, tick), token(16).hex(), now)

    def _change(self, id: str, change: Callable[[ScheduleRecord], ScheduleRecord]) -> None:
        """Put something else in its place; again when it has been fired meanwhile."""
        while True:
            record = self.record(id)
            if self._log.store.fire(record, change(record), ()):
                return

    def _find(self, id: str) -> ScheduleRecord | None:
        return next((record for record in self.records() if record.id == id), None)
