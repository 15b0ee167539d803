"""`durable query`: one statement that reads, on the log itself."""

import base64
import csv
import io
from contextlib import closing
from typing import Any

from durable_nb.app import App
from durable_nb.errors import BadOption, Refused
from durable_nb.stores.library import sqlite
from durable_nb.verbs.reading import Plain

# What the authorizer is asked for; the module names some of them only.
_PRAGMA, _READ, _SELECT, _FUNCTION, _RECURSIVE = 19, 20, 21, 31, 33
_PRAGMAS = frozenset(
    {"compile_options", "database_list", "foreign_key_list", "function_list", "index_info", "index_list", "index_xinfo"}
    | {"table_info", "table_list", "table_xinfo"}
)
_FORBIDDEN = frozenset({"load_extension", "writefile", "edit", "fts3_tokenizer"})
_ALLOW, _DENY = 0, 1
_AUTH = 23  # SQLITE_AUTH: the authorizer said no


def query(app: App, sql: str) -> Plain:
    """Columns and rows of a statement that reads. Anything that could write, here or elsewhere, is refused."""
    database = app.log
    with closing(database.conn) as connection:
        connection.set_authorizer(_may)
        try:
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description or ()]
            return {"columns": columns, "rows": [[_plain(cell) for cell in row] for row in cursor]}
        except (sqlite.Error, sqlite.Warning) as error:
            raise _refusal(error) from error


def _may(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action in (_SELECT, _READ, _RECURSIVE):
        return _ALLOW
    if action == _FUNCTION:
        return _DENY if (second or "").lower() in _FORBIDDEN else _ALLOW
    # A pragma with a value would set something.
    return _ALLOW if action == _PRAGMA and (first in _PRAGMAS or not second) else _DENY


def _refusal(error: Exception) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == _AUTH or "not authorized" in str(error) or "readonly" in str(error):
        return Refused("`durable query` only reads; this statement would do more than that. Runs are changed by verbs")
    return BadOption(f"SQLite says: {error}")


def _plain(cell: Any) -> Any:
    """Most blobs of a log are JSON text."""
    if not isinstance(cell, bytes):
        return cell
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(cell).decode()}


def as_objects(data: Plain) -> list[Plain]:
    """A row as {column: value}, for --json."""
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def as_csv(data: Plain) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(data["columns"])
    writer.writerows([[each["base64"] if isinstance(each, dict) else each for each in row] for row in data["rows"]])
    return written.getvalue()
