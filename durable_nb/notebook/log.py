"""An open log, as the cells of a notebook use it."""

import logging
import os
from pathlib import Path

from durable_nb.app import App
from durable_nb.errors import LogError
from durable_nb.notebook.cells.book import Book
from durable_nb.notebook.cells.mailbox import Mailbox
from durable_nb.notebook.standing import Standing, standing
from durable_nb.opening import opened
from durable_nb.runtime.options import RuntimeOptions
from durable_nb.stores.files import identity, refuse_moved

_logger = logging.getLogger("durable_nb")


class Log:
    """An open log, as the cells of a notebook use it."""

    def __init__(self, url: str, notebook: Path | None, durability: str) -> None:
        self.url = url
        self.notebook = notebook
        self.app: App = opened(url, durability, RuntimeOptions(is_held=True))
        self.book = Book(self.app)
        self.mailbox = Mailbox(self.app, self.book)
        self.path = path_of(url)
        self._files = {self.path: identity(self.path)}

    @property
    def name(self) -> str:
        return self.url if "://" in self.url else os.path.basename(self.url)

    def check_file(self) -> None:
        """LogMissing when the file was removed or replaced since: the store looks every few seconds, a cell is quicker."""
        refuse_moved(self.path, self._files)

    def standing(self) -> Standing:
        return standing(self.app, self.book)

    def close(self) -> None:
        try:
            self.book.let_go()
        except LogError as error:
            _logger.warning("the durable cells were not given back in order: %s", error)
        self.app.close()


def path_of(url: str) -> str:
    """Where the file of a log is, if it is one."""
    return os.path.abspath(url.removeprefix("sqlite:///"))
