"""The verbs of `%durable` that only a kernel has."""

import os
import signal
from typing import Any

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from durable_nb.durations import as_datetime, spoken
from durable_nb.errors import UnknownRun
from durable_nb.notebook import finding, status
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.session import Session
from durable_nb.verbs.render import table_of, text_of
from durable_nb.verbs.verb import Verb, argument, option

Plain = dict[str, Any]


def own_verbs(session: Session) -> dict[str, Verb]:
    """The table, for this kernel."""
    made = (
        Verb(
            "open",
            "Open a log, in place of the one that is open. --move brings the log of a renamed notebook along.",
            lambda path, move: finding.open_log(session, path, move),
            _line,
            on="nothing",
            params=(argument("path"), option("--move", is_flag=True, help="Rename the log to this notebook's name.")),
        ),
        Verb("status", "What this notebook's log holds.", lambda: status.status(session), _line, on="nothing"),
        Verb(
            "cells",
            "The durable cells: when they ran, how long, and whether they can be restored.",
            lambda: cells(session),
            _cells,
            on="nothing",
        ),
        Verb(
            "forget",
            "Forget what a durable cell came to; it runs again.",
            lambda cell: forget(session, cell),
            _line,
            on="nothing",
            params=(argument("cell"),),
        ),
        Verb(
            "rename",
            "Give the outcomes of a durable cell another name.",
            lambda old, new: rename(session, old, new),
            _line,
            on="nothing",
            params=(argument("old"), argument("new")),
        ),
        Verb(
            "resume",
            "Let a paused or parked run go on; without ID take up at once what earlier kernels left.",
            lambda id: resume(session, id),
            _line,
            on="nothing",
            params=(argument("id", required=False),),
        ),
        Verb(
            "chaos",
            "`kill`: really kill this kernel, now, as a power cut would.",
            chaos,
            _line,
            on="nothing",
            params=(argument("what", type=click.Choice(["kill"])),),
        ),
    )
    return {verb.name: verb for verb in made}


def cells(session: Session) -> list[Plain]:
    """Each cell with what came of it last."""
    book = session.log.book
    book.look()
    found = [book.newest(cell) for cell in book.cells()]
    return [_cell(entry) for entry in found if entry is not None]


def _cell(entry: Entry) -> Plain:
    took = entry.answer.at - entry.attempt_at if entry.answer is not None else None
    return {"cell": entry.cell, "state": _state(entry), "at": entry.attempt_at, "took": took}


def _state(entry: Entry) -> str:
    if entry.is_dropped:
        return "forgotten"
    if entry.failure is not None:
        return f"failed: {entry.failure.sentence}"
    if entry.is_saved:
        return "saved"
    return "interrupted" if entry.was_interrupted else "begun, not finished"


def _cells(found: list[Plain]) -> RenderableType:
    if not found:
        return Text("no durable cell has run yet")
    rows = [
        (
            one["cell"],
            one["state"],
            as_datetime(one["at"]).astimezone().strftime("%Y-%m-%d %H:%M"),
            spoken(one["took"]) if one["took"] is not None else "",
        )
        for one in found
    ]
    table: Table = table_of(("cell", "state", "ran at", "took"), rows)
    return table


def forget(session: Session, cell: str) -> str:
    """Drop all outcomes of a cell."""
    _known(session, cell)
    count = session.held_book().drop(cell)
    return f"forgot {count} outcome{'s' if count != 1 else ''} of `{cell}`; it runs again"


def rename(session: Session, old: str, new: str) -> str:
    """What `old` came to is what `new` came to from now on."""
    _known(session, old)
    count = session.held_book().rename(old, new)
    return f"{count} outcome{'s' if count != 1 else ''} of `{old}` belong{'s' if count == 1 else ''} to `{new}` now"


def _known(session: Session, cell: str) -> None:
    book = session.log.book
    book.look()
    if cell not in book.cells():
        names = ", ".join(f"`{name}`" for name in book.cells()[:8]) or "none"
        raise UnknownRun(f"there is no durable cell `{cell}` in this log; there are {names}")


def resume(session: Session, id: str | None) -> str:
    """One run, or all that wait for this kernel to be idle."""
    app = session.log.app
    if id is not None:
        app.resume(id)
        return app.why(id)
    return "what earlier kernels left goes on" if app.take_up() else "nothing was held back"


def chaos(what: str) -> str:
    """Nothing is flushed, nothing is closed."""
    os.kill(os.getpid(), signal.SIGKILL)
    return what


def _line(text: str) -> RenderableType:
    return text_of(text)
