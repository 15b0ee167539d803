"""A durable cell from its first line to its last output: restored, or run and kept."""

from collections.abc import Coroutine
from typing import Any

from durable_nb.errors import BadOption, Refused
from durable_nb.notebook.body import run_body, run_body_awaiting
from durable_nb.notebook.cells.verdict import Stale
from durable_nb.notebook.crash_test import crash_test
from durable_nb.notebook.cut import in_one_line
from durable_nb.notebook.looking import Look, look
from durable_nb.notebook.options import CellOptions
from durable_nb.notebook.planning import show_plan
from durable_nb.notebook.restoring import restore
from durable_nb.notebook.running import STOPPED, Running
from durable_nb.notebook.saying import say
from durable_nb.notebook.session import Session
from durable_nb.notebook.transform import awaits


def execute(session: Session, options: CellOptions, source: str) -> Coroutine[Any, Any, None] | None:
    """Run the cell, or restore it; a coroutine when its body awaits."""
    if session.is_in_a_cell:
        raise Refused("a durable cell cannot stand in a durable cell; take one of the two `%%durable` out")
    is_awaiting = awaits(session.shell, source)
    seen = _seen(session, options, source)
    if seen is None:
        run_body(session.shell, source, shows_all=session.shows_all).raise_error()
    elif options.plan:
        show_plan(session, seen)
    elif options.crash_test:
        if is_awaiting:
            raise BadOption("--crash-test works for cells without `await` at their top level")
        crash_test(session, seen)
    elif not _is_restored(session, options, seen):
        seen = _at_our_turn(session, options, seen)
        if seen.is_fresh:
            restore(session, options, seen)
        elif is_awaiting:
            return _run_awaiting(Running(session, options, seen), source)
        else:
            _run(Running(session, options, seen), source)
    return _nothing() if is_awaiting else None


def _seen(session: Session, options: CellOptions, source: str) -> Look | None:
    """None for a cell that is no Python: the shell says so better than we do."""
    try:
        return look(session, options, source)
    except SyntaxError:
        return None


def _run(running: Running, source: str) -> None:
    session = running.session
    with session.in_a_cell():
        running.begin()
        is_done = False
        while not is_done:
            with running.attempt() as capture:
                outcome = run_body(session.shell, source, capture=capture, shows_all=running.shows_all)
            is_done = running.ended(outcome)


async def _nothing() -> None:
    """The shell awaits a cell whose body awaits, whether it ran or not."""


async def _run_awaiting(running: Running, source: str) -> None:
    session = running.session
    with session.in_a_cell():
        running.begin()
        is_done = False
        while not is_done:
            with running.attempt() as capture:
                outcome = await run_body_awaiting(session.shell, source, capture=capture, shows_all=running.shows_all)
            is_done = running.ended(outcome)


def _is_restored(session: Session, options: CellOptions, seen: Look) -> bool:
    """Bring back what is fresh, or what a person prefers to a new run; else say why it runs."""
    _refuse_renamed(session, options, seen)
    verdict = seen.verdict
    if isinstance(verdict, Stale) and verdict.may_restore and _prefers_the_old(session, seen):
        return restore(session, options, seen._replace(saved=session.saved(seen.entry) if seen.entry else None))
    if seen.is_fresh:
        return restore(session, options, seen)
    if seen.entry is not None and not options.quiet and options.reuse != "never":
        say(session.shell, f"runs again: {verdict.sentence}{seen.last_time}", "runs again")
    return False


def _at_our_turn(session: Session, options: CellOptions, seen: Look) -> Look:
    """The cell once nobody else writes: another kernel may have run it while we waited."""
    before = session.log.book.next
    try:
        is_alone = session.held_book().next == before
    except KeyboardInterrupt:
        raise in_one_line(KeyboardInterrupt(STOPPED)) from None
    return seen if is_alone else look(session, options, seen.source, seen.cell)


def _prefers_the_old(session: Session, seen: Look) -> bool:
    from IPython.core.error import StdinNotImplementedError  # noqa: PLC0415 - only where there is a shell

    question = f"{seen.verdict.sentence}{seen.last_time}. Run it again, or restore the old outcome? [run/restore] "
    try:
        answer = input(question)
    except (StdinNotImplementedError, EOFError):
        raise BadOption("--reuse ask needs somebody to answer; write --reuse inputs, code, always or never") from None
    return answer.strip().lower() in ("restore", "r", "re", "old")


def _refuse_renamed(session: Session, options: CellOptions, seen: Look) -> None:
    """A new name over the code of a cell that was not met in this kernel: perhaps it was renamed."""
    book = session.log.book
    if options.name is None or options.reuse == "never" or book.newest(seen.cell) is not None:
        return
    for other in book.cells_of(seen.code):
        if other not in session.seen and not other.startswith("#"):
            raise Refused(
                f"`{seen.cell}` has not run, and its code is that of `{other}`. Was it renamed? "
                f"`%durable rename {other} {seen.cell}` keeps what it came to; "
                f"`%%durable {seen.cell} --reuse never` runs it as a cell of its own"
            )
