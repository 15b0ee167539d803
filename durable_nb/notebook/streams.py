"""The kernel's own streams: to be sure that what was written has been sent, also by child processes and C code."""

import os
import sys
import threading
import time
from typing import Any

from durable_nb.runtime.output import Tee

_PATIENCE = 1.0  # seconds until a pipe that never gets empty is left alone
_MARK = "\0"  # one character, which no read can cut in two; a terminal shows nothing of it

_marking = threading.Lock()


def kernel_streams() -> list[Any]:
    """Stdout and stderr of the kernel, whatever of ours stands before them."""
    streams = [getattr(sys, name) for name in ("stdout", "stderr")]
    return [stream.original if isinstance(stream, Tee) else stream for stream in streams]


def flush() -> None:
    """Send what was written; unsent text of before is not to be taken for text of now."""
    for stream in kernel_streams():
        if _holds(stream):
            stream.flush()


class Pipes:
    """What is written to the file descriptors reaches the kernel through pipes, each read by a thread of its own.

    Made before the code that may write, drained after it.
    """

    def __init__(self) -> None:
        self._streams = [one for one in kernel_streams() if _is_piped(one)]
        self._before = [_work_of(one.watch_fd_thread) for one in self._streams]
        self._sent = [(one, _sending(one)) for one in kernel_streams()]

    def drain(self) -> None:
        """Wait until all that lies in the pipes is written to the streams, then send it."""
        for stream, before in zip(self._streams, self._before, strict=True):
            # The reader may have taken a text out and not come to write it. Then it has worked since.
            if _is_filled(stream) or before is None or _work_of(stream.watch_fd_thread) != before:
                _wait_for_reader(stream)
        for stream, sent in self._sent:
            # As with the reader: what was written lies there yet, or the sender has worked since.
            if _holds(stream) or sent is None or _sending(stream) != sent:
                stream.flush()


def _holds(stream: Any) -> bool:
    """Whether text lies there that is to be sent; so it is said of streams that do not tell."""
    return bool(getattr(stream, "_buffers", True))


def _sending(stream: Any) -> float | None:
    """The processor time of the thread that sends what is written to the stream."""
    thread = getattr(getattr(stream, "pub_thread", None), "thread", None)
    return _work_of(thread) if thread is not None else None


def _is_piped(stream: Any) -> bool:
    names = ("_fid", "_original_stdstream_fd", "watch_fd_thread")  # there in all versions from 6 to 7.4
    return all(getattr(stream, name, None) is not None for name in names)


def _work_of(thread: threading.Thread) -> float | None:
    """The processor time that the thread has used, where the system tells."""
    if thread.ident is None or not hasattr(time, "pthread_getcpuclockid"):
        return None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def _is_filled(stream: Any) -> bool:
    import fcntl  # noqa: PLC0415 - where there is such a pipe there is fcntl; elsewhere there is neither
    import termios  # noqa: PLC0415

    return any(fcntl.ioctl(stream._fid, termios.FIONREAD, b"\0\0\0\0"))


def _wait_for_reader(stream: Any) -> None:
    """Write a mark behind everything else and wait until the reader has come to it; it is taken out again."""
    come = threading.Event()

    def write(text: str) -> Any:
        if threading.current_thread() is not stream.watch_fd_thread or _MARK not in text or come.is_set():
            return plain(text)
        plain(text.replace(_MARK, "", 1))
        come.set()
        return len(text)

    with _marking:
        plain, before = stream.write, vars(stream).get("write")
        stream.write = write
        try:
            os.write(stream._original_stdstream_fd, _MARK.encode())
            come.wait(_PATIENCE)
        finally:
            if before is None:
                del stream.write
            else:
                stream.write = before
