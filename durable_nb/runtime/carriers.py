"""Threads that carry runs: claim what is due, run its code to the next wait or the end, give it back."""

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from durable_nb.engine.cursor import Cursor
from durable_nb.engine.turn import Outcome, Turn, run_turn
from durable_nb.errors import BadArguments, Corrupt, LogError, Uncapturable, UnknownCode, Untrusted
from durable_nb.flows.flow import Flow
from durable_nb.history import events as e, wire
from durable_nb.runtime import output
from durable_nb.runtime.carry import Carry
from durable_nb.runtime.options import PATIENCE
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.runtime.settle import settle
from durable_nb.stores.protocol import LeaseLost, MailArrived, RunRecord

if TYPE_CHECKING:
    from durable_nb.runtime.runtime import Runtime

_logger = logging.getLogger("durable_nb.carriers")
_BATCH = 16  # runs claimed at once; what waits here can still be taken over when this process dies


def carry_run(runtime: "Runtime", record: RunRecord, echo: output.Echo = output.Echo.NEVER) -> Carry:
    """Carry a leased run as far as it goes. It is settled, or lost, when this returns."""
    output.install()
    while True:
        carry = Carry(runtime, record, echo)
        runtime.carries[record.key] = carry
        try:
            with carry.interrupts:
                settle(carry, _turn(carry))
        except MailArrived:
            record = record._replace(mail=runtime.mark(record.key))
            continue
        except LeaseLost:
            _logger.info("run %r was taken over by another process", record.id)
        except LogError as broken:
            carry.broken = broken
        finally:
            runtime.carries.pop(record.key, None)
            runtime.announce(record.key)
        if carry.broken is not None:
            runtime.strand(record)
        return carry


def _turn(carry: Carry) -> Outcome:
    """Run the code; what keeps it from running at all parks the run."""
    record, runtime = carry.record, carry.runtime
    cursor = Cursor(carry.rows, carry)
    turn = Turn(record.id, record.uid, record.execution, record.version, cursor, carry.reader)
    turn.sink = carry.sink
    carry.turn = turn
    try:
        arguments = carry.arguments()
        flow, is_changed = runtime.definitions.code(record)
        if is_changed:
            _accept_code(carry, flow)
        args, kwargs = flow.arguments.call_form(arguments)
        code = flow.new_code()
        if record.mail:
            carry.look_for_orders()
    except (UnknownCode, Untrusted, Corrupt, BadArguments, Uncapturable) as error:
        carry.park(_REASONS[type(error)], str(error))
    if carry.ending is not None:
        return run_turn(turn, carry.close_turn)
    interrupts = carry.interrupts

    def body() -> object:
        interrupts.leave_engine()
        try:
            return code(*args, **kwargs)
        finally:
            interrupts.enter_engine()

    outcome = run_turn(turn, body)
    carry.raise_broken()
    return outcome


def _accept_code(carry: Carry, flow: Flow[..., Any]) -> None:
    """The module of the flow has changed since the run began: go on with the new code if it fits, else park."""
    record, runtime = carry.record, carry.runtime
    _, wrong = rehearse(carry.log, flow, record.id, record.uid, runtime.values)
    if wrong is not None:
        carry.park(
            "code_changed", f"the code of flow `{record.flow}` has changed and does not fit the run any more: {wrong}"
        )
        return
    digest = runtime.definitions.pin(flow)
    event = e.CodeChanged(seq=carry.head + 1, at=runtime.now(), code=digest, mark="")
    carry.commit([wire.row_of(event)], code=digest)


_REASONS = {
    UnknownCode: "no_code",
    Untrusted: "untrusted",
    Corrupt: "corrupt",
    BadArguments: "arguments",
    Uncapturable: "no_code",
}


class Carriers:
    """A bounded number of threads in flow code; a step that takes long lends its place to another thread."""

    def __init__(self, runtime: "Runtime", limit: int, most: int) -> None:
        self._runtime = runtime
        self._limit = limit
        self._most = limit + most if limit else 0
        self._local: deque[RunRecord] = deque()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._is_dirty = False
        self._is_stopping = False

    def nudge(self) -> None:
        """Something may be due."""
        if not self._limit:
            return
        with self._lock:
            self._is_dirty = True
            if self._idle:
                self._news.notify()
            elif self._may_begin():
                self._begin_thread()

    def has_room(self) -> bool:
        """Whether a run that starts now would be carried at once; then it may be born leased and skip the claim."""
        with self._lock:
            if self._is_stopping or self._local or self._is_dirty:
                return False
            return self._idle > 0 or self._may_begin()

    def give(self, record: RunRecord) -> None:
        """Carry this run, which is leased by us already."""
        with self._lock:
            self._local.append(record)
            if self._idle:
                self._news.notify()
            elif len(self._threads) < self._most:
                self._begin_thread()

    def stop(self, deadline: float) -> None:
        """No new turns; wait for the threads until the (monotonic) deadline."""
        with self._lock:
            self._is_stopping = True
            self._news.notify_all()
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def has_backlog(self) -> bool:
        return bool(self._local) or self._is_dirty

    def relieve(self) -> None:
        """Let another thread begin when runs wait and steps that take long have lent their places."""
        with self._lock:
            if self.has_backlog and not self._idle and not self._is_stopping and self._may_begin():
                self._begin_thread()

    def _may_begin(self) -> bool:
        return len(self._threads) - self._lent() < self._limit and len(self._threads) < self._most

    def _lent(self) -> int:
        """How many threads are in a step that has taken long: their places are free for others."""
        before = time.monotonic() - PATIENCE
        return sum(1 for carry in list(self._runtime.carries.values()) if 0 < carry.step_since < before)

    def _begin_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"durable-carrier-{len(self._threads) + 1}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        try:
            while True:
                record = self._next()
                if record is None:
                    return
                self._carry(record)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _carry(self, record: RunRecord) -> None:
        try:
            carry_run(self._runtime, record, output.background())
        except Exception:
            _logger.exception("carrying run %r failed; it is tried again", record.id)
            self._runtime.strand(record)

    def _next(self) -> RunRecord | None:
        """The next run to carry; waits for one; None when it is time to end."""
        while True:
            with self._lock:
                if self._is_stopping:
                    return None
                if self._local:
                    return self._local.popleft()
                if not self._is_dirty:
                    self._idle += 1
                    self._news.wait()
                    self._idle -= 1
                    continue
                self._is_dirty = False
            found = self._claimed()
            with self._lock:
                self._local.extend(found)
                if len(found) == _BATCH:
                    self._is_dirty = True
                if len(self._local) > 1 and self._idle:
                    self._news.notify()
                elif len(self._local) > 1 and self._may_begin():
                    self._begin_thread()

    def _claimed(self) -> list[RunRecord]:
        try:
            return self._runtime.claim(_BATCH)
        except LogError as error:
            _logger.warning("no run could be claimed, it is tried again in a second: %s", error)
            self._runtime.note_due(self._runtime.now() + 1.0)
            return []
