"""One kernel with its log: what `%load_ext durable_nb` opens and `%unload_ext durable_nb` closes."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from durable_nb.app import App
from durable_nb.errors import BadOption, LogError
from durable_nb.notebook import background, transform, where
from durable_nb.notebook.cells.book import Book
from durable_nb.notebook.cells.entry import Entry
from durable_nb.notebook.cells.mailbox import Mailbox
from durable_nb.notebook.cells.modules import Modules
from durable_nb.notebook.cells.saved import Saved
from durable_nb.notebook.idle import Idle
from durable_nb.notebook.restored import Restored
from durable_nb.notebook.saying import Notice
from durable_nb.notebook.standing import Standing, standing
from durable_nb.opening import opened
from durable_nb.runtime.options import RuntimeOptions

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_logger = logging.getLogger("durable_nb")


class Log:
    """An open log, as the cells of a notebook use it."""

    def __init__(self, url: str, notebook: Path | None, durability: str) -> None:
        self.url = url
        self.notebook = notebook
        self.app: App = opened(url, durability, RuntimeOptions(is_held=True))
        self.book = Book(self.app)
        self.mailbox = Mailbox(self.app, self.book)

    @property
    def name(self) -> str:
        return self.url if "://" in self.url else os.path.basename(self.url)

    def standing(self) -> Standing:
        return standing(self.app, self.book)

    def close(self) -> None:
        try:
            self.book.let_go()
        except LogError as error:
            _logger.warning("the durable cells were not given back in order: %s", error)
        self.app.close()


class Session:
    """The extension in one shell: it opens a log, and goes on with old runs once the kernel is idle."""

    def __init__(self, shell: "InteractiveShell", durability: Callable[[], str], patience: float) -> None:
        self.shell = shell
        self._durability = durability
        self._log: Log | None = None
        self._found = where.Found(None, None, "nobody", "no log was looked for yet")
        self._idle = Idle(patience, self._on_idle)
        self.shows_all = False  # the frames of this package too, in errors
        self.is_in_a_cell = False
        self.modules = Modules()
        self.restored = Restored()
        self.present: dict[str, int] = {}  # cell -> the outcome whose variables are here
        self.unnamed: dict[str, list[str]] = {}  # code -> the cells of that code in the order in which they first ran
        self._saved: dict[int, Saved] = {}
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
        connection = getattr(self.shell.config.get("IPKernelApp", {}), "connection_file", None) or _connection_file()
        self._found = where.find(argument, names, connection_file=connection)
        return self._found

    def open(self, url: str, notebook: Path | None = None) -> Log:
        """Open this log, in place of the one that is open."""
        self.close()
        self._saved.clear()
        self.present.clear()
        self._log = Log(url, notebook, self._durability())
        return self._log

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
            raise BadOption(f"no log is open: {self._found.why_not}; type `%durable open work.durable.db`")
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
        if entry.seq not in self._saved:
            found = self.log.book.value(entry)
            assert isinstance(found, Saved)
            self._saved[entry.seq] = found
        return self._saved[entry.seq]

    def held_book(self) -> Book:
        """The book, once it is our turn to write."""
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


def _connection_file() -> str | None:
    from ipykernel.connect import get_connection_file  # noqa: PLC0415 - only a kernel has one

    try:
        return get_connection_file()
    except RuntimeError:  # not in a kernel
        return None
