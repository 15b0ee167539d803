"""What flows and steps print: kept beside the history, told apart by run and attempt, never mixed into a stranger's cell."""

import sys
import threading
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple, TextIO

from durable_nb.engine.turn import Turn, place
from durable_nb.stores.shapes import OutputRecord
from durable_nb.where import shell_or_none

LIMIT = 1024 * 1024  # characters kept of one attempt or turn


class Echo(Enum):
    """Whether output is shown here too. In the background only whole lines are, or those of several runs would mix."""

    NEVER = 0
    AT_ONCE = 1
    LINES = 2


class Sink:
    """Collects the output of one run while it is carried here."""

    def __init__(self, now: Callable[[], float], echo: "Echo") -> None:
        self._now = now
        self._echo = echo
        self._pieces: list[OutputRecord] = []
        self._sizes: dict[tuple[int | None, int], int] = {}
        self._lines: dict[str, str] = {}
        self._lock = threading.Lock()
        self.under_way: Callable[[], None] | None = None  # brings what somebody else still has in hand of our output

    def write(self, ask: int | None, attempt: int, stream: str, text: str) -> str:
        """Keep the text; what should also be shown here and now comes back, whole lines in the background."""
        with self._lock:
            size = self._sizes.get((ask, attempt), 0)
            self._sizes[ask, attempt] = size + len(text)
            if size < LIMIT:
                self._keep(ask, attempt, stream, text[: LIMIT - size])
                if size + len(text) > LIMIT:
                    self._keep(ask, attempt, stream, f"\n[output cut after {LIMIT} characters]\n")
            return self._shown(stream, text)

    def show(self, ask: int | None, attempt: int, text: str) -> bool:
        """Keep a display, whole or not at all; whether there was room for it."""
        with self._lock:
            size = self._sizes.get((ask, attempt), 0) + len(text)
            if size > LIMIT:
                return False
            self._sizes[ask, attempt] = size
            self._pieces.append(OutputRecord(ask, attempt, "display", text, self._now()))
        return True

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it is shown here."""
        return self._echo is Echo.NEVER

    def rest(self) -> dict[str, str]:
        """Begun lines that were held back, when nothing more is to come."""
        with self._lock:
            rest, self._lines = self._lines, {}
        return rest

    def _shown(self, stream: str, text: str) -> str:
        if self._echo is not Echo.LINES:
            return text if self._echo is Echo.AT_ONCE else ""
        whole, newline, begun = (self._lines.pop(stream, "") + text).rpartition("\n")
        if begun:
            self._lines[stream] = begun
        return whole + newline

    def tell(self, ask: int, attempt: int, stream: str, text: str) -> None:
        """A heartbeat or a position: only the last one since the last look is kept."""
        with self._lock:
            self._pieces = [one for one in self._pieces if (one.ask, one.attempt, one.stream) != (ask, attempt, stream)]
            self._pieces.append(OutputRecord(ask, attempt, stream, text, self._now()))

    def take(self) -> list[OutputRecord]:
        """What has come since the last time."""
        under_way, self.under_way = self.under_way, None
        if under_way is not None:
            under_way()
        with self._lock:
            pieces, self._pieces = self._pieces, []
        return pieces

    @property
    def is_empty(self) -> bool:
        return not self._pieces and self.under_way is None

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


class Writer(NamedTuple):
    """The flow or step code that is running on this thread, as the output table knows it."""

    sink: Sink
    ask: int | None
    attempt: int
    is_replaying: bool


def writer() -> Writer | None:
    """Whose output it is that comes now; None when it belongs to no run."""
    here = place.get()
    sink: Sink | None = getattr(here, "sink", None)
    if sink is None:
        return None
    if here.__class__ is Turn:
        return Writer(sink, None, here.execution, here.cursor.is_replaying)
    return Writer(sink, here.ask, here.attempt, False)


class Tee:
    """Stands where sys.stdout stood: text from flow and step code goes to their sink, all other text straight on."""

    def __init__(self, name: str, original: TextIO) -> None:
        self._name = name
        self.original = original

    def write(self, text: str) -> int:
        who = writer()
        if who is None:
            return self.original.write(text)
        shown = "" if who.is_replaying else who.sink.write(who.ask, who.attempt, self._name, text)
        if shown:
            self.original.write(shown)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


def background() -> Echo:
    """How what runs in the background is shown: in a script and a worker by lines; never in a notebook's current cell."""
    is_notebook = getattr(shell_or_none(), "kernel", None) is not None
    return Echo.NEVER if is_notebook else Echo.LINES


def show_rest(sink: Sink) -> None:
    """Show the begun lines of what has ended."""
    for name, text in sink.rest().items():
        stream = getattr(sys, name)
        (stream.original if isinstance(stream, Tee) else stream).write(text + "\n")


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
