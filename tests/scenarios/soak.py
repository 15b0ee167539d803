"""Several processes on one log, killed at random for a while, each replaced by another: the promises hold.

Kills come from outside at random moments, and from inside right before or after a random commit, where they hurt most.

`python -m tests.scenarios.soak --seconds 60 --processes 3` prints one JSON report and ends with 1 when a promise was
broken. The children are `python -m tests.scenarios.soak --carry LOG COMMIT`; they start what stdin tells them to.

Whether an answered call ran again is decided where it can be known: every body looks into the log as it begins. What is
committed by then is seen, and a process that was killed cannot begin anything.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import count, cycle
from pathlib import Path
from typing import IO, Any

from pysqlite3 import dbapi2 as sqlite

from durable_nb import App, RunParked, connect, current_step, runs
from durable_nb.history.summary import asks
from durable_nb.runtime.options import CRASHES
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores import database
from tests.scenarios import asynchrony, language, shop

_PATIENCE = 180.0  # seconds for whatever must happen sooner or later
_PAUSE = 0.1  # seconds at most between looks at the children
_COMMITS = 80  # a process dies at one of so many first commits, looks of the clock and the like included
_RATE = 20  # runs per second
_UNLUCKY = (
    0.01  # more runs than this share of them are parked for crashes only when attempts count that were never begun
)
_ROOT = Path(__file__).parents[2]
_FLOWS = {**shop.FLOWS, **{made.name: (made, ()) for made in (*language.ALONE, *asynchrony.ALONE)}}
_ANSWERED = """
    select (select count(*) from event join run on run.key = event.run
            where run.uid = ?1 and event.ref = ?2 and event.kind in ('returned', 'raised'))
         + (select count(*) from inbox join run on run.key = inbox.run
            where run.uid = ?1 and inbox.ask = ?2 and inbox.kind in ('returned', 'raised'))
"""
_ENDED = "select count(*) from event where run = run.key and kind in ('completed', 'failed', 'cancelled')"


# the children


def carry(log: str, commit: int) -> None:
    """Carry what is due, and start what stdin says, until it is closed; die at that commit (0: at none)."""
    plain_note = shop.note
    looking = threading.local()

    def note(what: str) -> None:
        if not hasattr(looking, "connection"):
            looking.connection = sqlite.connect(f"file:{log}?mode=ro", uri=True, isolation_level=None)
        uid, _, ask = current_step().idempotency_key.split("/")
        (answers,) = looking.connection.execute(_ANSWERED, (uid, int(ask))).fetchone()
        plain_note(f"{what}\tAGAIN" if answers else what)

    shop.note = note
    moments = count(1)  # two for every commit: right before and right after it

    def point(when: str) -> None:
        if next(moments) == commit:
            os.kill(os.getpid(), signal.SIGKILL)

    database.crash_point = point
    with connect(log, durability="process"):
        print("ready", flush=True)
        for line in sys.stdin:
            start(*line.rstrip("\n").split("\t"))


def start(name: str, id: str) -> None:
    flow, args = _FLOWS[name]
    flow.options(on_conflict="attach")[id].start(*args)


class Child:
    """A process that carries; what it says on stderr is kept in a file."""

    def __init__(self, folder: Path, number: int, commit: int = 0) -> None:
        self.errors = folder / f"stderr-{number}.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.scenarios.soak", "--carry", str(folder / "soak.durable.db"), str(commit)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=_ROOT,
                env={**os.environ, "LEDGER": str(folder / "ledger.txt")},
            )

    def tell(self, name: str, id: str) -> None:
        try:
            self._input.write(f"{name}\t{id}\n".encode())
            self._input.flush()
        except BrokenPipeError:
            pass  # it has just killed itself

    @property
    def is_dead(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> int:
        """Let it end by itself, if it was not killed."""
        try:
            self._input.close()
        except BrokenPipeError:
            pass  # killed with words still in the pipe
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(_PATIENCE)

    @property
    def _input(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin


# the parent


def soak(folder: Path, seconds: float, processes: int, number: int, seed: int) -> dict[str, Any]:
    """Feed `number` runs to so many processes while they are killed, drain, and report what is wrong."""
    chance = random.Random(seed)
    expected = calm(folder)
    (folder / "ledger.txt").touch()
    asked = [(name, f"{name}-{n}") for n, name in zip(range(number), cycle(_FLOWS), strict=False)]
    with connect(folder / "soak.durable.db", carry=False) as app:
        kills = harass(folder, seconds, processes, chance, asked)
        children = [Child(folder, kills + n) for n in range(processes)]
        try:
            for name, id in asked:
                start(name, id)  # what was told to a child that died before it listened
            unlucky = sum(go_on(app, id) for _, id in asked)
            results = {id: outcome(id) for _, id in asked}
        finally:
            codes = [child.close() for child in children]
        report: dict[str, Any] = {"kills": kills, "runs": len(asked), "seed": seed, "repeated": repeated(folder)}
        report["unlucky"] = unlucky
        report["wrong"] = {
            "unlucky": unlucky if unlucky > len(asked) * _UNLUCKY else 0,
            "exit codes": [code for code in codes if code],
            "results": [(id, results[id], expected[name]) for name, id in asked if results[id] != expected[name]],
            "log": wrong_in_log(folder),
            "replay": wrong_in_replay(app, asked),
            "ledger": wrong_in_ledger(folder),
            "stderr": [text for path in folder.glob("stderr-*") for text in wrong_in_errors(path)],
        }
    return report


def calm(folder: Path) -> dict[str, str]:
    """What every flow of the shop comes to when nobody is killed."""
    shop.LEDGER = folder / "calm-ledger.txt"
    shop.LEDGER.touch()
    with connect(folder / "calm.durable.db", durability="process"):
        for name in _FLOWS:
            start(name, name)
        return {name: outcome(name) for name in _FLOWS}


def outcome(id: str) -> str:
    try:
        return repr(runs[id].result(_PATIENCE))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def go_on(app: App, id: str) -> int:
    """Resume a run that was parked because kills have hit one of its steps so often in a row; how often that was right.

    Nobody can tell such a step from one that kills its process. Parked for anything else, or too early, it stays parked.
    """
    resumed = 0
    while True:
        try:
            runs[id].result(_PATIENCE)
        except RunParked:
            found = asks(app.store.history(runs[id].record.key)).values()
            if runs[id].record.reason != "crashes" or max(one.crashes for one in found) < CRASHES:
                return resumed
            runs[id].resume()
            resumed += 1
        except Exception:
            return resumed
        else:
            return resumed


def harass(folder: Path, seconds: float, processes: int, chance: random.Random, asked: list[tuple[str, str]]) -> int:
    """Have processes killed and replaced; the runs are handed out evenly over the time. How many were killed in the end."""
    pace = threading.Event()  # never set: the wait is the load, no assertion hangs on it
    begun = time.monotonic()
    numbers = count()
    children = [Child(folder, next(numbers), chance.randrange(1, _COMMITS)) for _ in range(processes)]
    told = 0
    while (elapsed := time.monotonic() - begun) < seconds:
        share = int(len(asked) * elapsed / seconds)
        for name, id in asked[told:share]:
            chance.choice(children).tell(name, id)
        told = share
        pace.wait(chance.uniform(0, _PAUSE))
        victim = chance.randrange(processes) if chance.random() < 0.1 else None
        for n, child in enumerate(children):
            if n == victim or child.is_dead:
                child.kill()
                children[n] = Child(folder, next(numbers), chance.randrange(1, _COMMITS))
    for child in children:
        child.kill()
    return next(numbers)


# what must not be


def wrong_in_log(folder: Path) -> list[str]:
    connection = sqlite.connect(folder / "soak.durable.db")
    try:
        wrong = [f"{id} has {n} endings" for id, n in connection.execute(f"select id, ({_ENDED}) from run") if n != 1]
        wrong += [text for (text,) in connection.execute("pragma integrity_check") if text != "ok"]
        wrong += [f"foreign key: {row}" for row in connection.execute("pragma foreign_key_check")]
        for table in ("inbox", "work"):
            (left,) = connection.execute(f"select count(*) from {table}").fetchone()
            wrong += [f"{left} rows left in {table}"] if left else []
        gaps = "select run, count(*), max(seq) from event group by run having count(*) <> max(seq)"
        return wrong + [f"run {run} has {n} rows up to {last}" for run, n, last in connection.execute(gaps)]
    finally:
        connection.close()


def wrong_in_replay(app: App, asked: list[tuple[str, str]]) -> list[str]:
    wrong = []
    for name, id in asked:
        record = runs[id].record
        _, found = rehearse(app.store.history(record.key), _FLOWS[name][0], record, app.values)
        wrong += [f"{id}: {found}"] if found is not None else []
    return wrong


def wrong_in_ledger(folder: Path) -> list[str]:
    lines = ledger(folder)
    tries = Counter((key, attempt) for key, attempt, *_ in lines)
    calls: dict[str, set[str]] = {}
    for key, _, what, *_ in lines:
        calls.setdefault(key, set()).add(what)
    wrong = [f"attempt {attempt} of {key} ran {n} times" for (key, attempt), n in tries.items() if n > 1]
    wrong += [f"{key} belongs to {sorted(whats)}" for key, whats in calls.items() if len(whats) > 1]
    return wrong + [f"ran although it was answered: {line}" for line in lines if "AGAIN" in line]


def repeated(folder: Path) -> int:
    """How many calls were made again because a kill had come between; flaky ones do that by themselves."""
    calls = Counter(key for key, _, what, *_ in ledger(folder) if not what.startswith("flaky"))
    return sum(n - 1 for n in calls.values())


def ledger(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "ledger.txt").read_text().splitlines()]


def wrong_in_errors(path: Path) -> list[str]:
    text = path.read_text()
    return [text] if "Traceback" in text or "locked" in text else []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--runs", type=int, default=None, help=f"{_RATE} per second if not given")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--carry", nargs=2, metavar=("LOG", "COMMIT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.carry is not None:
        carry(given.carry[0], int(given.carry[1]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**32)
        number = given.runs or int(given.seconds * _RATE)
        report = soak(Path(folder), given.seconds, given.processes, number, seed)
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return int(any(report["wrong"].values()))


if __name__ == "__main__":
    sys.exit(main())
