"""What a store must do, in verbs. Each verb is one transaction; times are parameters; nothing here knows SQL.

The rules every store keeps:
* Only the holder of a run's lease appends to its history: `commit` checks (run, lease) and raises `LeaseLost`.
* Everybody else writes mail (`tell`, `finish_work`), which raises the run's `mail` mark and wakes a run that is free.
* A verb that was committed although the caller saw an error may be tried again: rows have their number, work its attempt.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from durable_nb.errors import LogError
from durable_nb.history.events import Row
from durable_nb.stores.shapes import (
    CodeRecord,
    Commit,
    Expired,
    Limits,
    LogRecord,
    Mail,
    NewMail,
    NewRun,
    OutputRecord,
    OwnerRecord,
    Past,
    Query,
    RunRecord,
    ScheduleRecord,
    Told,
    WorkRecord,
)
from durable_nb.stores.signing import Signing


class LeaseLost(LogError):
    """Another process has taken the run over; nothing was written."""


class MailArrived(Exception):
    """The run got mail that the commit did not know of, so it may not let go of the lease; nothing was written."""


class IdTaken(Exception):
    """Another run has the id of a run that the commit was to create; nothing was written."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class Store(Signing, Protocol):
    """A log: runs, their histories, mail, work, state, code, payloads, output. Thread-safe; owned by one process."""

    # turns
    def start(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Create the run, or return the one that has the id already: (record, was created)."""
        ...

    def start_many(self, news: Sequence[NewRun]) -> list[bool]:
        """Create many runs at once; for each whether it was created."""
        ...

    def start_with_past(self, new: NewRun, past: Past) -> tuple[RunRecord, bool]:
        """Create a run that begins in the middle (a fork, an import), or return the one that has the id already.

        The rows of `past` come after the `started` of `new`; all else in it is the run's own.
        """
        ...

    def claim(self, owner: int, now: float, limit: int) -> list[RunRecord]:
        """Lease the runs that are due, those woken before those never started, each by due time."""
        ...

    def claim_run(self, key: int, owner: int, now: float) -> RunRecord | None:
        """Lease this run although it is not due; None when it is owned, paused, parked or ended."""
        ...

    def seize(self, key: int, owner: int) -> RunRecord | None:
        """Lease this run whatever its status, to steer it (status and ready_at stay); None when somebody owns it."""
        ...

    def commit(self, commit: Commit) -> int:
        """Apply the turn and return the run's mail mark; LeaseLost or MailArrived (only with a release) write nothing."""
        ...

    def commit_all(self, commits: Sequence[Commit]) -> None:
        """Several turns of several runs, in this order, all or none."""
        ...

    def append(self, run: int, lease: int, mail: int, rows: Sequence[Row]) -> int:
        """`commit` of nothing but one to three rows: what a step costs."""
        ...

    def history(self, run: int, after: int = 0) -> list[Row]:
        """The rows of a run with a greater seq, in order."""
        ...

    def mail(self, run: int, after: int = 0) -> list[Mail]:
        """The run's mail with a greater number, in order."""
        ...

    def tell(self, run: int, mail: NewMail, now: float) -> bool:
        """Put mail for a run; False when the run is gone or ended."""
        ...

    def signal(self, id: str, mail: NewMail, now: float, before_start: bool) -> Told:
        """Put a signal for the run of that id. A key known to the run and name is reported and not put again.

        `before_start` keeps it for 7 days when no run has the id; the start of that run takes it into its inbox.
        """
        ...

    def wrest(self, key: int, owner: int) -> RunRecord | None:
        """`seize`, but from whoever holds the run, to end it at once; None when it is gone."""
        ...

    # work
    def claim_work(self, owner: int, now: float, limit: int, tags: Collection[str] = ()) -> list[WorkRecord]:
        """Claim steps that are due and free, within the limits of their queues: by priority, then the oldest first.

        Steps with a tag only if it is one of `tags`, steps of a session only if no other process holds it. What is claimed
        has its place in its queue from here on, begun or not.
        """
        ...

    def begin_work(self, work: WorkRecord, now: float, begun: Callable[[WorkRecord], NewMail]) -> WorkRecord | None:
        """Begin the next attempt of claimed work: it has its number and counts from here. None: it is not ours any more.

        `begun` gives the mail for an attempt; it is put for this one, and for one before that the run was not told of.
        """
        ...

    def give_back_work(self, work: WorkRecord, now: float) -> bool:
        """Free claimed work, begun or not, without a crash, if it is still ours. False: the log cannot be written."""
        ...

    def finish_work(self, work: WorkRecord, mails: Sequence[NewMail], now: float) -> bool:
        """Delete the work and put its answer; False (nothing written) when the attempt is not ours any more."""
        ...

    def postpone_work(self, work: WorkRecord, due: float, mails: Sequence[NewMail], now: float) -> bool:
        """The attempt failed, which the mail tells, and another follows: free the work until `due`; False as above."""
        ...

    def work(self, run: int) -> list[WorkRecord]:
        """The open work of a run."""
        ...

    def leave_queue(self, work: WorkRecord, now: float) -> None:
        """The attempt was never begun or its work is gone: it takes no place in its queue any more."""
        ...

    def put_queue(self, name: str, limits: Limits) -> None:
        """Define a queue, or change its limits for everybody."""
        ...

    def limits(self, name: str) -> Limits | None:
        """What a queue lets in; None when nobody has defined it."""
        ...

    def has_room(self, queue: str, now: float) -> bool:
        """Whether the queue lets a step in now, apart from what it allows each process."""
        ...

    def session_owner(self, name: str) -> int | None:
        """The process that holds the session."""
        ...

    def next_due(self, owner: int | None = None, tags: Collection[str] = (), now: float = float("inf")) -> float | None:
        """When the next run, schedule, or step that this owner may begin is due. `now` tells a clock that was set back."""
        ...

    # schedules
    def put_schedule(self, schedule: ScheduleRecord) -> None:
        """Keep the schedule, in place of the one that has its id."""
        ...

    def drop_schedule(self, id: str) -> bool:
        """Forget the schedule; False when there is none."""
        ...

    def schedules(self) -> list[ScheduleRecord]:
        """All of them, by id."""
        ...

    def due_schedules(self, now: float) -> list[ScheduleRecord]:
        """Those not paused whose next time has come, that which is due longest first."""
        ...

    def fire(self, due: ScheduleRecord, after: ScheduleRecord, starts: Sequence[NewRun]) -> bool:
        """Put `after` in place of `due` and create the runs whose ids are free; False when it is not as `due` any more."""
        ...

    # owners
    def register(self, label: str, now: float, tags: Sequence[str] = ()) -> int:
        """Make this process an owner and hold its lock until `retire` or death."""
        ...

    def heartbeat(self, owner: int, now: float) -> None: ...

    def retire(self, owner: int, now: float) -> None:
        """Give up everything the owner still holds (runs become due, work free) and its lock."""
        ...

    def bury(self, now: float) -> list[int]:
        """Free what dead owners hold: running runs are due now, work is free; attempts that were begun count as crashes.

        Returns the dead.
        """
        ...

    def owners(self) -> list[OwnerRecord]: ...

    # records
    def run(self, id: str) -> RunRecord | None: ...

    def run_by_key(self, key: int) -> RunRecord | None: ...

    def find(self, query: Query) -> list[RunRecord]: ...

    def count(self, query: Query) -> int:
        """How many runs the query finds on all its pages."""
        ...

    def forks(self, id: str) -> list[RunRecord]:
        """The runs that were forked from the run of that id, oldest first."""
        ...

    def expired(self, id: str) -> Expired | None:
        """What is left of the run of that id that was pruned last."""
        ...

    def events(self) -> dict[str, int]:
        """How many events of each kind all histories have; also all `attempts` of steps and `failed steps`."""
        ...

    def backlog(self, now: float) -> dict[str, float | None]:
        """What waits to be done right now, by where it waits, and since when the oldest waiting run does."""
        ...

    def counts(self) -> dict[str, int]:
        """How many runs have each status."""
        ...

    def similar_ids(self, id: str, limit: int = 3) -> list[str]:
        """Ids that look like this one, for error messages."""
        ...

    def state(self, run: int) -> dict[str, bytes]:
        """The run's own data as it is now, by key: the wire forms of Values."""
        ...

    def children(self, run: int) -> list[RunRecord]:
        """The runs that this run asked for, oldest first."""
        ...

    def tree(self, run: int) -> list[RunRecord]:
        """The run and all below it, each followed by those it asked for, oldest first."""
        ...

    def put_code(self, code: CodeRecord) -> None:
        """Keep a definition; the one put last is the latest of its (kind, name)."""
        ...

    def code(self, digest: str) -> CodeRecord | None: ...

    def latest_code(self, kind: str, name: str) -> CodeRecord | None: ...

    def put_chunks(self, chunks: Iterable[tuple[str, bytes]]) -> None:
        """Store pieces of a payload that is put next, as they come, in small transactions; present ones are left."""
        ...

    def put_payload(self, digest: str, size: int, chunks: Sequence[tuple[str, bytes | None]]) -> bool:
        """Store large bytes by content; nothing of what is present is written again.

        None stands for the bytes of a chunk that was put before. False: such a one is not there any more.
        """
        ...

    def payload(self, digest: str, first: int = 0, count: int | None = None) -> list[tuple[str, bytes]] | None:
        """The (chunk digest, stored bytes) of a payload in order, from the first on; None when it is not there."""
        ...

    def put_output(self, run: int, pieces: Sequence[OutputRecord]) -> None: ...

    def output(self, run: int) -> list[OutputRecord]: ...

    def log(self) -> LogRecord: ...

    def sign_log(self, mark: str) -> None: ...

    # looking after
    def give_back(self, run: int, lease: int, now: float) -> bool:
        """End a lease without a turn: a running run is due now, a seized one is as it was. False: the log cannot be written."""
        ...

    def codes(self) -> list[CodeRecord]:
        """Every stored definition."""
        ...

    def replace_code_mark(self, code: CodeRecord) -> None:
        """Write a definition's signature again (`durable trust`)."""
        ...

    def explore(self) -> Any:
        """The log as a read-only sqlite_utils.Database."""
        ...

    def replace_marks(self, run: int, rows: Sequence[Row]) -> None:
        """Write rows again with other signatures (`durable trust`); only data changes."""
        ...

    def delete(self, keys: Sequence[int], force: bool, now: float) -> list[int]:
        """Remove runs with all below them and all they have, and tell who waits for their end.

        Without `force` nothing is removed when some are owned or have not ended: their keys come back, else none.
        """
        ...

    def expire(self, keys: Sequence[int], now: float) -> list[int]:
        """`delete` without force, of runs that are pruned: what they were is remembered."""
        ...

    def ended(
        self, flow: str | None, status: str | None, before_time: float | None, keep: int, limit: int
    ) -> list[int]:
        """The runs that may be pruned, oldest end first: nobody's children, and nothing that lives was made of them.

        `before_time` means ended before; the `keep` runs of each flow that ended last are left out.
        """
        ...

    def drop_executions(self, run: int) -> int:
        """Remove the rows of all executions but the present one, with the payloads only they needed; how many rows."""
        ...

    def gc(self, now: float) -> tuple[int, int]:
        """Remove payloads, chunks and code that nothing needs, and signals nobody came for; (rows, bytes)."""
        ...

    def sizes(self) -> dict[str, int]:
        """Bytes that each table holds, and of the `file` and what was written ahead (`wal`)."""
        ...

    def changes(self) -> int:
        """A number that differs when another process has committed since the last look; a microsecond or two."""
        ...

    def checkpoint(self, is_idle: bool) -> None:
        """Fold what was written ahead into the log when it is large, or all of it when nobody writes; one thread asks."""
        ...

    def abandon(self) -> None:
        """Close as if the process had died: owners keep what they hold in the log, and only their locks are gone."""
        ...

    def close(self) -> None: ...
