"""Queue: how many steps run at once, and how many begin in a while, over all processes of a log."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from durable_nb.durations import seconds
from durable_nb.errors import BadOption
from durable_nb.stores.shapes import Limits

_RATE = re.compile(r"\s*(\d+)\s*/\s*(.+?)\s*")


class Keys(NamedTuple):
    """What a queue makes of the arguments of a step: whose turn it is, and what it is equal to."""

    key: Callable[..., Any] | None = None
    dedup: bool | Callable[..., Any] | None = None


NO_KEYS = Keys()


class Queue:
    """Limits for the steps that name it: `@step(queue=Queue("gpu", concurrency=2))`, or `queue="gpu"` wherever it is defined.

    `concurrency` bounds all processes together, `per_worker` each of them, `rate="10/s"` (or "100/5m") how many attempts
    begin within any such time. `key` is a function of the step's arguments: each key has its turn, however many others
    wait. The limits are in the log: whoever defines the queue last decides for everybody.

    `dedup` keeps work from being queued twice: as long as a step with an equal key is queued or runs there, another is
    refused with AlreadyQueued. True means the same step with equal arguments; a function of the arguments gives the key
    itself, and None where a call is equal to no other.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        per_worker: int | None = None,
        rate: str | None = None,
        key: Callable[..., Any] | None = None,
        dedup: bool | Callable[..., Any] | None = None,
    ) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= 100 or not name.isprintable():
            raise BadOption(f"a queue's name is a text of 1 to 100 printable characters, not {name!r}")
        if key is not None and not callable(key):
            raise BadOption(f"key={key!r}: it is a function of the step's arguments")
        if dedup is not None and dedup is not True and not callable(dedup):
            raise BadOption(f"dedup={dedup!r}: it is True, or a function of the step's arguments")
        self.name = name
        self.keys = Keys(key, dedup or None)
        self.limits = Limits(_places("concurrency", concurrency), _places("per_worker", per_worker), *_rate(rate))
        _known[name] = self

    def __repr__(self) -> str:
        return f"<queue {self.name!r}>"


_known: dict[str, Queue] = {}


def queues() -> list[Queue]:
    """The queues this process has defined, the newest of each name."""
    return list(_known.values())


def queue_of(name: str) -> Queue | None:
    return _known.get(name)


def _places(name: str, given: Any) -> int | None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise BadOption(f"{name}={given!r}: it is a number of steps, 1 or more")
    return given


def _rate(given: Any) -> tuple[int | None, float | None]:
    if given is None:
        return None, None
    found = _RATE.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise BadOption(f'rate={given!r}: write how many in which time, such as "10/s" or "100/5m"')
    count, period = int(found[1]), seconds(found[2] if found[2][0].isdigit() else f"1{found[2]}")
    if not count or not period:
        raise BadOption(f"rate={given!r}: at least one step must begin some time")
    return count, period
