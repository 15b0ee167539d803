"""Errors as a cell shows them: the lines of the user and nothing of ours, or one red line."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from durable_nb.errors import DurableError
from durable_nb.notebook.outputs import Output
from durable_nb.where import is_ours

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_RED, _PLAIN = "\x1b[31m", "\x1b[39m"
_BODY = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "body.py"
)  # runs bodies: above it nothing is the user's


class _Lines:
    """What a shell asks an exception for: how it is to be shown. No closure, for an exception may be pickled."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def __call__(self) -> list[str]:
        return self.lines


class _StandIn(Exception):
    """Raised in place of an exception that the shell would show in its own way, with all frames."""


def hide(shell: "InteractiveShell", error: BaseException) -> BaseException:
    """The exception to raise in place of this one: the shell shows it once, and of its frames only those of the user.

    Mostly the same one. A syntax error, a group and what cannot be printed get a stand-in of their name: IPython shows
    the first two with all frames whatever they say, and fails over the last. `%debug` stands in the user's frame.
    """
    for one in _family(error):
        one.__traceback__ = cut(one.__traceback__)
    shown = error
    if isinstance(error, SyntaxError) or _has_group(error) or not _is_printable(error):
        shown = type(type(error).__name__, (_StandIn,), {})(_text(error))
        shown.__traceback__ = error.__traceback__
    return _show_as(shown, _rendered(shell, error))


@contextmanager
def one_line(shell: "InteractiveShell") -> Iterator[None]:
    """Around the work of a magic: an error of ours is one red line that says what, what next, and where in the cell."""
    try:
        yield
    except DurableError as error:
        line = _line_of(shell, sys._getframe())
        raise in_one_line(error, f" · line {line} of this cell" if line > 1 else "") from None


def in_one_line(error: BaseException, where: str = "") -> BaseException:
    """The same error, shown as one red line."""
    return _show_as(error, [f"{_RED}{type(error).__name__}{_PLAIN}: {' '.join(_text(error).split())}{where}"])


def error_output(shell: "InteractiveShell", error: BaseException) -> Output:
    """What the cell shows of an exception that leaves it."""
    if _is_usage(error):
        return {"output_type": "stream", "name": "stderr", "text": f"UsageError: {error}\n"}
    lines = vars(error).get("_render_traceback_")
    shown = lines() if isinstance(lines, _Lines) else _rendered(shell, error)
    return {"output_type": "error", "ename": type(error).__name__, "evalue": _text(error), "traceback": shown}


def cut(tb: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this package, and without all that lies above the body of a durable cell."""
    entries = list(_entries(tb))
    bodies = [place for place, one in enumerate(entries) if one.tb_frame.f_code.co_filename == _BODY]
    shown: TracebackType | None = None
    for one in reversed(entries[bodies[-1] + 1 if bodies else 0 :]):
        if not is_ours(one.tb_frame.f_code.co_filename):
            shown = TracebackType(shown, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shown


def _entries(tb: TracebackType | None) -> Iterator[TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _rendered(shell: "InteractiveShell", error: BaseException) -> list[str]:
    kind, tb = type(error), error.__traceback__
    try:
        if isinstance(error, SystemExit):
            hint = "An exception has occurred, use %tb to see the full traceback.\n"
            return [hint, *shell.InteractiveTB.get_exception_only(kind, error)]
        if isinstance(error, SyntaxError):
            frames: Any = traceback.extract_tb(tb)  # as the shell itself calls it
            return shell.SyntaxTB.structured_traceback(kind, error, frames)
        if _has_group(error):
            return ["".join(traceback.format_exception(error)).rstrip("\n")]
        own = getattr(error, "_render_traceback_", None)
        if own is not None:
            return list(own())
        return shell.InteractiveTB.structured_traceback(kind, error, tb, tb_offset=0)
    except Exception:  # noqa: BLE001 - an exception whose own text fails is still an error of the user, to be shown
        return [f"{_RED}{kind.__name__}{_PLAIN}: {_text(error)}"]


def _show_as(error: BaseException, lines: list[str]) -> BaseException:
    vars(error)["_render_traceback_"] = _Lines(lines)  # not setattr: an exception may refuse that
    return error


def _family(error: BaseException) -> list[BaseException]:
    """The exception, what it came from, and what it consists of."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or any(one is other for other in found):
            continue
        found.append(one)
        left += [one.__cause__, one.__context__]
        left += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return found


def _has_group(error: BaseException) -> bool:
    """Whether IPython would leave it to Python to print it."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, BaseExceptionGroup):
            return True
        one = one.__context__
    return False


def _is_usage(error: BaseException) -> bool:
    from IPython.core.error import UsageError  # noqa: PLC0415 - read where there is a shell, so it is loaded by then

    return type(error) is UsageError


def _text(error: BaseException) -> str:
    return str(error) if _is_printable(error) else f"<a {type(error).__name__} that cannot be printed>"


def _is_printable(error: BaseException) -> bool:
    try:
        str(error)
    except Exception:  # noqa: BLE001 - it is the user's own code that fails here
        return False
    return True


def _line_of(shell: "InteractiveShell", frame: FrameType | None) -> int:
    """The line of the present cell from which this was called; 0 when it was not called from one."""
    found: list[FrameType] = []
    while frame is not None:
        if frame.f_globals is shell.user_global_ns:
            found.append(frame)
        frame = frame.f_back
    cells = [one for one in found if one.f_code.co_filename == found[-1].f_code.co_filename]
    return cells[0].f_lineno if cells else 0
