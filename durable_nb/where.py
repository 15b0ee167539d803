"""Which line of the user's code this is: for every error, mismatch and park that names a place."""

import linecache
import os
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ASYNCIO = os.path.join(os.path.dirname(getattr(os, "__file__", "")), "asyncio") + os.sep


def is_ours(filename: str) -> bool:
    """True for a file of this package, which a user does not want to be pointed to."""
    return filename.startswith(_PACKAGE)


def _is_between(filename: str) -> bool:
    """True for what lies between a user's line and an ask: this package, and asyncio when a flow sleeps or gathers."""
    return is_ours(filename) or filename.startswith(_ASYNCIO)


def calling_line() -> str:
    """The innermost line outside this package (and asyncio) on the present stack: 'shop.py, line 12: `ship(order)`'."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_between(frame.f_code.co_filename):
        frame = frame.f_back
    return _place(frame.f_code.co_filename, frame.f_lineno) if frame is not None else "an unknown line"


def failing_line(traceback: TracebackType | None) -> str | None:
    """The innermost line outside this package (and asyncio) that an exception passed."""
    found = None
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if not _is_between(filename):
            found = (filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return _place(*found) if found is not None else None


def awaiting_line(awaited: Any) -> str | None:
    """The innermost such line at which a suspended coroutine waits."""
    frames = [frame for frame in awaiting_frames(awaited) if not _is_between(frame.f_code.co_filename)]
    return _place(frames[-1].f_code.co_filename, frames[-1].f_lineno) if frames else None


def awaiting_frames(awaited: Any) -> Iterator[FrameType]:
    """The frames of a suspended coroutine, outermost first, as far as Python shows them."""
    while awaited is not None:
        frame = next((one for one in (getattr(awaited, name, None) for name in ("cr_frame", "gi_frame")) if one), None)
        if frame is None:
            return
        yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _place(filename: str, line: int) -> str:
    source = linecache.getline(filename, line).strip()
    name = _cell(filename) or (filename if filename.startswith("<") else os.path.basename(filename))
    return f"{name}, line {line}" + (f": `{source}`" if source else "")


def shell_or_none() -> Any:
    """The IPython shell of this process, if it has one. Another thread may be importing IPython just now."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return find() if find is not None else None


def _cell(filename: str) -> str | None:
    """'Cell In[5]' for the file that stands for a cell of this notebook."""
    shell = shell_or_none()
    named = shell.compile.format_code_name(filename) if shell is not None else None
    return " ".join(named) if named else None
