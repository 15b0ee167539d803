"""A run as users hold it: start it, ask it, steer it. Begun or not."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from durable_nb.durations import Duration, seconds
from durable_nb.errors import BadId, NotInFlow
from durable_nb.flows import children
from durable_nb.flows.expected import checked_mailbox
from durable_nb.flows.futures import Future
from durable_nb.flows.host import Host, StartOptions, current_host
from durable_nb.flows.place import turn_here, turn_or_none
from durable_nb.history.events import AnyEvent
from durable_nb.stores.shapes import OutputRecord, RunRecord
from durable_nb.where import calling_line

_ID_LIMIT = 200
_AUTOMATIC = re.compile(r"~[a-z2-7]{12}")


def checked_id(id: object) -> str:
    """The id, or BadId (a TypeError for what is not text) saying what is wrong with it."""
    if not isinstance(id, str):
        raise TypeError(f'a run id is text, as in checkout["order-1"]; {id!r} is {type(id).__name__}')
    if not 1 <= len(id) <= _ID_LIMIT:
        raise BadId(f"the run id {id[:40]!r}… has {len(id)} characters; 1 to {_ID_LIMIT} are allowed")
    if not id.isprintable() or "/" in id or (id.startswith("~") and not _AUTOMATIC.fullmatch(id)):
        raise BadId(f'the run id {id!r} must be printable, without "/", and may not begin with "~"')
    return id


class Run:
    """A run of a log. `flow["id"]` makes one whether or not it has begun; `runs["id"]` finds one that has."""

    __slots__ = ("_flow", "_host", "_options", "id")

    def __init__(
        self, id: str, flow: Any = None, options: StartOptions | None = None, host: Host | None = None
    ) -> None:
        self.id = id
        self._flow = flow
        self._options = options or StartOptions()
        self._host = host

    @property
    def host(self) -> Host:
        """The log of the run. Not for flow code: a replay would find something else there."""
        if turn_or_none() is not None:
            raise NotInFlow(
                f"of another run a flow can use start, signal, cancel and result, at {calling_line()}; do this in a step"
            )
        return self._host or current_host()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Start or attach, carry the run here, and return its result; in a flow, call it as a child.

        An async flow is begun in the background and the run returned: `await` it.
        """
        turn = turn_or_none()
        if turn is not None:
            return children.call(turn, self._flow, self.id, args, kwargs, self._options)
        if self._flow.is_async:
            return self.start(*args, **kwargs)
        return self.host.carry(self._flow, self.id, args, kwargs, self._options)

    def start(self, *args: Any, **kwargs: Any) -> "Run":
        """Start or attach; the run goes on in the background, in a flow too: it outlives the flow."""
        turn = turn_or_none()
        if turn is not None:
            children.start(turn, self._flow, self.id, args, kwargs, self._options)
            return self
        host = self.host
        return Run(host.start(self._flow, self.id, args, kwargs, self._options), self._flow, self._options, host)

    def spawn(self, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin it as a child beside the flow."""
        return children.spawn(turn_here("spawn"), self._flow, self.id, args, kwargs, self._options)

    @property
    def record(self) -> RunRecord:
        """The row of the run in the log, read now."""
        return self.host.record(self.id)

    @property
    def status(self) -> str:
        return self.record.status

    @property
    def history(self) -> Sequence[AnyEvent]:
        """Everything that happened, in order."""
        return self.host.events(self.id)

    @property
    def output(self) -> Sequence[OutputRecord]:
        """What its turns and attempts printed."""
        return self.host.output(self.id)

    @property
    def arguments(self) -> dict[str, Any]:
        return self.host.arguments(self.id)

    @property
    def note(self) -> Any:
        """What the run last said about itself with `note(…)`."""
        return self.host.note(self.id)

    @property
    def state(self) -> dict[str, Any]:
        """The run's own data as it is now."""
        return self.host.state(self.id)

    @property
    def parent(self) -> "Run | None":
        """The run that called or started it."""
        found = self.host.parent(self.id)
        return None if found is None else Run(found, host=self._host)

    @property
    def children(self) -> "list[Run]":
        """The runs that it called or started, oldest first."""
        return [Run(id, host=self._host) for id in self.host.children(self.id)]

    def tree(self) -> str:
        """The run and all below it, a line for each."""
        return self.host.tree(self.id)

    def result(self, timeout: Duration | None = None) -> Any:
        """Wait for the end: the flow's value, or its failure raised; TimeoutError when it takes longer."""
        turn = turn_or_none()
        if turn is not None:
            return children.watch(turn, self.id).result(timeout)
        return self.host.result(self.id, None if timeout is None else seconds(timeout))

    def wait_for_note(self, after: Any = None, timeout: Duration | None = None) -> Any:
        """Wait until the note is another one than `after`, and return it; TimeoutError when it takes longer."""
        return self.host.wait_for_note(self.id, after, None if timeout is None else seconds(timeout))

    def signal(self, name: str, value: Any = None, key: str | None = None, before_start: bool = False) -> str:
        """Put a signal into the run's mailbox of that name: "told", "repeated" (the key is known), "early"."""
        turn = turn_or_none()
        if turn is not None:
            told: str = children.tell(turn, "signal", self.id, checked_mailbox(name), key, value)
            return told
        return self.host.signal(self.id, checked_mailbox(name), value, key, before_start)

    def resume_step(self, step: Any, *args: Any, **kwargs: Any) -> str:
        """Go on with a step that waits by `step.when_signalled()`."""
        return self.signal(f"step:{step.name}", (step.arguments.checked(args, kwargs), kwargs))

    def cancel(self, reason: str = "") -> None:
        """Ask the run to end: its flow gets `Cancelled` and may clean up for ten minutes."""
        turn = turn_or_none()
        if turn is not None:
            children.tell(turn, "cancel", self.id, value=reason or None)
            return
        self.host.cancel(self.id, reason)

    def terminate(self, reason: str = "") -> None:
        """End the run at once, without clean-up."""
        self.host.terminate(self.id, reason)

    def why(self) -> str:
        """One sentence: what the run is doing or waiting for, and what you can do about it."""
        return self.host.why(self.id)

    def follow(self) -> Iterator[AnyEvent]:
        """Its events, those that come as they come, until it ends."""
        events: Iterator[AnyEvent] = self.host.follow(self.id)
        return events

    def pause(self) -> None:
        """No further turn runs until `resume()`; clocks and running steps go on."""
        self.host.pause(self.id)

    def resume(self) -> None:
        """A paused or parked run goes on."""
        self.host.resume(self.id)

    def retry(self, redo: bool = False) -> None:
        """A failed run goes on just before its failure; `redo` repeats steps that had finished after it."""
        self.host.retry(self.id, redo)

    def fork(self, at: int | None = None, id: str | None = None, signals: str = "leave") -> Any:
        """A second run that goes on from event `at` of this one: `.with_result(…)`, `.preview()`, `.start()`.

        Without `at` from the last event before the failure, or from now. `signals="copy"` takes along those that
        nobody had received by then.
        """
        return self.host.fork(self.id, at, id, signals)

    def upgrade(self) -> None:
        """Go on with the newest code of the flow; refused, with both sides, when that does not fit the history."""
        self.host.upgrade(self.id)

    @property
    def origin(self) -> "Run | None":
        """The run that this one was forked from; it may have been deleted since."""
        origin = self.record.origin
        return None if origin is None else Run(origin, host=self._host)

    @property
    def forks(self) -> "list[Run]":
        """The runs that were forked from this one, oldest first."""
        return [Run(id, host=self._host) for id in self.host.forks(self.id)]

    def delete(self, force: bool = False) -> None:
        """Remove the ended run from the log; `force` removes a live one too."""
        self.host.delete(self.id, force)

    def freeze(self, path: Any) -> None:
        """Write the history to a file that `durable_nb.testing.replay` checks code against."""
        self.host.freeze(self.id, path)

    def __await__(self) -> Any:
        turn = turn_or_none()
        if turn is not None:
            return children.watch(turn, self.id).__await__()
        import asyncio  # noqa: PLC0415 - asyncio is 60 ms of import that most scripts never need

        return asyncio.to_thread(self.result).__await__()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        name = getattr(self._flow, "name", None)
        return f"<run {self.id!r} of {name}>" if name else f"<run {self.id!r}>"
