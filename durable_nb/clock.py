"""Where the time comes from: the host's clock, or a test's."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, and how long a wait for `seconds` may really last."""

    def now(self) -> float: ...

    def real_wait(self, seconds: float) -> float: ...


class SystemClock:
    """The host's wall clock."""

    def now(self) -> float:
        return time.time()

    def real_wait(self, seconds: float) -> float:
        return seconds
