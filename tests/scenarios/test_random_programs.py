"""Random programs, crashed at every commit: the end is the same, and what was logged is not done again."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from pysqlite3 import dbapi2 as sqlite

from durable_nb import App, LogError, Run, RunParked, connect, runs
from durable_nb.client import ENDED
from durable_nb.engine.turn import Raised, Returned
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores import database
from durable_nb.testing import CrashPoint, FakeClock, SimulatedCrash
from tests.scenarios.programs import LEDGER, interpret, programs

WHENS = ("before commit", "after commit")
_CALM = settings(
    deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class End(NamedTuple):
    """What a run came to: its value, or the type and message of its failure."""

    status: str
    result: Any


class Log:
    """One log file, lived through by one process after another with the same clock."""

    def __init__(self, folder: str, name: str) -> None:
        self.path = Path(folder) / f"{name}.durable.db"
        self.clock = FakeClock()
        self.lengths: list[int] = []  # of the history, after each commit
        self.end: End | None = None

    def live(self, program: list[Any], commit: int | None = None, when: str = WHENS[0]) -> bool:
        """Carry the program until it ends or the process dies at that commit; True when it died."""
        app: App | None = None
        with crashing(self, commit, when) as point:
            try:
                app = connect(self.path, carriers=0, clock=self.clock, durability="process")
                run = interpret["r"].start(program) if app.store.run("r") is None else runs["r"]
                self.end = carried(app, run, self.clock)
            except (SimulatedCrash, LogError):
                if not point.is_dead:
                    raise
        if app is not None:
            app.abandon() if point.is_dead else app.close()
        return point.is_dead

    def answered(self) -> set[str]:
        """The idempotency keys whose outcome is in the log, admitted or in the inbox."""
        connection = sqlite.connect(self.path)
        try:
            found = connection.execute(
                "select run.uid, event.ref from event join run on run.key = event.run "
                "where event.kind in ('returned', 'raised') union "
                "select run.uid, inbox.ask from inbox join run on run.key = inbox.run "
                "where inbox.kind in ('returned', 'raised')"
            ).fetchall()
        finally:
            connection.close()
        return {f"{uid}/1/{ask}" for uid, ask in found}


@contextmanager
def crashing(log: Log, commit: int | None, when: str) -> Iterator[CrashPoint]:
    """As durable_nb.testing.crash_at, and the length of the history after every commit is taken down."""
    point = CrashPoint(commit, when)
    looking: Any = None

    def watched(now: str) -> None:
        nonlocal looking
        point(now)
        if now == WHENS[1]:
            looking = looking or sqlite.connect(log.path)
            log.lengths.append(looking.execute("select coalesce(max(seq), 0) from event").fetchone()[0])

    database.crash_point = watched
    try:
        yield point
    finally:
        database.crash_point = None
        if looking is not None:
            looking.close()


def carried(app: App, run: Run, clock: FakeClock) -> End:
    """As durable_nb.testing.run_to_end, and the history is replayed after every turn."""
    while True:
        while app.turn():
            replayed(app, run)
        if run.status in ENDED:
            break
        assert run.status not in ("parked", "paused"), run.why()
        due = app.store.next_due()
        assert due is not None, run.why()
        clock.jump_to(max(due, clock.now()))
    outcome = replayed(app, run)
    try:
        end = End("completed", run.result())
        assert isinstance(outcome, Returned)
        assert outcome.value == end.result
    except (ValueError, KeyError, ConnectionError) as error:
        end = End("failed", (type(error).__name__, str(error)))
        assert isinstance(outcome, Raised)
        assert (type(outcome.error).__name__, str(outcome.error)) == end.result
    return end


def replayed(app: App, run: Run, length: int | None = None) -> Any:
    """What the flow makes of its history, or of its beginning; the two must fit."""
    record = run.record
    rows = app.store.history(record.key)[:length]
    outcome, wrong = rehearse(rows, interpret, record.id, record.uid, app.values)
    assert wrong is None, (wrong, rows)
    return outcome


def plain(folder: str, program: list[Any]) -> tuple[Log, Counter[int]]:
    """The program without a crash, and how often each call was made."""
    LEDGER.clear()
    log = Log(folder, "plain")
    assert not log.live(program)
    check_ledger()
    with connect(log.path, carry=False) as app:
        for length in sorted(set(log.lengths) - {0}):
            replayed(app, runs["r"], length)
    return log, Counter(label for _, _, label in LEDGER)


def crashed(folder: str, program: list[Any], crashes: list[tuple[int, str]], expected: Log, calls: Counter[int]) -> int:
    """The program with those crashes, one life after another; the number of crashes that came to pass."""
    LEDGER.clear()
    log = Log(folder, "-".join(f"{number}{when[0]}" for number, when in crashes))
    count = 0
    while log.end is None:
        number, when = crashes[count] if count < len(crashes) else (None, WHENS[0])
        if log.live(program, number, when):
            count += 1
        check_life(log)
        known = log.answered()
        before = executions(known)
        log.known, log.before = known, before
    check_ledger()
    assert log.end == expected.end
    assert_same_calls(calls, count)
    return count


def executions(keys: set[str]) -> Counter[str]:
    return Counter(key for key, _, _ in LEDGER if key in keys)
