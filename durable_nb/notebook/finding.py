"""Opening the log of a notebook: which one, whether it was renamed, and what is told about it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from durable_nb.errors import BadOption, DurableError
from durable_nb.notebook import where
from durable_nb.notebook.cells.book import Book
from durable_nb.notebook.cells.code import code_digest
from durable_nb.notebook.session import Session
from durable_nb.opening import connect

_ENOUGH = 2  # cells that a log and a notebook have in common, to be taken for each other's
_PARTS = ("", "-wal", "-shm", "-owners")


def open_found(session: Session, argument: str | None = None) -> str:
    """Open the log of this kernel's notebook; one line on what it holds, or why there is none."""
    found = session.find(argument)
    if found.log is None:
        return f"durable_nb: {found.why_not}; type `%durable open work.durable.db`"
    if found.notebook is not None and (old := renamed(session, found.notebook)) is not None:
        return (
            f"durable_nb: there is no {Path(found.log).name}, but {old.name} has cells of this notebook; "
            f"`%durable open {old.name} --move` takes it along, `%durable open {Path(found.log).name}` begins anew"
        )
    return _opened(session, found.log, found.notebook)


def open_log(session: Session, path: str, move: bool = False) -> str:
    """Open what the user names."""
    found = session.find(None)
    if move:
        if found.notebook is None or found.log is None:
            raise BadOption(f"--move needs to know the notebook: {found.why_not or found.by}")
        _move(Path(path), Path(found.log))
        path = found.log
    return _opened(session, path, found.notebook)


def _opened(session: Session, url: str, notebook: Path | None) -> str:
    log = session.open(url, notebook)
    if not log.app.is_trusted:
        return f"durable_nb: {log.name} is from elsewhere; `%durable trust` lets it execute here"
    told = log.standing().sentence
    return f"durable_nb: {log.name}" + (f" · {told}" if told else "")


def renamed(session: Session, notebook: Path) -> Path | None:
    """The log of this notebook's former name: it has some of its cells, and its own notebook is gone."""
    candidates = where.orphans(notebook)
    if not candidates:
        return None
    here = set(_cells_of(notebook, session))
    for path in candidates:
        try:
            with connect(path, carry=False) as app:
                book = Book(app)
                book.look()
                known = {entry.asked.code for cell in book.cells() if (entry := book.newest(cell)) is not None}
        except DurableError:
            continue  # not a log, or one of a newer version
        if len(here & known) >= _ENOUGH:
            return path
    return None


def _cells_of(notebook: Path, session: Session) -> Iterator[str]:
    """The code digests of the durable cells of a notebook file."""
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for cell in cells:
        source = "".join(cell.get("source", ()))
        head, _, body = source.partition("\n")
        if head.startswith("%%durable"):
            try:
                yield code_digest(body, session.shell.transform_cell)
            except SyntaxError:
                continue


def _move(old: Path, new: Path) -> None:
    """Rename a log with all its files, unless somebody has it open."""
    if not old.exists():
        raise BadOption(f"there is no log {old}")
    if new.exists():
        raise BadOption(f"{new.name} exists already; open it without --move")
    with connect(old, carry=False) as app:
        living = [owner.label for owner in app.store.owners() if owner.is_alive]
    if living:
        raise BadOption(f"{old.name} is open in {', '.join(living)}; close it there first")
    for part in _PARTS:
        if os.path.exists(f"{old}{part}"):
            os.replace(f"{old}{part}", f"{new}{part}")
