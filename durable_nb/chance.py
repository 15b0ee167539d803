"""Random bytes for ids: from the system, many at a time, because asking costs up to 60 µs whatever is asked for."""

import os
import threading

_SIZE = 4096
_lock = threading.Lock()
_left = b""


def token(size: int) -> bytes:
    """That many random bytes, never the same twice, in a forked child neither."""
    global _left
    with _lock:
        if len(_left) < size:
            _left = os.urandom(_SIZE)
        taken, _left = _left[:size], _left[size:]
    return taken


def _forget() -> None:
    global _left, _lock
    _left, _lock = b"", threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
