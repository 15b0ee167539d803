"""Keeping what came of a cell that ended well: its variables, its output, what it changed beside them."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from durable_nb.errors import BadOption
from durable_nb.notebook.body import Outcome
from durable_nb.notebook.cells import changes, keeping, process
from durable_nb.notebook.cells.changes import Changes
from durable_nb.notebook.cells.digests import digest_of
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.cells.graph import pack
from durable_nb.notebook.cells.process import Process
from durable_nb.notebook.cells.saved import RESULT, Saved
from durable_nb.notebook.looking import Look
from durable_nb.notebook.options import CellOptions
from durable_nb.notebook.saying import say
from durable_nb.notebook.session import Present, Session

SLOW = 1.0  # seconds of storing that are worth a word
LARGE_RESULT = 1_000_000  # bytes


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
    wanted = options.outputs
    missing = next((name for name in wanted or () if name not in namespace), None)
    if wanted is None or missing is not None:
        wanted = None
        names = tuple(dict.fromkeys([*(one.name for one in options.awaited), *found.outputs]))
    else:
        names = wanted
    values = {name: namespace[name] for name in names}
    unchanged = _unchanged(seen, found, before)
    packed = pack({**values, **_result(outcome, [*values.values(), *unchanged.values()])}, unchanged, namespace)
    unstorable = {name: why for name, why in packed.unstorable.items() if name != RESULT}
    manifest = keeping.put(app.store, packed)
    earlier = session.saved(seen.entry).process if seen.entry is not None else None
    saved = Saved(
        kept=manifest,
        names=tuple(name for name in names if name not in unstorable),
        deleted=found.deleted,
        without=found.without,
        unstorable=unstorable,
        process=process.difference(before.process, process.snapshot(), earlier),
        output=outcome.outputs,
        only=wanted,
        digests={name: digest_of(value).hex for name, value in values.items()},
        seconds=took,
        size=manifest.get("size", 0),
    )
    value = app.values.keep(saved, f"the outcome of cell `{seen.cell}`")
    kept = session.log.book.returned(entry, value, keeping.payloads_of(manifest))
    session.present[seen.cell] = Present(kept.answer, outcome.result)
    session.seen.add(seen.cell)
    _tell(session, options, saved, time.perf_counter() - began)
    if missing is not None:
        raise BadOption(f"--out {missing}: the cell did not bind `{missing}`; all that it did bind is kept")


def _result(outcome: Outcome, values: Iterable[object]) -> dict[str, Any]:
    """What becomes `_` again: not what is large and would be stored for that alone, as a sorted copy of a frame."""
    result = outcome.result
    if result is None:
        return {}
    if not any(result is value for value in values):
        digest = digest_of(result)
        if digest.hex is None or digest.size > LARGE_RESULT:
            return {}
    return {RESULT: result}


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
