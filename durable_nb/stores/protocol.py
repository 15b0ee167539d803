"""What a store must do, in verbs. Each verb is one transaction; times are parameters; nothing here knows SQL.

The rules every store keeps:
* Only the holder of a run's lease appends to its history: `commit` checks (run, lease) and raises `LeaseLost`.
* Everybody else writes mail (`tell`, `finish_work`), which raises the run's `mail` mark and wakes a run that is free.
* A verb that was committed although the caller saw an error may be tried again: rows have their number, work its attempt.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from durable_nb.errors import LogError
from durable_nb.history.events import Row


class LeaseLost(LogError):
    """Another process has taken the run over; nothing was written."""


class MailArrived(Exception):
    """The run got mail that the commit did not know of, so it may not let go of the lease; nothing was written."""


class RunRecord(NamedTuple):
    """The row of a run: what can be known without reading its history. `key` is the store's own number for it."""

    key: int
    id: str
    uid: str
    flow: str
    version: str | None
    execution: int
    status: str
    reason: str | None  # code of why it is parked or failed: the type of the failure, the park's reason
    sentence: str | None  # the same for people
    waits: str | None  # what a waiting run waits for, JSON
    code: str  # digest of the flow code it is pinned to
    arguments: bytes  # wire form of a Value
    outcome: bytes | None  # wire form of a Value (completed) or of a Failure (failed)
    created_at: float
    updated_at: float
    ended_at: float | None
    ready_at: float | None  # when it may be claimed; None = leased, waits for mail only, paused, parked or ended
    lease: int
    owner: int | None
    mail: int  # highest inbox number ever put


class NewRun(NamedTuple):
    """A run to create. With `owner` it is born leased (lease 1, running) and carried by the caller at once."""

    id: str
    uid: str
    flow: str
    version: str | None
    code: str
    arguments: bytes
    started: Row
    ready_at: float
    owner: int | None
    payloads: tuple[str, ...]


class Mail(NamedTuple):
    """A row of the inbox: what somebody who does not hold the lease has to say to a run."""

    seq: int
    kind: str
    ask: int | None
    attempt: int | None
    name: str | None
    key: str | None
    value: bytes
    sender: str
    sent_at: float


class NewMail(NamedTuple):
    """Mail to put. `wakes` is False for what need not bring a waiting run back (a further attempt has begun)."""

    kind: str
    ask: int | None
    attempt: int | None
    name: str | None
    key: str | None
    value: bytes
    sender: str
    wakes: bool


class NewWork(NamedTuple):
    """A step for a worker. `due` None = now. With `owner` it is born claimed and begun: its first attempt runs here."""

    ask: int
    name: str
    data: bytes  # wire form of what a worker needs: arguments and policy
    due: float | None
    owner: int | None
    begun: int = 0  # how many attempts there were before


class WorkRecord(NamedTuple):
    """A step somebody may run. `attempt` counts starts; `crashes` those in a row that never answered.

    A claim begins nothing: the next attempt has its number from `begin_work`. Of one that was born claimed the run is told
    with the next, or with its failure; an answer needs no beginning, and a thousand spawned steps do not pay for it.
    """

    run: int
    ask: int
    name: str
    data: bytes
    attempt: int
    crashes: int
    due: float
    owner: int | None
    told: int  # the newest attempt that the run was told of
    is_open: bool  # whether the newest attempt was begun and nobody knows yet what came of it


class Release(NamedTuple):
    """How the lease is given back: what the run is from now on."""

    status: str
    ready_at: float | None
    reason: str | None = None
    sentence: str | None = None
    waits: str | None = None
    outcome: bytes | None = None


class Commit(NamedTuple):
    """Everything one turn changes, all or nothing, under the lease."""

    run: int
    lease: int
    mail: int  # the highest mail the caller knows of
    rows: Sequence[Row]
    at: float
    consumed: int = 0  # mail up to this number is deleted: it is in `rows` now
    orders: Sequence[int] = ()  # single pieces of mail that are deleted too: orders that have been followed
    work: Sequence[NewWork] = ()
    dropped: Sequence[int] = ()  # asks whose work rows are deleted
    payloads: Sequence[tuple[int, str]] = ()  # (seq of the row that refers to it, digest)
    code: str | None = None  # the run is pinned to this code from now on
    release: Release | None = None
    forgives: bool = False  # a person has looked: the crashes of its work so far count no more


class OwnerRecord(NamedTuple):
    """A process that has opened the log."""

    key: int
    pid: int
    host: str
    label: str
    started_at: float
    seen_at: float
    is_alive: bool
    runs: int


class OutputRecord(NamedTuple):
    """A piece of what a turn (ask None) or an attempt printed."""

    ask: int | None
    attempt: int
    stream: str
    text: str
    at: float


class CodeRecord(NamedTuple):
    """The source of a flow or step, signed."""

    kind: str
    name: str
    digest: str
    document: bytes
    mark: str
    at: float


class LogRecord(NamedTuple):
    """The log's own row."""

    uid: str
    mark: str
    schema: int
    created_at: float


class Query(NamedTuple):
    """Which runs; None = any. Pages go newest first, from `before` (a run key, exclusive) on."""

    flow: str | None = None
    status: str | None = None
    search: str | None = None
    since: float | None = None
    before: int | None = None
    limit: int = 100


class Store(Protocol):
    """A log: runs, their histories, mail, work, code, payloads, output. Thread-safe; owned by one process."""

    # turns
    def start(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Create the run, or return the one that has the id already: (record, was created)."""
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

    # work
    def claim_work(self, owner: int, now: float, limit: int) -> list[WorkRecord]:
        """Claim steps that are due and free, oldest first."""
        ...

    def begin_work(self, work: WorkRecord, now: float, begun: Callable[[WorkRecord], NewMail]) -> WorkRecord | None:
        """Begin the next attempt of claimed work: it has its number and counts from here. None: it is not ours any more.

        `begun` gives the mail for an attempt; it is put for this one, and for one before that the run was not told of.
        """
        ...

    def give_back_work(self, work: WorkRecord) -> bool:
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

    def next_due(self) -> float | None:
        """When the next run or free work is due."""
        ...

    # owners
    def register(self, label: str, now: float) -> int:
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

    def counts(self) -> dict[str, int]:
        """How many runs have each status."""
        ...

    def similar_ids(self, id: str, limit: int = 3) -> list[str]:
        """Ids that look like this one, for error messages."""
        ...

    def put_code(self, code: CodeRecord) -> None:
        """Keep a definition; the one put last is the latest of its (kind, name)."""
        ...

    def code(self, digest: str) -> CodeRecord | None: ...

    def latest_code(self, kind: str, name: str) -> CodeRecord | None: ...

    def put_payload(self, digest: str, size: int, chunks: Sequence[tuple[str, bytes]]) -> None:
        """Store large bytes by content, chunk by chunk in small transactions; present ones are not written again."""
        ...

    def payload(self, digest: str) -> list[tuple[str, bytes]] | None:
        """The (chunk digest, stored bytes) of a payload in order; None when it is not there."""
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

    def delete(self, run: int, force: bool) -> bool:
        """Remove a run with all it has; False when it is owned or not ended and `force` is off."""
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
