"""Looking after the log: what is removed, signed again, explored."""

from collections.abc import Iterable, Sequence

from durable_nb.history.events import Row
from durable_nb.stores.database import Database
from durable_nb.stores.files import size_of
from durable_nb.stores.library import Connection
from durable_nb.stores.mailing import EARLY, put_mail
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import Mail
from durable_nb.stores.watching import watchers

SQL = statements("admin")
_AWAITED = 24 * 3600.0  # how long somebody may take from putting a payload to referring to it


class Admin:
    """The verbs of people who clean up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace_marks(self, run: int, rows: Sequence[Row]) -> None:
        changed = [(run, row.seq, row.data) for row in rows]
        self._database.transact(lambda connection: connection.executemany(SQL["set_data"], changed).rowcount)

    def replace_beside(
        self, run: int, state: Sequence[tuple[str, bytes]], note: bytes | None, outcome: bytes | None
    ) -> None:
        def work(connection: Connection) -> None:
            connection.executemany(SQL["set_state"], [(run, *each) for each in state])
            connection.execute(SQL["set_beside"], (run, note, outcome))

        self._database.transact(work)

    def early(self) -> list[tuple[str, Mail]]:
        return [(id, Mail._make(each)) for id, *each in self._database.read(SQL["early"])]

    def replace_mail(self, mails: Sequence[Mail]) -> None:
        self._replace(SQL["set_mail"], mails)

    def replace_early(self, signals: Sequence[Mail]) -> None:
        self._replace(SQL["set_early"], signals)

    def _replace(self, sql: str, mails: Sequence[Mail]) -> None:
        changed = [(mail.seq, mail.value) for mail in mails]
        self._database.transact(lambda connection: connection.executemany(sql, changed).rowcount)

    def delete(self, keys: Sequence[int], force: bool, now: float) -> list[int]:
        return self._removed(keys, force, now, is_remembered=False)

    def expire(self, keys: Sequence[int], now: float) -> list[int]:
        return self._removed(keys, False, now, is_remembered=True)

    def _removed(self, keys: Sequence[int], force: bool, now: float, is_remembered: bool) -> list[int]:
        def work(connection: Connection) -> list[int]:
            doomed: dict[int, bool] = {}
            for key in keys:
                doomed.update(connection.execute(SQL["family"], (key,)).fetchall())
            held = [key for key, may_go in doomed.items() if not may_go]
            if held and not force:
                return held
            news = [each for key in doomed for each in watchers(connection, key)]
            payloads = {payload for key in doomed for (payload,) in connection.execute(SQL["payloads_of"], (key,))}
            if is_remembered:
                connection.executemany(SQL["remember"], [(key, now) for key in doomed])
            else:
                connection.executemany(SQL["forget_expired"], [(key,) for key in doomed])
            connection.executemany(SQL["delete_run"], [(key,) for key in doomed])
            _delete_payloads(connection, payloads)
            for by, mail in news:
                put_mail(connection, by, mail, now)
            return []

        return self._database.transact(work)

    def ended(
        self, flow: str | None, status: str | None, before_time: float | None, keep: int, limit: int
    ) -> list[int]:
        asked = {"flow": flow, "status": status, "before_time": before_time, "keep": keep, "limit": limit}
        return [key for (key,) in self._database.read(SQL["ended"], asked)]

    def drop_executions(self, run: int) -> int:
        def work(connection: Connection) -> int:
            found = connection.execute(SQL["base"], (run,)).fetchone()
            if found is None or not found[0]:
                return 0
            (base,) = found
            payloads = [payload for (payload,) in connection.execute(SQL["payloads_of_earlier"], (run, base))]
            connection.executemany(SQL["forget_reference"], [(run, base, payload) for payload in payloads])
            _delete_payloads(connection, payloads)
            return connection.execute(SQL["delete_events"], (run, base)).rowcount

        return self._database.transact(work)

    def gc(self, now: float) -> tuple[int, int]:
        def work(connection: Connection) -> tuple[int, int]:
            connection.execute(SQL["forget_awaited"], (now - _AWAITED,))
            connection.execute(SQL["meet_awaited"], (now,))
            unused = [payload for (payload,) in connection.execute(SQL["unused_payloads"])]
            rows, size = _delete_payloads(connection, unused)
            lengths = [length for (length,) in connection.execute(SQL["delete_unused_chunks"]).fetchall()]
            lengths += [length for (length,) in connection.execute(SQL["delete_unused_code"]).fetchall()]
            lengths += [length for (length,) in connection.execute(SQL["delete_early"], (now - EARLY,)).fetchall()]
            return rows + len(lengths), size + sum(lengths)

        return self._database.transact(work)

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = dict(self._database.read(SQL["sizes"]))
        path = self._database.path
        return {**found, "file": size_of(path), "wal": size_of(f"{path}-wal")}


def _delete_payloads(connection: Connection, payloads: Iterable[int]) -> tuple[int, int]:
    """Delete those of the payloads that nothing needs any more, with their chunks; (rows, bytes)."""
    rows = size = 0
    mailed: list[str] | None = None
    for payload in payloads:
        if mailed is None:
            mailed = [text for (text,) in connection.execute(SQL["mailed"])]
        if mailed:
            (digest,) = connection.execute(SQL["digest_of"], (payload,)).fetchone()
            if any(digest in text for text in mailed):
                continue
        chunks = connection.execute(SQL["chunks_of"], (payload,)).fetchall()
        if not connection.execute(SQL["delete_payload"], (payload,)).rowcount:
            continue
        rows += 1
        for chunk in dict.fromkeys(chunks):
            for (length,) in connection.execute(SQL["delete_chunk"], chunk).fetchall():
                rows, size = rows + 1, size + length
    return rows, size
