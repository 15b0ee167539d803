"""How an app runs things: the options of connect(), checked."""

from dataclasses import dataclass, field

from durable_nb.clock import Clock, SystemClock
from durable_nb.errors import BadOption

PATIENCE = 0.05  # seconds a thread waits in place before its run gives the thread back
CRASHES = 5  # attempts in a row that were never heard of again, until a run is parked
GRACE = 600.0  # seconds a flow that is being cancelled may clean up
LONG = 10_000  # events after which a history is warned of
FLUSH = 0.002  # seconds a finished step's answer may wait for the next ask to ride with


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Bounds on threads, and where time comes from. Without carriers nothing runs in the background."""

    carriers: int = 4
    workers: int = 32
    clock: Clock = field(default_factory=SystemClock)
    tags: tuple[str, ...] = ()  # whose steps this process takes beside those without a tag
    is_held: bool = False  # nothing that is due is claimed before somebody says so (a notebook defines its code first)

    def __post_init__(self) -> None:
        for name in ("carriers", "workers"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise BadOption(f"{name}={value!r}: give a number of threads, 0 for none")
