"""One kernel with its log: what `%load_ext durable_nb` opens and `%unload_ext durable_nb` closes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from durable_nb.errors import BadOption, Corrupt, LogError
from durable_nb.history.events import Row
from durable_nb.notebook import background, transform, where
from durable_nb.notebook.cells.book import Book
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.cells.modules import Modules
from durable_nb.notebook.cells.saved import Saved
from durable_nb.notebook.idle import Idle
from durable_nb.notebook.log import Log, path_of
from durable_nb.notebook.restored import Restored
from durable_nb.notebook.saying import Notice

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_logger = logging.getLogger("durable_nb")


class Present(NamedTuple):
    """The outcome of a cell whose variables are in this kernel."""

    answer: Row | None
    result: object  # what its last line showed, None for nothing


class Session:
    """The extension in one shell: it opens a log, and goes on with old runs once the kernel is idle."""

    def __init__(self, shell: "InteractiveShell", durability: Callable[[], str], patience: Callable[[], float]) -> None:
        self.shell = shell
        self._durability = durability
        self._log: Log | None = None
        self._found = where.Found(None, None, "nobody", "no log was looked for yet")
        self._idle = Idle(patience, self._on_idle)
        self.shows_all = False  # the frames of this package too, in errors
        self.is_in_a_cell = False
        self.modules = Modules(self._patched)
        self.restored = Restored()
        self.present: dict[str, Present] = {}  # by cell
        self.unnamed: dict[str, list[str]] = {}  # code -> the cells of that code in the order in which they first ran
        self._saved: dict[int, tuple[Row | None, Saved]] = {}
        self.seen: set[str] = set()  # cells that ran or were restored here

    def begin(self) -> None:
        """Register with the shell."""
        transform.install(self.shell)
        background.install(self.shell)
        events: Any = self.shell.events
        events.register("pre_run_cell", self._idle.begin)
        events.register("post_run_cell", self._idle.end)

    def end(self) -> None:
        """Leave the shell as it was, and close the log."""
        events: Any = self.shell.events
        events.unregister("pre_run_cell", self._idle.begin)
        events.unregister("post_run_cell", self._idle.end)
        self._idle.stop()
        background.uninstall(self.shell)
        transform.uninstall(self.shell)
        self.close()

    def find(self, argument: str | None = None) -> where.Found:
        """Which log belongs to this kernel."""
        names = self.shell.user_ns
        is_kernel = getattr(self.shell, "kernel", None) is not None
        connection = getattr(self.shell.config.get("IPKernelApp", {}), "connection_file", None)
        if connection is None and is_kernel:
            connection = _connection_file()
        self._found = where.find(argument, names, connection_file=connection)
        return self._found

    def open(self, url: str, notebook: Path | None = None) -> Log:
        """Open this log, in place of the one that is open; when it cannot be opened, that one stays."""
        if self._log is not None and self._log.path == path_of(url):
            self.close()
        log = Log(url, notebook, self._durability())
        self.close()
        self._saved.clear()
        self.present.clear()
        self._log = log
        return log

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    @property
    def is_open(self) -> bool:
        return self._log is not None

    @property
    def log(self) -> Log:
        """The open log; BadOption with the line to type when there is none."""
        if self._log is None:
            why = self._found.why_not or f"{self._found.log} could not be opened"
            raise BadOption(f"no log is open: {why}; type `%durable open work.durable.db`")
        return self._log

    def name_of(self, code: str, cell_id: str | None) -> str:
        """The name of a cell that was given none: its code, and how many cells of that code came before it.

        A front end that tells ids tells a cell that runs again from a second one of the same text; others run each once.
        """
        known = self.unnamed.setdefault(code, [])
        if cell_id is not None and cell_id in known:
            place = known.index(cell_id)
        else:
            place = len(known)
            known.append(cell_id or f"#{place}")
        return f"#{code[:12]}" + (f".{place + 1}" if place else "")

    def saved(self, entry: Entry) -> Saved:
        """What a cell came to; Untrusted for a log from elsewhere."""
        row, saved = self._saved.get(entry.seq, (None, None))
        if saved is not None and row is entry.answer:  # else the cells may have been deleted, and begun anew
            return saved
        try:
            found = self.log.book.value(entry)
        except Corrupt as error:
            raise unreadable(entry, error) from None
        assert isinstance(found, Saved)
        self._saved[entry.seq] = entry.answer, found
        return found

    def held_book(self) -> Book:
        """The book, once it is our turn to write."""
        self.log.check_file()
        book = self.log.book
        with Notice(self.shell) as notice:
            book.hold(lambda holder: notice.wait(f"waits for {holder}, which runs a durable cell of this log"))
        return book

    @contextmanager
    def in_a_cell(self) -> Iterator[None]:
        """While a durable cell runs."""
        self.is_in_a_cell = True
        try:
            yield
        finally:
            self.is_in_a_cell = False

    def _patched(self, module: str) -> str | None:
        """The text that `%autoreload` knows for a module; None where it is off, or too old to patch anything."""
        magics = self.shell.magics_manager.registry.get("AutoreloadMagics")
        patcher = getattr(getattr(magics, "_reloader", None), "deduper_reloader", None)
        texts: dict[str, str] = getattr(patcher, "source_by_modname", {})
        return texts.get(module) or None

    def _on_idle(self) -> None:
        """Nobody runs a cell: other kernels may write cells, and what earlier kernels left goes on."""
        log = self._log
        if log is None:
            return
        try:
            log.book.let_go()
            log.app.take_up()
        except LogError as error:
            _logger.warning("%s", error)


def unreadable(entry: Entry, error: Corrupt) -> Corrupt:
    """The same, with what to do about it."""
    name = entry.cell
    return Corrupt(f"what came of cell `{name}` cannot be read: {error}; `%durable forget {name}` lets it run again")


def _connection_file() -> str | None:
    from ipykernel.connect import get_connection_file  # noqa: PLC0415 - only a kernel has one

    try:
        return get_connection_file()
    except RuntimeError:  # not in a kernel
        return None
