"""What flows and steps print: kept beside the history, told apart by run and attempt, never mixed into a stranger's cell."""

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from durable_nb.engine.turn import Turn, place
from durable_nb.stores.protocol import OutputRecord

LIMIT = 1024 * 1024  # characters kept of one attempt or turn


class Sink:
    """Collects the output of one run while it is carried here."""

    def __init__(self, now: Callable[[], float], echo: bool) -> None:
        self._now = now
        self._echo = echo
        self._pieces: list[OutputRecord] = []
        self._sizes: dict[tuple[int | None, int], int] = {}
        self._lock = threading.Lock()

    def write(self, ask: int | None, attempt: int, stream: str, text: str) -> bool:
        """Keep the text; True when it should also be shown here."""
        with self._lock:
            size = self._sizes.get((ask, attempt), 0)
            self._sizes[ask, attempt] = size + len(text)
            if size < LIMIT:
                self._keep(ask, attempt, stream, text[: LIMIT - size])
                if size + len(text) > LIMIT:
                    self._keep(ask, attempt, stream, f"\n[output cut after {LIMIT} characters]\n")
        return self._echo

    def tell(self, ask: int, attempt: int, stream: str, text: str) -> None:
        """A heartbeat or a position: only the last one since the last look is kept."""
        with self._lock:
            self._pieces = [one for one in self._pieces if (one.ask, one.attempt, one.stream) != (ask, attempt, stream)]
            self._pieces.append(OutputRecord(ask, attempt, stream, text, self._now()))

    def take(self) -> list[OutputRecord]:
        """What has come since the last time."""
        with self._lock:
            pieces, self._pieces = self._pieces, []
        return pieces

    @property
    def is_empty(self) -> bool:
        return not self._pieces

    def _keep(self, ask: int | None, attempt: int, stream: str, text: str) -> None:
        last = self._pieces[-1] if self._pieces else None
        if last is not None and (last.ask, last.attempt, last.stream) == (ask, attempt, stream):
            self._pieces[-1] = last._replace(text=last.text + text)
        else:
            self._pieces.append(OutputRecord(ask, attempt, stream, text, self._now()))


def position(pieces: Iterable[OutputRecord], ask: int) -> int:
    """The last position that an attempt of the ask has told."""
    told = [int(piece.text) for piece in pieces if piece.ask == ask and piece.stream == "progress"]
    return max(told, default=0)


class Tee:
    """Stands where sys.stdout stood: text from flow and step code goes to their sink, all other text straight on."""

    def __init__(self, name: str, original: TextIO) -> None:
        self._name = name
        self.original = original

    def write(self, text: str) -> int:
        here = place.get()
        sink: Sink | None = getattr(here, "sink", None)
        if sink is None:
            return self.original.write(text)
        if here.__class__ is Turn:
            if here.cursor.is_replaying:
                return len(text)
            shown = sink.write(None, here.execution, self._name, text)
        else:
            shown = sink.write(here.ask, here.attempt, self._name, text)
        return self.original.write(text) if shown else len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


def shows_background() -> bool:
    """Whether what runs in the background prints here: in a script and a worker; never into a notebook's current cell."""
    shell = sys.modules.get("IPython")
    return shell is None or getattr(shell.get_ipython(), "kernel", None) is None


def install() -> None:
    """Put a tee before stdout and stderr, if none is there."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Tee):
            setattr(sys, name, Tee(name, stream))


def remove() -> None:
    """Take our tees away again, where nobody has put something else before them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, Tee):
            setattr(sys, name, stream.original)
