"""Keeping a copy of all that a cell shows while its body runs."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from durable_nb.notebook.outputs import WHOLE, Output, Outputs
from durable_nb.notebook.streams import Pipes, flush
from durable_nb.notebook.tap import leave, listen

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class Capture(ABC):
    """Entered around a body; `outputs` is what was shown meanwhile. Everything is shown as if nobody copied it."""

    def __init__(self, shell: "InteractiveShell", whole: int = WHOLE) -> None:
        self._shell = shell
        self._taken = Outputs(whole=whole)

    @property
    def outputs(self) -> list[Output]:
        return self._taken.settled()

    def __enter__(self) -> "Capture":
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            _flush_figures()
        finally:
            self._end()

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...


def capture_of(shell: "InteractiveShell", whole: int = WHOLE) -> Capture:
    """A fresh capture for this shell, with or without a kernel; `whole` bounds the characters of all outputs."""
    if hasattr(shell.display_pub, "session"):  # else there is no kernel, or `%%capture` stands above the cell
        return KernelCapture(shell, whole)
    return PlainCapture(shell, whole)


class KernelCapture(Capture):
    """Takes what the kernel sends for the present cell, from any thread that belongs to it."""

    def _begin(self) -> None:
        self._session: Any = self._shell.display_pub.session  # type: ignore[attr-defined]
        self._cell: str = self._shell.get_parent().get("header", {}).get("msg_id", "")  # type: ignore[attr-defined]
        flush()  # what was printed before does not belong to the body
        self._pipes = Pipes()
        listen(self._session, self._hear)

    def _end(self) -> None:
        try:
            self._pipes.drain()
        finally:
            leave(self._session, self._hear)

    def _hear(self, kind: str, content: Mapping[str, Any], cell: str) -> bool:
        if cell == self._cell:
            self._taken.take(kind, content)
        return False


class PlainCapture(Capture):
    """For IPython without a kernel: takes from the streams, the display publisher and the display hook themselves."""

    def _begin(self) -> None:
        self._is_muted = False
        self._undo: list[Callable[[], None]] = []
        for name in ("stdout", "stderr"):
            before = getattr(sys, name)
            setattr(sys, name, _Copy(before, name, self))
            self._undo.append(partial(setattr, sys, name, before))
        publisher, hook = self._shell.display_pub, self._shell.displayhook
        self._wrap(publisher, "publish", self._take_display)
        self._wrap(publisher, "clear_output", self._take_clearing)
        self._wrap(hook, "write_format_data", self._take_result)
        for name in ("start_displayhook", "write_output_prompt", "finish_displayhook"):
            self._wrap(hook, name, lambda *values, **named: None)
        if sys.displayhook is not hook:  # that of `%%capture`
            before = sys.displayhook
            sys.displayhook = partial(self._show_captured, before)
            self._undo.append(partial(setattr, sys, "displayhook", before))

    def _end(self) -> None:
        for undo in self._undo:
            undo()

    def write(self, name: str, text: str) -> None:
        if not self._is_muted:
            self._taken.take("stream", {"name": name, "text": text})

    def _wrap(self, owner: Any, name: str, take: Callable[..., None]) -> None:
        """Tell `take` of every call; what a terminal then prints in place of the display is no text of the cell."""
        plain = getattr(owner, name)

        def wrapped(*values: Any, **named: Any) -> Any:
            take(*values, **named)
            with self._muted():
                return plain(*values, **named)

        setattr(owner, name, wrapped)
        self._undo.append(lambda: delattr(owner, name))

    @contextmanager
    def _muted(self) -> Iterator[None]:
        before, self._is_muted = self._is_muted, True
        try:
            yield
        finally:
            self._is_muted = before

    def _take_display(
        self, data: Any, metadata: Any = None, *rest: Any, transient: Any = None, update: bool = False, **named: Any
    ) -> None:
        kind = "update_display_data" if update else "display_data"
        self._taken.take(kind, {"data": data, "metadata": metadata, "transient": transient})

    def _take_clearing(self, wait: bool = False) -> None:
        self._taken.take("clear_output", {"wait": wait})

    def _take_result(self, data: Any, metadata: Any = None) -> None:
        count = self._shell.displayhook.prompt_count
        self._taken.take("execute_result", {"data": data, "metadata": metadata, "execution_count": count})

    def _show_captured(self, show: Callable[[Any], Any], value: Any) -> None:
        """What `%%capture` takes instead of a result, which is a display then."""
        show(value)
        if value is not None:
            formatter: Any = self._shell.display_formatter
            data, metadata = formatter.format(value)
            self._take_display(data, metadata)


class _Copy:
    """A stream that tells the capture what passes."""

    def __init__(self, stream: Any, name: str, capture: PlainCapture) -> None:
        self._stream = stream
        self._name = name
        self._capture = capture

    def write(self, text: str) -> Any:
        self._capture.write(self._name, text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _flush_figures() -> None:
    """Show figures now that the inline backend would show after the cell, too late for the capture."""
    inline: Any = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is not None:
        inline.flush_figures()
