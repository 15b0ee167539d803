"""What every contender shares: the sizes of the work, the crash, and how a figure is told to the table.

Only the standard library is imported here, because peers run this file in virtual environments of their own.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

_SCALE = float(os.environ.get("BENCH_SCALE", "1"))  # less than 1 only shows that everything works


def scaled(size: int) -> int:
    return max(2, int(size * _SCALE))


RUNS = scaled(500)
RUN_STEPS = 3
ONE_STEP_RUNS = scaled(200)
LONG_STEPS = scaled(5_000)  # one ask and one answer each: 10,000 events
HUGE_STEPS = scaled(50_000)
SHORT_STEPS = 3
FAN_OUT = scaled(1_000)
SIGNALS = scaled(50)
WAITING = scaled(10_000)
BRANCHES = scaled(100)
BRANCH_STEPS = 20
CELLS = scaled(200)
MANY_CELLS = scaled(1_000)
FRAME_ROWS = scaled(1_000_000)  # of 80 bytes each
DIGEST_ROWS = scaled(12_500_000)
PAGED = scaled(100_000)
PAGE = min(100, PAGED)

Measurement = Callable[[Path, str], float]

_reached: list[float] = []
_passed: list[float] = []
_news: list[int] = []  # where went_on() writes


def reached(ordinal: int) -> None:
    """Called by the steps of the crash flows: dies at BENCH_CRASH_AT, else notes when the first step ran."""
    if os.environ.get("BENCH_CRASH_AT") == str(ordinal):
        os.kill(os.getpid(), signal.SIGKILL)
    if not _reached:
        _reached.append(time.perf_counter())


def seconds_to_first_step(since: float) -> float:
    """How long after `since` this process ran its first step of a crash flow."""
    return _reached[0] - since


def passed() -> None:
    """Called by each step of a run whose cost per step is of interest."""
    _passed.append(time.perf_counter())


def growth() -> float:
    """How many times as long the last tenth of those steps took as the first."""
    tenth = len(_passed) // 10
    return (_passed[-1] - _passed[-1 - tenth]) / (_passed[tenth] - _passed[0])


def went_on() -> None:
    """Called by the code that waited for a signal; another process reads it from its standard output."""
    os.write(_news[0] if _news else 1, b".")


def news_of_this_process() -> int:
    """Where to read that went_on() was called in this process."""
    reader, writer = os.pipe()
    _news.append(writer)
    return reader


def signal_ms(numbers: Iterable[int], send: Callable[[int], object], news: int) -> float:
    """The median from sending a signal to the news that the code went on, in milliseconds."""
    taken = []
    for number in numbers:
        began = time.perf_counter()
        send(number)
        assert os.read(news, 1) == b"."
        taken.append(time.perf_counter() - began)
    return median(taken) * 1000


@contextmanager
def carrying(module: str, path: Path, durability: str) -> Iterator[int]:
    """Another process that runs `carry_waiting` of the module; what its code says is read from what is given."""
    code = f"import sys, pathlib, {module} as module; module.carry_waiting(pathlib.Path(sys.argv[1]), sys.argv[2])"
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", code, str(path), durability], stdin=pipe, stdout=pipe)
    try:
        assert child.stdout is not None
        news = child.stdout.fileno()
        assert os.read(news, 1) == b".", "it did not get ready"
        yield news
    finally:
        child.kill()
        child.wait()


def stay() -> None:
    """In that process: everything waits; be there until it is killed."""
    went_on()
    sys.stdin.read()
    os._exit(0)


def until(is_so: Callable[[], bool]) -> None:
    """Look again and again, seldom enough not to be in the way."""
    while not is_so():
        time.sleep(0.02)


def resident_mb() -> float:
    """The memory of this process."""
    gc.collect()
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], check=True, capture_output=True, text=True)
    return int(told.stdout) / 1024


def grown_mb(work: Callable[[], object]) -> float:
    """By how much the work made this process larger."""
    before = resident_mb()
    work()
    return max(0.1, resident_mb() - before)


def rate(count: float, work: Callable[[], object]) -> float:
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
