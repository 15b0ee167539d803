"""What every contender shares: the sizes of the work, the crash, and how a figure is told to the table.

Only the standard library is imported here, because peers run this file in virtual environments of their own.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

RUNS = 500
RUN_STEPS = 3
ONE_STEP_RUNS = 200
LONG_STEPS = 5_000  # one ask and one answer each: 10,000 events
SHORT_STEPS = 3

Measurement = Callable[[Path, str], float]

_reached: list[float] = []


def reached(ordinal: int) -> None:
    """Called by the steps of the crash flows: dies at BENCH_CRASH_AT, else notes when the first step ran."""
    if os.environ.get("BENCH_CRASH_AT") == str(ordinal):
        os.kill(os.getpid(), signal.SIGKILL)
    if not _reached:
        _reached.append(time.perf_counter())


def seconds_to_first_step(since: float) -> float:
    """How long after `since` this process ran its first step of a crash flow."""
    return _reached[0] - since


def rate(count: int, work: Callable[[], object]) -> float:
    """Pieces of work per second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def median_ms(times: int, work: Callable[[], object]) -> float:
    """The median of `times` calls, in milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken) * 1000


def tell(measurements: dict[str, Measurement]) -> None:
    """Run the measurement named on the command line (name, durability, file) and print its figure as JSON."""
    name, durability, path = sys.argv[1:]
    figure = measurements[name](Path(path), durability)
    print(json.dumps({"figure": figure}), flush=True)
    # A contender's threads may outlive the measurement; nothing after the figure is of interest.
    os._exit(0)
