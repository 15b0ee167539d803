"""Connections as the log needs them: every pragma is set and read back, because SQLite ignores unknown ones."""

import sys

from durable_nb.errors import BadOption, LogError
from durable_nb.stores.library import Connection, sqlite

_SYNCHRONOUS = {"full": 2, "process": 1}
_CACHE = 16 * 1024  # KiB: a transaction that does not fit is written twice, and a few chunks fit
_STATEMENTS = 512  # every statement of the package and then some, prepared once per connection


def raw(path: str) -> Connection:
    """A connection that trusts nothing in the file and has changed nothing in it."""
    connection = sqlite.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    # Functions named in the schema of a file from elsewhere must not run.
    _set(connection, "trusted_schema", 0)
    _set(connection, "mmap_size", 0)
    _set(connection, "foreign_keys", 1)
    return connection


def configure(connection: Connection, path: str, durability: str) -> None:
    """Make the connection write ahead, with the durability that was asked for; may be busy."""
    if durability not in _SYNCHRONOUS:
        raise BadOption(f"durability={durability!r} is not known; it is 'full' (survives power loss) or 'process'")
    if path != ":memory:":
        _set(connection, "journal_mode", "wal")
        _set(connection, "wal_autocheckpoint", 0)  # one checkpointer per log instead, never a carrier
    _set(connection, "synchronous", _SYNCHRONOUS[durability])
    _set(connection, "cache_size", -_CACHE)
    if sys.platform == "darwin":
        _set(connection, "fullfsync", 1)
        _set(connection, "checkpoint_fullfsync", 1)


def reading(path: str) -> Connection:
    """A connection that can only read."""
    connection = raw(path)
    _set(connection, "query_only", 1)
    return connection


def _set(connection: Connection, pragma: str, value: int | str) -> None:
    # Some answer the setting, some only a question; in memory there is nothing to map and mmap_size answers nothing.
    answer = connection.execute(f"pragma {pragma} = {value}").fetchall()
    answer = connection.execute(f"pragma {pragma}").fetchall() or answer
    if answer and answer[0][0] != value:
        raise LogError(f"SQLite does not take pragma {pragma} = {value}; it answers {answer[0][0]!r}")
