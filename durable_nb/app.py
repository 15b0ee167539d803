"""An open log: the host of its flows and runs until it is closed."""

import atexit
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from durable_nb.client import SETTLED, Client
from durable_nb.codec.sign import load_signer
from durable_nb.errors import BadOption, ForkedProcess, LogClosed, LogError, Untrusted
from durable_nb.flows import host as hosts, registry
from durable_nb.flows.flow import Flow
from durable_nb.flows.host import StartOptions
from durable_nb.flows.values import Values
from durable_nb.history import events as e
from durable_nb.history.events import Row
from durable_nb.management.retention import Retention, Rules
from durable_nb.runtime import output
from durable_nb.runtime.definitions import Definitions
from durable_nb.runtime.interrupt import Interrupts
from durable_nb.runtime.lease import Lease
from durable_nb.runtime.options import RuntimeOptions
from durable_nb.runtime.runtime import Runtime
from durable_nb.runtime.scheduler import Timetable
from durable_nb.runtime.unparking import Unparking
from durable_nb.steer.steered import uninterrupted
from durable_nb.steer.steering import Steering
from durable_nb.steer.waiting import Waiting
from durable_nb.stores import Store
from durable_nb.stores.shapes import OutputRecord, RunRecord

_logger = logging.getLogger("durable_nb")


class App(Waiting):
    """An open log. A context manager; the newest open app is the default one."""

    def __init__(self, url: str, store: Store, options: RuntimeOptions, carry: bool, retention: Rules) -> None:
        self.url = url
        self.store = store
        self.clock = options.clock
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()
        self._owner: int | None = None
        log = store.log()
        signer = load_signer()
        self.values = Values(store, signer, log.uid)
        if not log.mark and not store.counts() and not store.codes():
            store.sign_log(
                signer.sign("log", log.uid)
            )  # new, and ours; what holds anything must be trusted by a person
        else:
            self.values.is_trusted = signer.verify(log.mark, "log", log.uid)
        definitions = Definitions(store, self.values, self.clock.now)
        self._unparking = Unparking(store, self.values, definitions, self.resume)
        self.runtime = Runtime(store, self.values, definitions, options) if carry else None
        label = self.runtime.shared.label if self.runtime is not None else f"pid {os.getpid()}"
        self.client = Client(store, self.values, definitions, self.clock.now, self.owner, label)
        self.steering = Steering(self.client)
        self.timetable = Timetable(self.client)
        if self.runtime is not None:
            self.runtime.duties += [Retention(store, retention, self.clock.now).look, self._unparking.look]
            registry.listen(self._unparking.note)
            self.runtime.begin()

    # a host

    def start(self, flow: Flow[..., Any], id: str | None, args: Any, kwargs: Any, options: StartOptions) -> str:
        self._check_open()
        runtime = self.runtime
        owner = runtime.owner if runtime is not None and runtime.carriers.has_room() else None
        record, log = self._begun(flow, id, args, kwargs, options, owner)
        if log and record.owner is not None and runtime is not None:
            runtime.carriers.give(record, log)
        elif self.runtime is not None:
            self.runtime.go_on(record.ready_at if record.ready_at is not None else self.clock.now())
        return record.id

    def start_many(self, flow: Flow[..., Any], calls: Any, options: StartOptions) -> list[str]:
        self._check_open()
        ids = self.client.start_many(flow, calls, options)
        self._go_on()
        return ids

    def carry(self, flow: Flow[..., Any], id: str | None, args: Any, kwargs: Any, options: StartOptions) -> Any:
        self._check_open()
        runtime = self._runtime()
        runtime.take_up()  # what it waits for may have begun before
        carried: Lease | None = None
        with Interrupts() as interrupts:  # from before the lease on, or a Ctrl-C in between would leave it behind
            record, log = self._begun(flow, id, args, kwargs, options, runtime.owner)
            claimed: RunRecord | None = record
            if not log or record.owner is None:
                claimed = self._claimed(runtime, record)
            if claimed is not None:
                carried = runtime.carrying.carry(claimed, output.Echo.AT_ONCE, log)
        if carried is not None:
            if carried.broken is not None:
                raise carried.broken
            record = self.client.record(record.id)
            if carried.error is not None and record.status == "failed":
                raise carried.error
            if carried.was_interrupted:
                raise KeyboardInterrupt(f'run {record.id!r} is paused: {record.sentence}; runs["{record.id}"].resume()')
        if interrupts.is_pressed:  # while the log was written, and no user code came after
            raise KeyboardInterrupt(_interrupted(record))
        if carried is not None and record.status in SETTLED:
            return self.client.outcome(record)
        try:
            return self.result(record.id, None)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(record)) from None

    def _begun(
        self, flow: Flow[..., Any], id: str | None, args: Any, kwargs: Any, options: StartOptions, owner: int | None
    ) -> tuple[RunRecord, list[Row]]:
        """Started, attached, or tried again: a call that failed before is made again."""
        record, log = self.client.start(flow, id, args, kwargs, options, owner)
        if not log and record.status == "failed" and options.on_conflict == "match":
            self.steering.retry(record.id, False)
            record = self.client.record(record.id)
        return record, log

    def _claimed(self, runtime: Runtime, record: RunRecord) -> RunRecord | None:
        """The run under our lease, unless somebody holds it or its delayed start has not come."""
        if record.status == "pending" and record.ready_at is not None and record.ready_at > self.clock.now():
            runtime.go_on(record.ready_at)
            return None
        return self.store.claim_run(record.key, runtime.owner, self.clock.now())

    def turn(self) -> bool:
        """Carry one due run, or run one due step, on this thread; False when nothing is due."""
        runtime = self._runtime()
        with uninterrupted():
            found = runtime.carriers.claim(1)
            for record in found:
                carried = runtime.carrying.carry(record)
                if carried.broken is not None:
                    raise carried.broken
        return bool(found) or runtime.workers.run_one() or runtime.look_after()

    def look(self) -> None:
        """What is due next may have changed."""
        if self.runtime is not None:
            self.runtime.shared.note_due()

    def next_due(self) -> float | None:
        """When something is due that this app may do."""
        return self.store.next_due() if self.runtime is None else self.runtime.shared.next_due()

    @property
    def is_busy(self) -> bool:
        """Whether a turn or a step is under way right now."""
        return bool(self.store.counts().get("running")) or (self.runtime is not None and self.runtime.workers.busy > 0)

    def record(self, id: str) -> RunRecord:
        return self.client.record(id)

    def events(self, id: str) -> Sequence[e.AnyEvent]:
        return self.client.events(id)

    def output(self, id: str) -> Sequence[OutputRecord]:
        if self.runtime is not None:
            self.runtime.flush_output()
        pieces: Sequence[OutputRecord] = self.store.output(self.client.record(id).key)
        return pieces

    def arguments(self, id: str) -> dict[str, Any]:
        return self.client.arguments(id)

    def why(self, id: str) -> str:
        return self.client.why(id)

    def note(self, id: str) -> Any:
        return self.client.note(id)

    def state(self, id: str) -> dict[str, Any]:
        return self.client.state(id)

    def parent(self, id: str) -> str | None:
        return self.client.parent(id)

    def children(self, id: str) -> list[str]:
        return self.client.children(id)

    def freeze(self, id: str, path: Any) -> None:
        Path(path).write_bytes(self.client.frozen(id))

    # the log

    @property
    def is_trusted(self) -> bool:
        return self.values.is_trusted

    @property
    def log(self) -> Any:
        """The log as a read-only sqlite_utils.Database, to explore."""
        return self.store.explore()

    def owner(self) -> int:
        """This process's number among those who have the log open."""
        if self.runtime is not None:
            return self.runtime.owner
        with self._lock:
            if self._owner is None:
                self._owner = self.store.register(f"pid {os.getpid()}", self.clock.now())
            return self._owner

    def close(self, patience: float = 5.0) -> None:
        """Stop within that time: what is finished is written, what is not goes on when the log is opened again."""
        if os.getpid() != self._process:
            self._leave()  # after a fork: log, locks and threads are the parent's
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._leave()
        atexit.unregister(self.close)
        try:
            if self.runtime is not None:
                self.runtime.stop(patience)
            elif self._owner is not None:
                self.store.retire(self._owner, self.clock.now())
        except LogError as error:
            _logger.warning("the log could not be closed in order: %s", error)
        finally:
            self.store.close()
            if not hosts.is_any_open():
                output.remove()

    def abandon(self) -> None:
        """Leave the log as a killed process would: nothing is written, locks are free, runs are not given back."""
        self._is_closed = True
        self._leave()
        atexit.unregister(self.close)
        if self.runtime is not None:
            self.runtime.abandon()
        self.store.abandon()

    def _leave(self) -> None:
        hosts.leave(self)
        registry.ignore(self._unparking.note)

    def __enter__(self) -> "App":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<durable_nb app on {self.url}{' (closed)' if self._is_closed else ''}>"

    def _runtime(self) -> Runtime:
        self._check_process()
        if not self.is_trusted:
            raise Untrusted
        if self.runtime is None:
            raise BadOption(
                "this app was opened with carry=False and carries nothing; use .start(…) or open it to carry"
            )
        return self.runtime

    def _check_process(self) -> None:
        """Before any lock: in a forked child it may be held by a thread that is not there."""
        if os.getpid() != self._process:
            raise ForkedProcess

    def _check_open(self) -> None:
        self._check_process()
        if self._is_closed:
            raise LogClosed
        if not self.is_trusted:
            raise Untrusted


def _interrupted(record: RunRecord) -> str:
    """What a person is told whose Ctrl-C came while no code of the run was running."""
    if record.status in SETTLED:
        return f'run {record.id!r} is {record.status}; runs["{record.id}"].result() gives what came of it'
    return f'run {record.id!r} goes on in the background; runs["{record.id}"].result() waits for it again'
