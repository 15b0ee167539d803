"""Bringing a durable cell back: variables, state of the process, and everything it showed."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from durable_nb.durations import as_datetime, spoken
from durable_nb.errors import Corrupt
from durable_nb.flows import registry
from durable_nb.flows.flow import Flow
from durable_nb.flows.step import Step
from durable_nb.notebook.body import make_known
from durable_nb.notebook.cells import keeping, process
from durable_nb.notebook.cells.digests import digest_of
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.cells.graph import unpack
from durable_nb.notebook.cells.saved import RESULT, Saved
from durable_nb.notebook.looking import Look
from durable_nb.notebook.options import CellOptions
from durable_nb.notebook.replaying import replay
from durable_nb.notebook.saying import say
from durable_nb.notebook.session import Present, Session, unreadable

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def restore(session: Session, options: CellOptions, seen: Look) -> bool:
    """Do it, and say so in one line."""
    entry, saved = seen.entry, seen.saved
    assert entry is not None
    assert saved is not None
    began = time.perf_counter()
    present = session.present.get(seen.cell)
    if present is None or not _is_here(session, present, entry, saved):
        present = session.present[seen.cell] = Present(entry.answer, _bring_back(session, seen, entry, saved))
    replay(session.shell, saved.output)
    _show_as_result(session.shell, present.result, saved)
    session.seen.add(seen.cell)
    session.restored.add(time.perf_counter() - began, saved.seconds)
    if not options.quiet:
        say(session.shell, told(entry, saved, seen.verdict.sentence), "restored")
        for remark in seen.remarks:
            say(session.shell, remark, remark)
    return True


def told(entry: Entry, saved: Saved, why: str) -> str:
    """The badge: 'restored · ran 3 m 12 s on 20 Nov 14:02 · the same code and inputs'."""
    when = as_datetime(entry.answer.at if entry.answer is not None else entry.at).astimezone()
    return f"restored · ran {spoken(saved.seconds)} on {when.day} {when:%b %H:%M} · {why}"


def _is_here(session: Session, present: Present, entry: Entry, saved: Saved) -> bool:
    """Whether this kernel has it all: it ran or was restored here, and nothing was changed since."""
    if present.answer is not entry.answer:
        return False
    namespace = session.shell.user_ns
    return all(
        name in namespace and digest is not None and digest_of(namespace[name]).hex == digest
        for name, digest in saved.digests.items()
    )


def _bring_back(session: Session, seen: Look, entry: Entry, saved: Saved) -> object:
    """Its variables, and what it has changed beside them; its result, None where there is none or it was not kept."""
    namespace = session.shell.user_ns
    make_known(session.shell, entry.asked.source, seen.source)
    inputs = {name: namespace[name] for name in seen.inputs.found if name in namespace}
    try:
        packed = keeping.get(session.log.app.store, saved.kept)
        values = unpack(packed.head, packed.buffers, inputs, namespace)
    except Corrupt as error:
        raise unreadable(entry, error) from None
    result = values.pop(RESULT, None)
    namespace.update(values)
    define(values.values())
    for name in saved.deleted:
        namespace.pop(name, None)
    failed = process.apply(saved.process)
    for sentence in failed:
        say(session.shell, sentence, sentence)
    return result


def _show_as_result(shell: "InteractiveShell", result: object, saved: Saved) -> None:
    """Make it `_` and Out[n]. One that was not kept leaves no `_`, which would be that of another cell."""
    if result is not None:
        shell.displayhook.update_user_ns(result)
    elif any(output["output_type"] == "execute_result" for output in saved.output):
        shell.user_ns.pop("_", None)


def define(values: Iterable[object]) -> None:
    """Flows and steps that came back are those of their names again, as if their cell had run."""
    for value in values:
        if isinstance(value, Flow):
            registry.register("flow", value)
        elif isinstance(value, Step):
            registry.register("step", value)
