"""From whatever is at a path to a log of this version, or a sentence saying why not."""

from durable_nb.errors import Corrupt, LogError, NewerSchema
from durable_nb.stores.library import Connection, sqlite
from durable_nb.stores.queries import migrations, statements

APPLICATION_ID = 1685220962  # "drnb"
SCHEMA = max(number for number, _ in migrations())

_SQL = statements("admin")


def refuse_foreign(connection: Connection, path: str) -> None:
    """Raise when the file is somebody else's, newer, or has code in it; one read transaction, nothing is changed."""
    connection.execute("begin")
    try:
        application = connection.execute("pragma application_id").fetchone()[0]
        schema = connection.execute("pragma user_version").fetchone()[0]
        objects = connection.execute(_SQL["objects"]).fetchone()[0]
        foreign = [name for (name,) in connection.execute(_SQL["foreign_objects"])]
    finally:
        connection.execute("rollback")
    if application != APPLICATION_ID and (application or schema or objects):
        raise LogError(f"{path} is an SQLite file of another program, not a durable_nb log; choose another path")
    if schema > SCHEMA:
        raise NewerSchema(
            f"{path} was written by a newer durable_nb (schema {schema}, this one knows {SCHEMA}); upgrade durable_nb"
        )
    if foreign:
        raise Corrupt(
            f"{path} has {', '.join(foreign)}, which no log has and which would run with it; it is not opened"
        )


def migrate(connection: Connection, uid: str, now: float) -> None:
    """Apply what is missing, each migration in a transaction of its own, looking again under the lock; may be busy."""
    for number, text in migrations():
        if _schema(connection) >= number:
            continue
        connection.execute("begin immediate")
        try:
            if _schema(connection) < number:
                for statement in _split(text):
                    connection.execute(statement)
                if number == 1:
                    connection.execute(_SQL["create_log"], (uid, now))
                connection.execute(f"pragma user_version = {number}")
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise


def _schema(connection: Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def _split(text: str) -> list[str]:
    """The statements of a script; `executescript` would commit the transaction first."""
    found, current = [], ""
    for line in text.splitlines(keepends=True):
        current += line
        if sqlite.complete_statement(current):
            found.append(current)
            current = ""
    return found
