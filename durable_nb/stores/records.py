"""Runs looked up, and what is kept beside them: state, code, payloads, output, the log's own row."""

import difflib
from collections.abc import Iterable, Sequence

from durable_nb.errors import Corrupt, LogError
from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import CodeRecord, Expired, LogRecord, OutputRecord, Query, RunRecord

SQL = statements("records")
_LOOKED_THROUGH = 1_000  # newest ids among which similar ones are sought
_BATCH = 2 * 1024 * 1024  # bytes of chunks in one transaction: others write between


class Records:
    """The verbs of everybody who looks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, id: str) -> RunRecord | None:
        found = self._database.read(SQL["run"], (id,))
        return RunRecord._make(found[0]) if found else None

    def run_by_key(self, key: int) -> RunRecord | None:
        found = self._database.read(SQL["run_by_key"], (key,))
        return RunRecord._make(found[0]) if found else None

    def find(self, query: Query) -> list[RunRecord]:
        # The first index named that fits; the statement looks at the rest.
        if query.waiting_for is not None:
            statement = SQL["find_by_waits"]
        elif query.parent is not None:
            statement = SQL["find_by_parent"]
        elif query.status is not None:
            statement = SQL["find_by_status"]
        elif query.flow is not None:
            statement = SQL["find_by_flow"]
        else:
            statement = SQL["find"]
        return [RunRecord._make(each) for each in self._database.read(statement, query._asdict())]

    def children(self, run: int) -> list[RunRecord]:
        return [RunRecord._make(each) for each in self._database.read(SQL["children"], (run,))]

    def tree(self, run: int) -> list[RunRecord]:
        family = [RunRecord._make(each) for each in self._database.read(SQL["tree"], (run,))]
        below: dict[int | None, list[RunRecord]] = {}
        for record in family:
            below.setdefault(record.parent, []).append(record)
        found: list[RunRecord] = []
        ahead = [record for record in family if record.key == run]
        while ahead:
            record = ahead.pop()
            found.append(record)
            ahead += reversed(below.get(record.key, ()))
        return found

    def state(self, run: int) -> dict[str, bytes]:
        return dict(self._database.read(SQL["state"], (run,)))

    def counts(self) -> dict[str, int]:
        return dict(self._database.read(SQL["counts"]))

    def count(self, query: Query) -> int:
        return int(self._database.read(SQL["count"], query._asdict())[0][0])

    def forks(self, id: str) -> list[RunRecord]:
        return [RunRecord._make(each) for each in self._database.read(SQL["forks"], (id,))]

    def expired(self, id: str) -> Expired | None:
        found = self._database.read(SQL["expired"], (id,))
        return Expired._make(found[0]) if found else None

    def events(self) -> dict[str, int]:
        return dict(self._database.read(SQL["events"]))

    def backlog(self, now: float) -> dict[str, float | None]:
        return dict(self._database.read(SQL["backlog"], (now,)))

    def similar_ids(self, id: str, limit: int = 3) -> list[str]:
        newest = [each for (each,) in self._database.read(SQL["newest_ids"], (_LOOKED_THROUGH,))]
        return difflib.get_close_matches(id, newest, limit)

    # code

    def put_code(self, code: CodeRecord) -> None:
        latest = self.latest_code(code.kind, code.name)
        if latest is None or latest._replace(at=code.at) != code:
            self._database.one(SQL["put_code"], code._asdict())

    def code(self, digest: str) -> CodeRecord | None:
        found = self._database.read(SQL["code"], (digest,))
        return CodeRecord._make(found[0]) if found else None

    def latest_code(self, kind: str, name: str) -> CodeRecord | None:
        found = self._database.read(SQL["latest_code"], (kind, name))
        return CodeRecord._make(found[0]) if found else None

    def codes(self) -> list[CodeRecord]:
        return [CodeRecord._make(each) for each in self._database.read(SQL["codes"])]

    def replace_code_mark(self, code: CodeRecord) -> None:
        self._database.one(SQL["replace_code_mark"], (code.kind, code.name, code.digest, code.mark))

    # payloads

    def put_chunks(self, chunks: Iterable[tuple[str, bytes]]) -> None:
        batch: list[tuple[str, bytes]] = []
        size = 0
        for name, stored in chunks:
            if not self._database.read(SQL["has_chunk"], (name,))[0][0]:
                batch.append((name, stored))
                size += len(stored)
            if size >= _BATCH:
                self._put_batch(batch)
                batch, size = [], 0
        if batch:
            self._put_batch(batch)

    def _put_batch(self, batch: Sequence[tuple[str, bytes]]) -> None:
        self._database.transact(lambda connection: connection.executemany(SQL["put_chunk"], batch).rowcount)

    def put_payload(self, digest: str, size: int, chunks: Sequence[tuple[str, bytes | None]]) -> bool:
        known = self._database.read(SQL["has_payload"], (digest,))
        if known and (known[0][0] == 1 or self._database.one(SQL["await_payload"], (digest,))):
            return True
        self.put_chunks((name, stored) for name, stored in chunks if stored is not None)

        def work(connection: Connection) -> bool:
            put = connection.execute(SQL["put_payload"], (digest, size)).fetchall()
            if not put:
                connection.execute(SQL["await_payload"], (digest,))
                return True
            for n, (name, stored) in enumerate(chunks):
                # Deleting a run may have taken a chunk that nothing referred to yet.
                if connection.execute(SQL["put_payload_chunk"], (put[0][0], n, name)).rowcount:
                    continue
                if stored is None:
                    connection.execute(SQL["forget_payload"], put[0])
                    return False
                connection.execute(SQL["put_chunk"], (name, stored))
                connection.execute(SQL["put_payload_chunk"], (put[0][0], n, name))
            return True

        return self._database.transact(work)

    def payload(self, digest: str, first: int = 0, count: int | None = None) -> list[tuple[str, bytes]] | None:
        chunks = self._database.read(SQL["payload_chunks"], (digest, first, -1 if count is None else count))
        if not chunks and not self._database.read(SQL["has_payload"], (digest,)):
            return None
        return [(name, stored) for name, stored in chunks]

    # output and the log itself

    def put_output(self, run: int, pieces: Sequence[OutputRecord]) -> None:
        rows = [(run, *piece) for piece in pieces]
        self._database.transact(lambda connection: connection.executemany(SQL["put_output"], rows).rowcount)

    def output(self, run: int) -> list[OutputRecord]:
        return [OutputRecord._make(each) for each in self._database.read(SQL["output"], (run,))]

    def log(self) -> LogRecord:
        found = self._database.read(SQL["log"])
        if not found:
            raise Corrupt(f"{self._database.path} has lost its own row; it cannot be used as a log")
        uid, mark, created_at = found[0]
        (schema,) = self._database.read("pragma user_version")[0]
        return LogRecord(uid, mark, schema, created_at)

    def sign_log(self, mark: str) -> None:
        if not self._database.one(SQL["sign_log"], (mark,)):
            raise LogError(f"{self._database.path} has lost its own row; it cannot be used as a log")
