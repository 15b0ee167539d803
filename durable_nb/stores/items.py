"""What waits for the writer."""

import _thread
from collections.abc import Callable
from typing import Any

from durable_nb.stores.interrupts import Shield
from durable_nb.stores.library import Connection


class Item:
    """A transaction that waits for its commit, and its outcome.

    The gate opens when the item is done, or when its owner is to lead. With a shield the owner may be interrupted.
    """

    __slots__ = ("error", "gate", "is_done", "leads", "result", "shield", "work")

    def __init__(self, work: Callable[[Connection], Any], shield: Shield | None) -> None:
        self.work = work
        self.shield = shield
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.result: Any = None
        self.error: BaseException | None = None
        self.leads = False
        self.is_done = False

    @property
    def is_interrupted(self) -> bool:
        return self.shield is not None and self.shield.wants_out


def copy_of(error: BaseException) -> BaseException:
    """Each owner raises an object of its own: a shared one would collect all their tracebacks."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
