"""Which line of the user's code this is: for every error, mismatch and park that names a place."""

import linecache
import os
import sys
from types import FrameType, TracebackType

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def is_ours(filename: str) -> bool:
    """True for a file of this package, which a user does not want to be pointed to."""
    return filename.startswith(_PACKAGE)


def calling_line() -> str:
    """The innermost line outside this package on the present stack: 'shop.py, line 12: `ship(order)`'."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return _place(frame.f_code.co_filename, frame.f_lineno) if frame is not None else "an unknown line"


def failing_line(traceback: TracebackType | None) -> str | None:
    """The innermost line outside this package that an exception passed."""
    found = None
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if not is_ours(filename):
            found = (filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return _place(*found) if found is not None else None


def _place(filename: str, line: int) -> str:
    source = linecache.getline(filename, line).strip()
    name = filename if filename.startswith("<") else os.path.basename(filename)
    return f"{name}, line {line}" + (f": `{source}`" if source else "")
