"""The book of durable cells: one run of the log whose steps are the cells, written by the kernel that executes them.

The run is never carried: between two cells it is `paused`, and a kernel takes its lease to write. So everything that
holds for a step holds for a cell: an attempt is in the log before its body runs, a cell that was killed begins its next
attempt under the same ask (and idempotency key), and of two kernels one waits.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import msgspec

from durable_nb.app import App
from durable_nb.chance import token
from durable_nb.client import CELLS as FLOW
from durable_nb.errors import LogError, Refused
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.failure import Failure
from durable_nb.history.values import Value, payloads, plain
from durable_nb.notebook.cells.asked import Asked, row_of
from durable_nb.notebook.cells.entry import Entry, after, begun, is_like
from durable_nb.stores.interrupts import Shield, is_exposed
from durable_nb.stores.protocol import LeaseLost, MailArrived
from durable_nb.stores.shapes import Commit, NewRun, OutputRecord, Past, Release, RunRecord
from durable_nb.views.sentences import Waits

CELLS = "~cells"
_SENTENCE = "it keeps the outcomes of durable cells; running a cell goes on with it"
_RENAMED = "was "  # begins the key under which the book keeps the new name of a cell
_PAUSED = Release("paused", None, reason="cells", sentence=_SENTENCE)


class Book:
    """The cells of one log. One thread writes at a time; `let_go` may come from another."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.RLock()
        self._empty()

    def _empty(self) -> None:
        self._record: RunRecord | None = None
        self._held: RunRecord | None = None
        self._mail = 0
        self._last = 0
        self._entries: dict[int, Entry] = {}
        self._cells: dict[str, list[int]] = {}
        self._by_code: dict[str, list[int]] = {}
        self._waits: dict[int, tuple[str, Row | None]] = {}  # ask of a signal -> (its name, what was received)

    # reading

    def look(self) -> None:
        """Read what was written since; nothing was by others while we hold the book."""
        with self._lock:
            if self._held is None:
                self._read()

    def cells(self) -> list[str]:
        """The names of all cells, in the order in which they first ran."""
        return list(self._cells)

    def entries(self, cell: str) -> Iterator[Entry]:
        """What is known of a cell, the newest first."""
        for seq in reversed(self._cells.get(cell, [])):
            yield self._entries[seq]

    def cells_of(self, code: str) -> list[str]:
        """The cells whose newest outcome came of this code."""
        found = [self._entries[seq].cell for seq in self._by_code.get(code, ())]
        return [cell for cell in dict.fromkeys(found) if (saved := self.saved(cell, 1)) and saved[0].code == code]

    def newest(self, cell: str) -> Entry | None:
        return next(self.entries(cell), None)

    def saved(self, cell: str, limit: int = 20) -> list[Entry]:
        """Its last outcomes that can be restored, the newest first."""
        found: list[Entry] = []
        for entry in self.entries(cell):
            if entry.is_saved and not entry.is_dropped:
                found.append(entry)
                if len(found) == limit:
                    break
        return found

    def value(self, entry: Entry) -> object:
        """What a cell came to; Untrusted for a log from elsewhere."""
        assert entry.answer is not None
        record = self._known()
        assert record is not None
        value = wire.value_of(entry.answer)
        return self._app.values.take(value, record.uid, entry.answer.seq, "returned", f"cell `{entry.cell}`")

    @property
    def record(self) -> RunRecord | None:
        """The run as it is now, None before the first cell of this log."""
        return self._app.store.run(CELLS) if self._known() is not None else None

    @property
    def uid(self) -> str:
        record = self._known()
        assert record is not None
        return record.uid

    @property
    def next(self) -> int:
        """The number of the next event."""
        return self._last + 1

    def rename(self, old: str, new: str) -> int:
        """Give the outcomes of a cell to another name; how many there were."""
        with self._lock:
            count = len(self._cells.get(old, []))
            value = plain(msgspec.json.encode(new))
            event = e.StateSet(seq=self.next, at=self._now(), name=f"{_RENAMED}{old}", value=value)
            self.write([wire.row_of(event)], state=[(event.name, wire.encode_value(value))])
            return count

    def open_wait(self, name: str) -> int | None:
        """The ask of a signal of that name that nothing has come for yet."""
        return next((seq for seq, (waited, came) in self._waits.items() if waited == name and came is None), None)

    def open_waits(self) -> list[str]:
        """The signals that cells wait for."""
        return [name for name, came in self._waits.values() if came is None]

    def unspent(self, cell: str, name: str) -> Row | None:
        """A signal that was received for this cell, which has not ended well since: it was killed, or has failed."""
        spent = {
            ask for entry in self._entries.values() if entry.is_saved or entry.cell != cell for ask in _asks(entry)
        }
        found = [came for ask, (waited, came) in self._waits.items() if waited == name and came and ask not in spent]
        return found[-1] if found else None

    def holder(self) -> str | None:
        """Who else holds the book right now."""
        record = self._app.store.run(CELLS)
        if record is None or record.owner is None or record.owner == self._app.owner():
            return None
        return next((one.label for one in self._app.store.owners() if one.key == record.owner), "another process")

    # writing

    def hold(self, waiting: Callable[[str], None]) -> None:
        """Take the lease, unless we have it; `waiting` is told (again and again) who has it, and sleeps."""
        while True:
            with self._lock:
                if self._held is not None:
                    return
                self.look()
                record = self._known() or self._created()
                if self._is_seized(record.key):
                    self._read()
                    return
            waiting(self.holder() or "another process")

    def _is_seized(self, key: int) -> bool:
        """A Ctrl-C waits until we know that the lease is ours: of one that nobody knows of, everybody waits for the end."""
        with Shield() if is_exposed() else nullcontext():
            seized = self._app.store.seize(key, self._app.owner())
            if seized is not None:
                self._held, self._mail = seized, seized.mail
        return seized is not None

    def begin(self, cell: str, asked: Asked, due: float | None = None) -> Entry:
        """Write that the cell begins: its next attempt, when one like this was begun and never heard of again."""
        with self._lock:
            before = self.newest(cell)
            if before is not None and before.answer is None and not before.is_dropped:
                if before.code and is_like(before.asked, asked):
                    number = before.attempts + 1
                    self._note(e.AttemptStarted(seq=self.next, at=self._now(), ref=before.seq, attempt=number))
                    return self._entries[before.seq]
                self._note(e.Dropped(seq=self.next, at=self._now(), ref=before.seq))
            seq = self.next
            self.write([row_of(seq, self._now(), cell, asked, due)])
            return self._entries[seq]

    def attempt(self, entry: Entry, failed: Failure | None, retry_at: float) -> Entry:
        """The attempt failed, and the next one begins."""
        with self._lock:
            if failed is not None:
                self._note(e.AttemptFailed(seq=self.next, at=self._now(), ref=entry.seq, attempt=entry.attempts,
                                     failure=failed, retry_at=retry_at))  # fmt: skip
            else:
                self._note(e.AttemptStarted(seq=self.next, at=self._now(), ref=entry.seq, attempt=entry.attempts + 1))
            return self._entries[entry.seq]

    def returned(self, entry: Entry, value: Value, refers: Sequence[str]) -> Entry:
        """The cell has ended well: this is what came of it, with the payloads that it refers to."""
        with self._lock:
            seq = self.next
            assert self._held is not None
            row = self._app.values.mark_row(
                wire.row_of(e.Returned(seq=seq, at=self._now(), ref=entry.seq, value=value)), self._held.uid
            )
            needed = dict.fromkeys([*payloads(value), *refers])
            self.write([row], [(seq, digest) for digest in needed])
            return self._entries[entry.seq]

    def raised(self, entry: Entry, failure: Failure) -> Entry:
        """The cell has failed."""
        with self._lock:
            assert self._held is not None
            event = e.Raised(seq=self.next, at=self._now(), ref=entry.seq, failure=failure)
            self.write([self._app.values.mark_row(wire.row_of(event), self._held.uid)])
            return self._entries[entry.seq]

    def interrupted(self, entry: Entry) -> None:
        """A person has stopped it."""
        with self._lock:
            self._note(e.AttemptInterrupted(seq=self.next, at=self._now(), ref=entry.seq, attempt=entry.attempts))

    def drop(self, cell: str) -> int:
        """Forget what a cell came to: it runs again. How many outcomes there were."""
        with self._lock:
            found = [entry for entry in self.entries(cell) if not entry.is_dropped]
            at = self._now()
            self._note(*(e.Dropped(seq=self.next + n, at=at, ref=entry.seq) for n, entry in enumerate(found)))
            return len(found)

    def write(
        self,
        rows: Sequence[Row],
        payloads: Sequence[tuple[int, str]] = (),
        taken: Sequence[int] = (),
        release: Release | None = None,
        state: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """One commit of the book, under its lease."""
        with self._lock:
            held = self._held
            if held is None:
                raise LogError("the book of durable cells is not held; this is a defect of durable_nb")
            commit = Commit(
                held.key, held.lease, self._mail, rows, self._now(), taken=taken, payloads=payloads, release=release,
                state=state,
            )  # fmt: skip
            try:
                self._send(commit)
            except LeaseLost:
                self._held = None
                raise LogError(
                    "another process has taken over the durable cells of this log; nothing was written. "
                    "Run the cell again"
                ) from None
            for row in rows:
                self._admit(row)

    # output and positions beside the history

    def tell(self, ask: int, attempt: int, stream: str, text: str) -> None:
        """A heartbeat or a position of a running cell."""
        record = self._known()
        if record is not None:
            self._app.store.put_output(record.key, [OutputRecord(ask, attempt, stream, text, self._now())])

    def told(self, ask: int) -> list[OutputRecord]:
        record = self._known()
        return [one for one in self._app.store.output(record.key) if one.ask == ask] if record is not None else []

    def let_go(self, rows: Sequence[Row] = (), sentence: str = _SENTENCE, waits: Sequence[Waits] = ()) -> None:
        """Give the lease back, with last rows and what the book waits for: other kernels may write."""
        with self._lock:
            held = self._held
            if held is None:
                return
            waiting = msgspec.json.encode(waits).decode() if waits else None
            try:
                self.write(rows, release=Release("paused", None, reason="cells", sentence=sentence, waits=waiting))
            except LogError:
                if rows:
                    raise
            finally:
                self._held = None

    # inside

    def _read(self) -> None:
        """What was written since; all anew when somebody has deleted the run meanwhile."""
        if self._record is not None and self._app.store.run_by_key(self._record.key) is None:
            self._empty()
        record = self._known()
        if record is not None:
            for row in self._app.store.history(record.key, self._last):
                self._admit(row)

    def _known(self) -> RunRecord | None:
        if self._record is None:
            self._record = self._app.store.run(CELLS)
            if self._record is not None and self._record.flow != FLOW:
                raise Refused(
                    f"run {CELLS!r} of this log is one of flow `{self._record.flow}`; durable cells need that id"
                )
        return self._record

    def _created(self) -> RunRecord:
        """The run, born paused: in one commit, so that nobody ever claims it."""
        now = self._now()
        nothing = plain(b"{}")
        started = e.Started(seq=1, at=now, flow=FLOW, code="", mark="", arguments=nothing)
        new = NewRun(
            id=CELLS, uid=token(16).hex(), flow=FLOW, version=None, code="", arguments=wire.encode_value(nothing),
            started=wire.row_of(started), ready_at=now, owner=None, payloads=(),
        )  # fmt: skip
        past = Past(1, 0, Commit(0, 0, 0, [], now, release=_PAUSED))
        self._record, _ = self._app.store.start_with_past(new, past)
        return self._record

    def _now(self) -> float:
        return self._app.clock.now()

    def _note(self, *events: e.AnyEvent) -> None:
        self.write([wire.row_of(event) for event in events])

    def _send(self, commit: Commit) -> None:
        while True:
            try:
                self._mail = self._app.store.commit(commit)
                return
            except MailArrived:
                record = self._app.store.run_by_key(commit.run)
                commit = commit._replace(mail=record.mail if record is not None else commit.mail)

    def _admit(self, row: Row) -> None:
        self._last = max(self._last, row.seq)
        if row.kind == "step" and row.name is not None:
            self._entries[row.seq] = entry = begun(row)
            self._cells.setdefault(row.name, []).append(row.seq)
            self._by_code.setdefault(entry.code, []).append(row.seq)
        elif row.kind == "signal" and row.name is not None:
            self._waits[row.seq] = (row.name, None)
        elif row.kind == "set" and row.name is not None and row.name.startswith(_RENAMED):
            self._moved(row.name.removeprefix(_RENAMED), msgspec.json.decode(wire.event_of(row).value.json))  # type: ignore[union-attr]
        elif row.ref in self._waits:
            if row.kind == "received":
                self._waits[row.ref] = (self._waits[row.ref][0], row)
        elif row.ref in self._entries:
            self._entries[row.ref] = after(self._entries[row.ref], row)

    def _moved(self, old: str, new: str) -> None:
        moved = self._cells.pop(old, [])
        self._cells[new] = sorted([*self._cells.get(new, []), *moved])
        for seq in moved:
            self._entries[seq] = self._entries[seq]._replace(cell=new)


def _asks(entry: Entry) -> Sequence[int]:
    """The asks of the signals that it waited for."""
    return tuple(entry.asked.signals.values()) if entry.code else ()
