"""Tab on a `%durable` line: verbs, options, ids of runs, names of cells and signals."""

import re
from collections.abc import Iterable
from typing import Any

from durable_nb.errors import DurableError
from durable_nb.notebook.cells.book import CELLS
from durable_nb.notebook.options import POLICIES
from durable_nb.notebook.session import Session
from durable_nb.notebook.verbs import SHARED
from durable_nb.stores.shapes import Query
from durable_nb.verbs.verb import Verb
from durable_nb.views.sentences import waits_of

_LINE = re.compile(r"^\s*(%{1,2})durable\b(?:\s+(?P<words>.*))?$", re.DOTALL)
_OPTIONS = (
    "--retry",
    "--timeout",
    "--delay",
    "--in",
    "--out",
    "--await",
    "--reuse",
    "--plan",
    "--crash-test",
    "--quiet",
)
_MOST = 50


class Completer:
    """A matcher of the shell's completer."""

    def __init__(self, session: Session, own: dict[str, Verb]) -> None:
        self._session = session
        self._verbs = {**SHARED, **own}
        self._is_on = False
        self._matcher: Any = None

    def begin(self) -> None:
        from IPython.core.completer import context_matcher  # noqa: PLC0415 - only where there is a shell

        @context_matcher(identifier="durable_nb")
        def matcher(context: Any) -> Any:
            return self._match(context)

        self._matcher = matcher
        self._session.shell.Completer.custom_matchers.append(self._matcher)
        self._is_on = True

    def end(self) -> None:
        if self._is_on:
            self._session.shell.Completer.custom_matchers.remove(self._matcher)
            self._is_on = False

    def _match(self, context: Any) -> Any:
        from IPython.core.completer import SimpleCompletion  # noqa: PLC0415

        found = _LINE.match(context.line_with_cursor[: context.cursor_position])
        if found is None:
            return {"completions": [], "suppress": False}
        given = (found["words"] or "").split(" ")
        words = self._words(found[1] == "%%", given)
        shown = [SimpleCompletion(word, type="durable") for word in words if word.startswith(given[-1])]
        return {"completions": shown, "suppress": bool(shown), "matched_fragment": given[-1]}

    def _words(self, is_cell: bool, given: list[str]) -> Iterable[str]:
        """What may stand where the last word stands."""
        before = given[:-1]
        try:
            if is_cell:
                return self._of_cell(before)
            return self._of_verb(before) if before else [*sorted(self._verbs), "help"]
        except DurableError:  # the log is closed or gone; completing is no place to say so
            return []

    def _of_cell(self, before: list[str]) -> Iterable[str]:
        if before and before[-1] in ("--reuse", "-u"):
            return POLICIES
        names = () if before or not self._session.is_open else self._session.log.book.cells()
        return [*(name for name in names if not name.startswith("#")), *_OPTIONS]

    def _of_verb(self, before: list[str]) -> Iterable[str]:
        verb = self._verbs.get(before[0])
        if verb is None:
            return []
        params = [make() for make in verb.params]
        options = [option for param in params for option in param.opts if option.startswith("-")]
        names = [param.name for param in params if not param.opts[0].startswith("-")]
        place = len([word for word in before[1:] if not word.startswith("-")])
        return [*self._named(names[place] if place < len(names) else None, before), *options, "--help"]

    def _named(self, name: str | None, before: list[str]) -> Iterable[str]:
        if not self._session.is_open:
            return []
        app = self._session.log.app
        if name in ("cell", "old"):
            return self._session.log.book.cells()
        if name == "id":
            return [run.id for run in app.find(Query(limit=_MOST))]
        if name == "name" and before[0] == "signal":
            run = app.store.run(before[1]) or app.store.run(CELLS)
            return [one.name for one in waits_of(run) if one.name] if run is not None else []
        return []
