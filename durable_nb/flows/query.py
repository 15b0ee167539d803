"""`runs(flow=…, status=…)`: the runs of a log that fit, read when they are looked at; and verbs for all of them."""

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from durable_nb.durations import Duration, as_datetime, seconds
from durable_nb.errors import BadOption, NotInFlow
from durable_nb.flows.host import Host, current_host
from durable_nb.flows.place import turn_or_none
from durable_nb.flows.run import Run
from durable_nb.stores.shapes import Query, RunRecord
from durable_nb.where import calling_line

_PAGE = 200
STATUSES = ("pending", "running", "waiting", "paused", "parked", "completed", "failed", "cancelled")
_COLUMNS = ("id", "flow", "status", "reason", "sentence", "execution", "version", "origin")
_TIMES = ("created_at", "updated_at", "ended_at")


class Done(NamedTuple):
    """What a verb did with one run, or would do; `sentence` says why it was refused."""

    id: str
    is_done: bool
    sentence: str | None = None


class RunQuery:
    """Runs, newest first. Nothing is read before it is iterated, sliced or counted, and then page by page."""

    def __init__(self, host: Host, queries: Sequence[Query]) -> None:
        self._host = host
        self._queries = queries

    def __iter__(self) -> Iterator[Run]:
        return (Run(record.id, host=self._host) for record in self._records())

    def _records(self) -> Iterator[RunRecord]:
        return heapq.merge(*map(self._pages, self._queries), key=lambda record: -record.key)

    def _pages(self, query: Query) -> Iterator[RunRecord]:
        while page := self._host.find(query._replace(limit=_PAGE)):
            yield from page
            query = query._replace(before=page[-1].key)

    def __len__(self) -> int:
        return sum(map(self._host.count, self._queries))

    def count(self) -> int:
        """How many there are."""
        return len(self)

    def __bool__(self) -> bool:
        return next(self._records(), None) is not None

    def __getitem__(self, which: Any) -> Any:
        """`[:20]` is a list of the newest; `[0]` is the newest; `["id"]` does not work here but in `runs["id"]`."""
        if isinstance(which, slice):
            return list(islice(iter(self), which.start, which.stop, which.step))
        if isinstance(which, bool) or not isinstance(which, int) or which < 0:
            raise BadOption(f"a query takes a number from 0 on or a slice, not {which!r}; a run by its id is runs[id]")
        found = next(islice(iter(self), which, None), None)
        if found is None:
            raise IndexError(f"there are only {len(self)} such runs")
        return found

    @property
    def df(self) -> Any:
        """A pandas DataFrame, a row for each run."""
        import pandas  # noqa: PLC0415 - half a second of import, for those who want a frame

        rows = [
            {
                **{name: getattr(record, name) for name in _COLUMNS},
                **{name: None if at is None else as_datetime(at) for name in _TIMES for at in (getattr(record, name),)},
            }
            for record in self._records()
        ]
        frame = pandas.DataFrame(rows, columns=[*_COLUMNS, *_TIMES])
        for name in _TIMES:
            frame[name] = pandas.to_datetime(frame[name], utc=True)
        return frame

    # verbs for all of them: one bad run stops nothing

    def cancel(self, reason: str = "", dry_run: bool = False) -> list[Done]:
        """Ask all of them to end."""
        return self._each("cancel", dry_run, reason=reason)

    def terminate(self, reason: str = "", dry_run: bool = False) -> list[Done]:
        """End all of them at once."""
        return self._each("terminate", dry_run, reason=reason)

    def pause(self, dry_run: bool = False) -> list[Done]:
        return self._each("pause", dry_run)

    def resume(self, dry_run: bool = False) -> list[Done]:
        return self._each("resume", dry_run)

    def retry(self, redo: bool = False, dry_run: bool = False) -> list[Done]:
        return self._each("retry", dry_run, redo=redo)

    def delete(self, force: bool = False, dry_run: bool = False) -> list[Done]:
        return self._each("delete", dry_run, force=force)

    def signal(self, name: str, value: Any = None, key: str | None = None, dry_run: bool = False) -> list[Done]:
        """Send the signal to all of them."""
        return self._each("signal", dry_run, name=name, value=value, key=key)

    def _each(self, verb: str, dry_run: bool, **given: Any) -> list[Done]:
        # The ids first: what a verb does may bring a run into the query, or out of it.
        ids = [record.id for record in self._records()]
        return [Done(id, said is None, said) for id, said in self._host.for_each(ids, verb, dry_run, given)]

    def __repr__(self) -> str:
        return f"<{len(self)} runs>"


class Runs:
    """`runs["id"]`: a run of the open log. `runs(flow=…, status=…)`: all that fit."""

    def __getitem__(self, id: str) -> Run:
        host = _host()
        return Run(host.record(checked_id_or_child(id)).id, host=host)

    def __call__(
        self,
        flow: Any = None,
        status: str | Sequence[str] | None = None,
        search: str | None = None,
        since: Duration | datetime | None = None,
        waiting_for: str | None = None,
        parent: Any = None,
    ) -> RunQuery:
        """The runs that fit all that is given, newest first.

        `search` is in the id, the flow or the sentence; `since` is a time or a duration up to now; `waiting_for` names
        a signal or step; `parent` is the run that asked for them.
        """
        host = _host()
        wanted: list[str | None] = [status] if isinstance(status, str) or status is None else [*dict.fromkeys(status)]
        for one in wanted:
            if one is not None and one not in STATUSES:
                raise BadOption(f"status={one!r}: there are {', '.join(STATUSES)}")
        base = Query(
            flow=getattr(flow, "name", flow),
            search=search,
            since=_since(since, host.now()),
            waiting_for=waiting_for,
            parent=None if parent is None else host.record(getattr(parent, "id", parent)).key,
        )
        return RunQuery(host, [base._replace(status=one) for one in wanted])


def _host() -> Host:
    if turn_or_none() is not None:
        raise NotInFlow(f"runs does not work in a flow, at {calling_line()}; do it in a step")
    return current_host()


def checked_id_or_child(id: object) -> str:
    """An id to look for; children's ids have slashes."""
    if not isinstance(id, str):
        raise TypeError(f"a run id is text, not {type(id).__name__}")
    return id


def _since(since: Duration | datetime | None, now: float) -> float | None:
    """A duration counts back from now."""
    if since is None:
        return None
    if not isinstance(since, datetime):
        return now - seconds(since)
    if since.utcoffset() is None:
        raise BadOption(f"since={since.isoformat()} has no time zone; use an aware datetime, such as datetime.now(UTC)")
    return since.timestamp()


runs = Runs()
