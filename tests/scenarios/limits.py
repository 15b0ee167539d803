"""Queues, rates, keys and sessions with several processes on one log that are killed at random: no limit is ever exceeded.

Every body writes to a ledger when it begins and when it ends. A body whose process was killed ran until that moment at
least. The children are `python -m tests.scenarios.limits LOG`, and they carry until stdin is closed.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pysqlite3 import dbapi2 as sqlite

from durable_nb import AlreadyQueued, Queue, connect, flow, gather, step

PLACES, OWN, RATE, WINDOW, KEYS = 3, 2, 20, 0.5, 5
_ROOT = Path(__file__).parents[2]
_PATIENCE = 120.0
_BEGUN = """
    select attempt.at from event as attempt join event as asked on asked.run = attempt.run and asked.seq = attempt.ref
    where attempt.kind = 'attempt' and json_extract(cast(asked.data as text), '$.queue') = 'api' order by attempt.at
"""

ledger: Path


def _note(*what: object) -> None:
    with ledger.open("a") as file:
        file.write("\t".join(map(str, (time.monotonic(), os.getpid(), *what))) + "\n")


def _body(kind: str, number: int) -> int:
    _note(kind, "begin", number)
    threading.Event().wait(random.uniform(0, 0.02))  # the work; no assertion hangs on how long it takes
    _note(kind, "end", number)
    return number


@step(name="limits.render", queue=Queue("gpu", concurrency=PLACES, per_worker=OWN, key=lambda number: number % 5))
def render(number: int) -> int:
    return _body("gpu", number)


@step(name="limits.call", queue=Queue("api", rate=f"{RATE}/{WINDOW}s"))
def call(number: int) -> int:
    return _body("api", number)


@step(name="limits.talk", session="talk")
def talk(number: int) -> int:
    return _body("talk", number)


@step(name="limits.refresh", queue=Queue("index", dedup=lambda number: number % KEYS))
def refresh(number: int) -> int:
    return _body(f"index {number % KEYS}", number)


@flow(name="limits.film")
def film(number: int) -> int:
    own = range(4 * number, 4 * number + 4)
    many = gather([*(render.spawn(n) for n in own), *(call.spawn(n) for n in own)])
    again = gather(*(refresh.spawn(n) for n in own), return_exceptions=True).result()
    if any(isinstance(one, BaseException) and not isinstance(one, AlreadyQueued) for one in again):
        raise AssertionError(again)
    return talk(number) + sum(many.result())


def carry(log: str) -> None:
    with connect(log, durability="process", carriers=2, workers=6):
        sys.stdin.read()


class Span(NamedTuple):
    """One body: who ran it, from when to when."""

    pid: int
    begin: float
    end: float


class Child:
    """A process that carries."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "tests.scenarios.limits", str(log)]
        self.process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, text=True)

    def kill(self) -> tuple[int, float]:
        """Its number, and until when its bodies ran at least."""
        at = time.monotonic()
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        return self.process.pid, at

    def close(self) -> int:
        self.process.communicate("", 60)
        return self.process.returncode


def harass(folder: Path, seconds: float, runs: int, chance: random.Random) -> dict[str, Any]:
    """Three processes, one of them killed again and again; what was wrong, and how much was done."""
    global ledger
    log, ledger = folder / "limits.durable.db", folder / "ledger.txt"
    pace = threading.Event()  # never set: the wait is the load
    killed: dict[int, float] = {}
    with connect(log, durability="process", carry=False):
        begun = [film[f"film-{number}"].start(number) for number in range(runs)]
        children = [Child(log) for _ in range(3)]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pace.wait(chance.uniform(0.2, 1.2))
            victim = chance.randrange(3)
            pid, at = children[victim].kill()
            killed[pid] = at
            children[victim] = Child(log)
        results = [run.result(_PATIENCE) for run in begun]
        codes = [child.close() for child in children]
    spans = _spans(killed)
    wrong = [f"run {number} gave {found}" for number, found in enumerate(results) if found != 33 * number + 12]
    wrong += [f"exit code {code}" for code in codes if code]
    wrong += _crowded("everywhere", spans["gpu"], PLACES)
    refreshed = [_crowded(f"of {kind}", found, 1) for kind, found in spans.items() if kind.startswith("index")]
    wrong += [each for found in refreshed for each in found] if len(refreshed) == KEYS else ["keys are missing"]
    for pid in {span.pid for span in spans["gpu"]}:
        wrong += _crowded(f"in process {pid}", [span for span in spans["gpu"] if span.pid == pid], OWN)
    return {"wrong": [*wrong, *_too_fast(log), *_strayed(spans["talk"], killed)], "kills": len(killed)}


def _spans(killed: dict[int, float]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    open_ones: dict[tuple[str, ...], float] = {}
    for line in ledger.read_text().splitlines():
        at, pid, kind, what, number = line.split("\t")
        if what == "begin":
            open_ones[pid, kind, number] = float(at)
        else:
            found[kind].append(Span(int(pid), open_ones.pop((pid, kind, number)), float(at)))
    for (pid, kind, _), began in open_ones.items():
        found[kind].append(Span(int(pid), began, max(began, killed[int(pid)])))
    return found


def _crowded(where: str, spans: list[Span], most: int) -> list[str]:
    moments = sorted([(span.begin, 1) for span in spans] + [(span.end, -1) for span in spans])
    running = highest = 0
    for _, change in moments:
        running += change
        highest = max(highest, running)
    return [f"{highest} bodies at once {where}, {most} may be"] if highest > most else []


def _too_fast(log: Path) -> list[str]:
    connection = sqlite.connect(f"file:{log}?mode=ro", uri=True)
    times = [at for (at,) in connection.execute(_BEGUN)]
    connection.close()
    found = [b - a for a, b in zip(times, times[RATE:], strict=False) if b < a + WINDOW]
    wrong = [] if len(times) > RATE else [f"only {len(times)} attempts with a rate"]
    return wrong + [f"{RATE + 1} attempts began within {span} s" for span in found]


def _strayed(spans: list[Span], killed: dict[int, float]) -> list[str]:
    """A session leaves a process only when that was killed; in this order, for ever."""
    order = sorted(spans, key=lambda span: span.begin)
    return [
        f"the session went from {a.pid} to {b.pid}"
        for a, b in pairwise(order)
        if a.pid != b.pid and not (a.pid in killed and killed[a.pid] <= b.begin)
    ]


if __name__ == "__main__":
    ledger = Path(sys.argv[1]).with_name("ledger.txt")
    carry(sys.argv[1])
