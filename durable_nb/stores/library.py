"""Which SQLite: the wheel's if there is one, because the system's may be too old for two checkpointing connections."""

from typing import TYPE_CHECKING

from durable_nb.errors import Corrupt, LogError, LogFull, LogReadOnly

if TYPE_CHECKING:
    import sqlite3 as sqlite
else:
    try:
        import pysqlite3.dbapi2 as sqlite
    except ImportError:  # Windows has no such wheel
        import sqlite3 as sqlite

__all__ = ["Connection", "is_busy", "log_error", "sqlite"]

Connection = sqlite.Connection

_BUSY = frozenset({5, 6})  # SQLITE_BUSY, SQLITE_LOCKED
_ERRORS: dict[int, type[LogError]] = {8: LogReadOnly, 11: Corrupt, 13: LogFull, 26: Corrupt}


def is_busy(error: BaseException) -> bool:
    """Whether another connection only has to finish first."""
    return _code(error) in _BUSY


def log_error(error: BaseException, path: str) -> BaseException:
    """What a user may be shown instead of an error of SQLite; other errors and broken constraints stay as they are."""
    if not isinstance(error, sqlite.Error) or isinstance(error, sqlite.IntegrityError):
        return error
    kind = _ERRORS.get(_code(error), LogError)
    advice = "" if kind is LogError else f"{(kind.__doc__ or '').strip()} "
    mapped = kind(f"{advice}{path}: {error}")
    mapped.__cause__ = error
    return mapped


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
