"""What goes into a store and comes out of it."""

from collections.abc import Sequence
from typing import NamedTuple

from durable_nb.history.events import Row


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
    base: int = 0  # the event before the present execution's first one
    parent: int | None = None  # the run that asked for this one, and with which ask
    parent_ask: int | None = None
    note: bytes | None = None  # wire form of a Value: the run's own word on how far it is
    noted: int = 0  # how often the note has changed
    origin: str | None = None  # the id of the run this one was forked from
    priority: int = 0


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
    parent: int | None = None
    parent_ask: int | None = None
    origin: str | None = None
    priority: int = 0


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


class Message(NamedTuple):
    """Mail from one run to another, put with the commit of the sender; to a run that is gone or ended it goes nowhere."""

    run: str  # its id
    uid: str | None  # only if it is still this very run; None = whatever run has the id
    mail: NewMail


class Told(NamedTuple):
    """What became of a signal: told, repeated (its key is known), early (kept until the run starts), ended, unknown."""

    what: str
    run: int | None


class NewWork(NamedTuple):
    """A step for a worker. `due` None = now. With `owner` it is born claimed and begun: its first attempt runs here."""

    ask: int
    name: str
    data: bytes  # wire form of what a worker needs: arguments and policy
    due: float | None
    owner: int | None
    begun: int = 0  # how many attempts there were before
    queue: str = ""
    queue_key: str = ""
    tag: str = ""
    session: str = ""
    priority: int | None = None  # None = that of its run
    dedup: str = ""  # refused while other work with it is in the queue: mail "queued" comes, with the id of that run


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
    queue: str = ""
    queue_key: str = ""
    tag: str = ""
    session: str = ""
    priority: int = 0
    dedup: str = ""


class Limits(NamedTuple):
    """What a queue lets in; None = any number."""

    concurrency: int | None = None
    per_worker: int | None = None
    rate_count: int | None = None
    rate_period: float | None = None


class ScheduleRecord(NamedTuple):
    """A flow that is started again and again."""

    id: str
    flow: str
    code: str
    arguments: bytes  # wire form of a Value
    spec: str
    tz: str
    misfire: str
    next_at: float
    paused: bool
    sentence: str | None  # why it is paused
    created_at: float


class Release(NamedTuple):
    """How the lease is given back: what the run is from now on."""

    status: str
    ready_at: float | None
    reason: str | None = None
    sentence: str | None = None
    waits: str | None = None
    outcome: bytes | None = None


class Execution(NamedTuple):
    """The next execution of a run, which continues as new; its `started` row is the last of the commit.

    The run's row keeps the arguments it was started with: whoever starts it again with these means this run.
    """

    base: int
    code: str
    version: str | None


class Commit(NamedTuple):
    """Everything one turn changes, all or nothing, under the lease."""

    run: int
    lease: int
    mail: int  # the highest mail the caller knows of
    rows: Sequence[Row]
    at: float
    consumed: int = 0  # mail up to this number is deleted: it is in `rows` now
    taken: Sequence[int] = ()  # single pieces of mail that are deleted too: orders followed, signals received
    freed: Sequence[tuple[str, str]] = ()  # (name, key) of signals that were rejected: the key may be used again
    returned: Sequence[Mail] = ()  # mail put back under its old number: signals whose receiver gave them back
    work: Sequence[NewWork] = ()
    dropped: Sequence[int] = ()  # asks whose work and watches are deleted
    payloads: Sequence[tuple[int, str]] = ()  # (seq of the row that refers to it, digest)
    code: str | None = None  # the run is pinned to this code from now on
    starts: Sequence[NewRun] = ()  # children and detached runs; IdTaken when one's id belongs to another uid
    watches: Sequence[
        tuple[str, int]
    ] = ()  # (id of a run, ask): mail "ended" or "gone" comes when it has ended or is gone
    messages: Sequence[Message] = ()
    state: Sequence[tuple[str, bytes | None]] = ()  # (key, wire form of a Value; None = removed), in order
    note: bytes | None = None
    next: Execution | None = None
    release: Release | None = None
    forgives: bool = False  # a person has looked: the crashes of its work so far count no more


class Past(NamedTuple):
    """What a run has that begins in the middle. Run, lease and mail of `parts` mean nothing; its release is its status."""

    execution: int
    base: int
    parts: Commit
    output: Sequence["OutputRecord"] = ()


class Expired(NamedTuple):
    """What is left of a pruned run."""

    id: str
    uid: str
    status: str
    ended_at: float
    pruned_at: float


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
    tags: tuple[str, ...] = ()  # whose steps it takes beside those without a tag


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
    waiting_for: str | None = None  # name of a signal or step that runs wait for, also those that were stopped at it
    parent: int | None = None
