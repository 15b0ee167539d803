"""Keeping what came of a cell that ended well: its variables, its output, what it changed beside them."""

import time
from collections.abc import Mapping
from typing import Any

from durable_nb.notebook.body import Outcome
from durable_nb.notebook.cells import changes, keeping, process
from durable_nb.notebook.cells.changes import Changes
from durable_nb.notebook.cells.digests import digest_of
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.cells.graph import pack
from durable_nb.notebook.cells.process import Process
from durable_nb.notebook.cells.saved import Saved
from durable_nb.notebook.looking import Look
from durable_nb.notebook.options import CellOptions
from durable_nb.notebook.saying import say
from durable_nb.notebook.session import Session

SLOW = 1.0  # seconds of storing that are worth a word


class Before:
    """What there was before the body ran."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self.names = changes.before(namespace)
        self.process: Process = process.snapshot()


def keep(
    session: Session, options: CellOptions, seen: Look, entry: Entry, outcome: Outcome, before: Before, took: float
) -> None:
    """Store it, variables first, and then in one commit that the cell has ended."""
    began = time.perf_counter()
    namespace, app = session.shell.user_ns, session.log.app
    found = changes.changes_of(before.names, namespace, seen.names, seen.inputs)
    names = _outputs(options, found, namespace)
    values = {name: namespace[name] for name in names}
    packed = pack(values, _unchanged(seen, found, before), namespace)
    manifest = keeping.put(app.store, packed)
    earlier = session.saved(seen.entry).process if seen.entry is not None else None
    saved = Saved(
        kept=manifest,
        names=tuple(name for name in names if name not in packed.unstorable),
        deleted=found.deleted,
        without=found.without,
        unstorable=dict(packed.unstorable),
        process=process.difference(before.process, process.snapshot(), earlier),
        output=outcome.outputs,
        digests={name: digest_of(value).hex for name, value in values.items()},
        seconds=took,
        size=manifest.get("size", 0),
    )
    value = app.values.keep(saved, f"the outcome of cell `{seen.cell}`")
    session.log.book.returned(entry, value, keeping.payloads_of(manifest))
    session.present[seen.cell] = entry.seq
    session.seen.add(seen.cell)
    _tell(session, options, saved, time.perf_counter() - began)


def _outputs(options: CellOptions, found: Changes, namespace: Mapping[str, Any]) -> tuple[str, ...]:
    awaited = tuple(one.name for one in options.awaited)
    if options.outputs is None:
        return tuple(dict.fromkeys([*awaited, *found.outputs]))
    missing = [name for name in options.outputs if name not in namespace]
    if missing:
        raise NameError(f"--out {missing[0]}: the cell did not bind `{missing[0]}`")
    return options.outputs


def _unchanged(seen: Look, found: Changes, before: Before) -> dict[str, Any]:
    """The inputs that what is stored may refer to: they will be there, and equal, when it is restored."""
    changed = {*found.changed, *found.partners, *found.without}
    return {name: before.names[name] for name in seen.inputs.found if name in before.names and name not in changed}


def _tell(session: Session, options: CellOptions, saved: Saved, took: float) -> None:
    """What a person should know; most of the time nothing."""
    for name, why in saved.unstorable.items():
        say(session.shell, f"`{name}` cannot be stored: {why}. The cell re-runs on restore", f"`{name}` is not stored")
    for name, why in saved.process.get("unkept", {}).items():
        say(session.shell, f"`{name}` is not kept: {why}", f"`{name}` is not kept")
    if took > SLOW and not options.quiet:
        say(session.shell, f"kept {', '.join(saved.names)} in {took:.1f} s", "kept")
