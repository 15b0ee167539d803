"""Looking after the log: what is removed, signed again, explored."""

from collections.abc import Sequence

from durable_nb.history.events import Row
from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection
from durable_nb.stores.queries import statements

SQL = statements("admin")


class Admin:
    """The verbs of people who clean up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace_marks(self, run: int, rows: Sequence[Row]) -> None:
        changed = [(run, row.seq, row.data) for row in rows]
        self._database.transact(lambda connection: connection.executemany(SQL["set_data"], changed).rowcount)

    def delete(self, run: int, force: bool) -> bool:
        def work(connection: Connection) -> bool:
            payloads = [payload for (payload,) in connection.execute(SQL["payloads_of"], (run,))]
            if not connection.execute(SQL["delete_run"], (run, force)).rowcount:
                return False
            for payload in payloads:
                chunks = connection.execute(SQL["chunks_of"], (payload,)).fetchall()
                if connection.execute(SQL["delete_payload"], (payload,)).rowcount:
                    connection.executemany(SQL["delete_chunk"], chunks)
            return True

        return self._database.transact(work)
