"""What a flow and a run need from whoever runs them: the app fills the slot, flows speak only to this."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from durable_nb.errors import LogClosed
from durable_nb.history.events import AnyEvent
from durable_nb.stores.shapes import OutputRecord, Query, RunRecord, ScheduleRecord


class StartOptions(NamedTuple):
    """How a run begins and what happens when its id is taken."""

    on_conflict: str = "match"
    delay: float = 0.0
    version: str | None = None
    priority: int | None = None  # None = that of the run it is a child of, else 0


class Timetable(Protocol):
    """The schedules of a log."""

    def put(
        self, flow: Any, args: Any, kwargs: Any, spec: str, id: str | None, tz: str, misfire: str
    ) -> ScheduleRecord: ...

    def records(self) -> list[ScheduleRecord]: ...

    def record(self, id: str) -> ScheduleRecord:
        """UnknownSchedule when there is none of that id."""
        ...

    def pause(self, id: str) -> None: ...

    def resume(self, id: str) -> None: ...

    def delete(self, id: str) -> None: ...


class Host(Protocol):
    """An open log with somebody who carries its runs."""

    @property
    def url(self) -> str: ...

    @property
    def timetable(self) -> Timetable: ...

    def look(self) -> None:
        """What is due next may have changed."""
        ...

    def start(self, flow: Any, id: str | None, args: Any, kwargs: Any, options: StartOptions) -> str:
        """Make the run exist and see to it that it goes on in the background; returns its id."""
        ...

    def start_many(self, flow: Any, calls: Any, options: StartOptions) -> list[str]:
        """Many runs in few commits; their ids."""
        ...

    def carry(self, flow: Any, id: str | None, args: Any, kwargs: Any, options: StartOptions) -> Any:
        """Start or attach, carry the run on this thread as far as it goes, and return its result."""
        ...

    def record(self, id: str) -> RunRecord:
        """The run's row; UnknownRun with close matches."""
        ...

    def result(self, id: str, timeout: float | None) -> Any: ...

    def events(self, id: str) -> Sequence[AnyEvent]: ...

    def output(self, id: str) -> Sequence[OutputRecord]: ...

    def arguments(self, id: str) -> dict[str, Any]: ...

    def note(self, id: str) -> Any: ...

    def wait_for_note(self, id: str, after: Any, timeout: float | None) -> Any: ...

    def state(self, id: str) -> dict[str, Any]: ...

    def parent(self, id: str) -> str | None: ...

    def children(self, id: str) -> list[str]: ...

    def signal(self, id: str, name: str, value: Any, key: str | None, before_start: bool) -> str: ...

    def cancel(self, id: str, reason: str) -> None: ...

    def terminate(self, id: str, reason: str) -> None: ...

    def why(self, id: str) -> str: ...

    def pause(self, id: str) -> None: ...

    def resume(self, id: str) -> None: ...

    def retry(self, id: str, redo: bool) -> None: ...

    def delete(self, id: str, force: bool) -> None: ...

    def fork(self, id: str, at: int | None, new_id: str | None, signals: str) -> Any: ...

    def forks(self, id: str) -> list[str]: ...

    def upgrade(self, id: str) -> None: ...

    def tree(self, id: str) -> str: ...

    def find(self, query: Query) -> list[RunRecord]:
        """A page of runs."""
        ...

    def count(self, query: Query) -> int: ...

    def for_each(
        self, ids: Sequence[str], verb: str, dry_run: bool, given: dict[str, Any]
    ) -> list[tuple[str, str | None]]:
        """Do something with each of the runs, or say what would come of it: (id, why not)."""
        ...

    def now(self) -> float: ...

    def follow(self, id: str) -> Any: ...

    def freeze(self, id: str, path: Any) -> None: ...


_hosts: list[Host] = []


def enter(host: Host) -> None:
    """Make this the default host, until it leaves; the newest one is the default."""
    _hosts.append(host)


def leave(host: Host) -> None:
    if host in _hosts:
        _hosts.remove(host)


def is_any_open() -> bool:
    return bool(_hosts)


def current_host() -> Host:
    """The newest open host."""
    if not _hosts:
        raise LogClosed("no log is open; call durable_nb.connect() first")
    return _hosts[-1]
