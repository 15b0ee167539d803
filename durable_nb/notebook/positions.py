"""How far a running cell is: `current_step().progress(...)` and `heartbeat(...)`, written beside the history."""

import time

from durable_nb.notebook.cells.book import Book
from durable_nb.runtime.output import position

_EVERY = 1.0  # seconds between two writes


class Positions:
    """Stands where the sink of a step stands; the text that a cell prints is captured elsewhere."""

    is_quiet = False

    def __init__(self, book: Book, ask: int) -> None:
        self._book = book
        self._ask = ask
        self._told: dict[str, tuple[int, str]] = {}
        self._written = time.monotonic()

    def recall(self, ask: int) -> int:
        """Where an earlier attempt was."""
        return position(self._book.told(ask), ask)

    def tell(self, ask: int, attempt: int, stream: str, text: str) -> None:
        self._told[stream] = attempt, text
        if time.monotonic() - self._written >= _EVERY:
            self.flush()

    def write(self, ask: int, attempt: int, stream: str, text: str) -> str:
        """Text goes on into the cell."""
        return text

    def show(self, ask: int, attempt: int, text: str) -> bool:
        """Displays too."""
        return True

    def flush(self) -> None:
        """Write what was told since."""
        told, self._told = self._told, {}
        for stream, (attempt, text) in told.items():
            self._book.tell(self._ask, attempt, stream, text)
        self._written = time.monotonic()
