"""Looking at a durable cell before anything runs: its names, its inputs, and whether one of its outcomes is fresh."""

import builtins
from collections.abc import Sequence
from typing import Any, NamedTuple

from durable_nb.durations import spoken
from durable_nb.errors import BadOption
from durable_nb.notebook.cells.asked import Asked
from durable_nb.notebook.cells.code import code_digest
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.cells.inputs import Inputs, inputs_from_json, inputs_of
from durable_nb.notebook.cells.names import Names, names_of
from durable_nb.notebook.cells.saved import Saved
from durable_nb.notebook.cells.verdict import LOOKED_AT, Fresh, Reading, Stale, judge, remarks
from durable_nb.notebook.options import CellOptions
from durable_nb.notebook.session import Session


class Look(NamedTuple):
    """A cell as it stands before it runs. `entry` is the outcome that is fresh, or the newest one."""

    cell: str
    source: str
    names: Names
    code: str
    inputs: Inputs
    verdict: Fresh | Stale
    entry: Entry | None
    saved: Saved | None
    remarks: tuple[str, ...]

    @property
    def is_fresh(self) -> bool:
        return isinstance(self.verdict, Fresh)

    @property
    def last_time(self) -> str:
        """' · it took 3 m 12 s last time', where that is worth a word."""
        entry = self.entry
        took = entry.answer.at - entry.attempt_at if entry is not None and entry.answer is not None else 0.0
        return f" · it took {spoken(took)} last time" if took >= 1 else ""

    @property
    def asked(self) -> Asked:
        return Asked(code=self.code, source=self.source, inputs=self.inputs.to_json())


def look(session: Session, options: CellOptions, source: str, again: str | None = None) -> Look:
    """Look at the cell; SyntaxError when it is none. `again` is its name when it was looked at a moment ago."""
    shell = session.shell
    session.modules.look()
    names = names_of(source, shell.transform_cell)
    code = code_digest(source, shell.transform_cell)
    cell = again or options.name or session.name_of(code, _cell_id(shell))
    inputs = inputs_of(names, shell.user_ns, session.modules, options.inputs)
    for awaited in options.awaited:  # comes with the signal, whatever stands there now
        inputs.found.pop(awaited.name, None)
    if options.inputs is not None:
        _refuse_missing(options.inputs, shell.user_ns)
    book = session.log.book
    book.look()
    outcomes = book.saved(cell, LOOKED_AT)
    verdict = judge(_readings(session, outcomes, code), code, inputs.found, options.reuse)
    entry, saved = None, None
    if isinstance(verdict, Fresh):
        entry = outcomes[verdict.place]
        saved = session.saved(entry)
        if options.reuse != "always" and (why := saved.lacks(options.outputs)):
            verdict = Stale(why)
        elif options.reuse != "always" and saved.unstorable:
            name, why = next(iter(saved.unstorable.items()))
            verdict = Stale(f"`{name}` could not be stored: {why}")
    elif outcomes:
        entry = outcomes[0]
    elif options.reuse != "never" and (begun := book.newest(cell)) is not None:
        verdict = Stale(_without_outcome(begun))
    return Look(cell, source, names, code, inputs, verdict, entry, saved, remarks(inputs.found))


def _without_outcome(begun: Entry) -> str:
    if begun.is_dropped:
        return "what it came to was forgotten"
    if begun.failure is not None:
        return f"it failed last time with {begun.failure.sentence}"
    return "it was interrupted" if begun.was_interrupted else "it was begun and did not end"


def _readings(session: Session, outcomes: Sequence[Entry], code: str) -> list[Reading]:
    """What each outcome was made of. What turned out to be no input is looked up only where the code is the same."""
    found = []
    for entry in outcomes:
        without = session.saved(entry).without if entry.code == code else ()
        found.append(Reading(entry.code, inputs_from_json(entry.asked.inputs), tuple(without)))
    return found


def _refuse_missing(names: Sequence[str], namespace: dict[str, Any]) -> None:
    for name in names:
        if name not in namespace and not hasattr(builtins, name):
            raise BadOption(f"--in {name}: there is no variable `{name}` here; define it above, or leave it out")


def _cell_id(shell: Any) -> str | None:
    """What the front end calls the present cell, where it says so."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    found = parent.get("metadata", {}).get("cellId") if isinstance(parent, dict) else None
    return str(found) if found else None
