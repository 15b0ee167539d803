"""What happens to open logs in a forked child: they refuse, and are never closed there.

Their connections belong to the parent's locks and memory maps; SQLite forbids even closing them.
"""

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Whoever wants to know that it is in a child now."""

    def disown(self) -> None: ...


_watched: WeakSet[Forked] = WeakSet()
_inherited: list[Forked] = []


def watch(open_log: Forked) -> None:
    """Have `disown` called in forked children for as long as the object lives."""
    _watched.add(open_log)


def _disown() -> None:
    for each in list(_watched):
        each.disown()
        _inherited.append(each)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
