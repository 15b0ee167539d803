"""Random programs, crashed at every commit: the end is the same, and what was logged is not done again."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from pysqlite3 import dbapi2 as sqlite

from durable_nb import App, LogError, Run, connect, runs
from durable_nb.client import ENDED
from durable_nb.engine.turn import Raised, Returned
from durable_nb.runtime.options import CRASHES
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores import database
from durable_nb.testing import CrashPoint, FakeClock, SimulatedCrash
from tests.scenarios.programs import ALWAYS, LEDGER, interpret, programs

Crash = tuple[int, str]
WHENS = ("before commit", "after commit")
_FOLDER = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # simulated crashes need no disk
_ANSWERED = """
    select run.uid, event.ref from event join run on run.key = event.run where event.kind in ('returned', 'raised')
    union
    select run.uid, inbox.ask from inbox join run on run.key = inbox.run where inbox.kind in ('returned', 'raised')
"""
calm = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])


class End(NamedTuple):
    """What a run came to: its value, or the type and message of its failure."""

    status: str
    result: Any


class Log:
    """One log file, lived through by one process after another with the same clock."""

    def __init__(self, folder: str, name: str) -> None:
        LEDGER.clear()
        self.path = Path(folder) / f"{name}.durable.db"
        self.clock = FakeClock()
        self.lengths: set[int] = set()  # of the history, after each commit
        self.end: End | None = None

    def live(self, program: list[Any], crash: Crash | None) -> bool:
        """Carry the program until it ends or the process dies at that commit; True when it died."""
        app: App | None = None
        with self._crashing(*(crash or (None, WHENS[0]))) as point:
            try:
                app = connect(self.path, carriers=0, clock=self.clock, durability="process")
                run = interpret["r"].start(program) if app.store.run("r") is None else runs["r"]
                self.end = carried(app, run, self.clock)
                app.close()
            except (SimulatedCrash, LogError):
                if not point.is_dead:
                    raise
                if app is not None:
                    app.abandon()
        return point.is_dead

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite.connect(self.path)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def answered(self) -> set[str]:
        """The idempotency keys whose outcome is in the log, admitted or in the inbox."""
        return {f"{uid}/1/{ask}" for uid, ask in self.read(_ANSWERED)}

    @contextmanager
    def _crashing(self, commit: int | None, when: str) -> Iterator[CrashPoint]:
        """As durable_nb.testing.crash_at, and the length of the history after every commit is taken down."""
        point = CrashPoint(commit, when)

        def watched(now: str) -> None:
            try:
                point(now)
            finally:
                if now == WHENS[1]:
                    self.lengths.update(length for (length,) in self.read("select count(*) from event"))

        database.crash_point = watched
        try:
            yield point
        finally:
            database.crash_point = None


def carried(app: App, run: Run, clock: FakeClock) -> End:
    """As durable_nb.testing.run_to_end, and the history is replayed after every turn."""
    while run.status not in ENDED:
        while app.turn():
            replayed(app, run)
        assert run.status not in ("parked", "paused"), run.why()
        due = app.next_due()
        assert run.status in ENDED or due is not None, run.why()
        clock.jump_to(max(due or 0, clock.now()))
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
    """What the flow makes of its history, or of its beginning; they must fit. Nothing crashes meanwhile."""
    record = run.record
    rows = app.store.history(record.key)[:length]
    point, database.crash_point = database.crash_point, None
    outcome, wrong = rehearse(rows, interpret, record, app.values)
    database.crash_point = point
    assert wrong is None, (wrong, rows)
    return outcome


def uninterrupted(folder: str, program: list[Any]) -> tuple[End, Counter[int]]:
    """How the program ends without a crash, and how often each call was made. Every state of the log replays."""
    log = Log(folder, "uninterrupted")
    assert not log.live(program, None)
    assert log.end is not None
    with connect(log.path, carry=False) as app:
        for length in sorted(log.lengths - {0}):
            replayed(app, runs["r"], length)
    check_ledger()
    return log.end, Counter(label for _, _, label in LEDGER)


def check_crashes(folder: str, program: list[Any], crashes: list[Crash], end: End, calls: Counter[int]) -> int:
    """The same program, crashing once in each of its first lives; how many of the crashes came to pass."""
    log = Log(folder, "-".join(f"{number}{when[0]}" for number, when in crashes))
    known: set[str] = set()
    before: Counter[str] = Counter()
    count = 0
    while log.end is None:
        count += log.live(program, crashes[count] if count < len(crashes) else None)
        executed = Counter(key for key, _, _ in LEDGER)
        assert {key for key in known if executed[key] != before[key]} == set(), "an answered call was made again"
        known, before = log.answered(), executed
    assert log.end == end
    check_ledger()
    executions = Counter(label for _, _, label in LEDGER if label > 0)
    assert set(executions) == {label for label in calls if label > 0}
    assert all(executions[label] <= calls[label] + count for label in executions)
    log.path.unlink()
    return count


def check_ledger() -> None:
    """A call has one key, a key is of one call, and no attempt was made twice."""
    pairs = {(key, label) for key, _, label in LEDGER}
    assert len(pairs) == len({key for key, _ in pairs}) == len({label for _, label in pairs})
    tries = Counter((key, attempt) for key, attempt, _ in LEDGER)
    assert max(tries.values(), default=1) == 1


def crash_everywhere(program: list[Any]) -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        end, calls = uninterrupted(folder, program)
        for when in WHENS:
            number = 1
            while check_crashes(folder, program, [(number, when)], end, calls):
                number += 1


def crash_often(program: list[Any], crashes: list[Crash]) -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        end, calls = uninterrupted(folder, program)
        check_crashes(folder, program, crashes, end, calls)


# Fewer in a row than park a run.
sequences = st.lists(st.tuples(st.integers(1, 25), st.sampled_from(WHENS)), min_size=2, max_size=CRASHES - 1)

EVERYTHING = [
    ["echo", 3],
    ["loop", 2, [["flaky", 1], ["chance"]]],
    ["try", [["saga", [[["echo", 5]], [["sleep", 1], ["fail"]]]]]],
    ["timers", [3, 1, 2], [2, 0]],
    ["spawn", ["echo", "fail", "flaky", "late", "bounded"], [3, 1, 0, 2], [["bounded", 1], ["late", 2]]],
    ["branch", 1, [["nest", 2, [["echo", 11]]]], [["raise"]]],
    ["try", [["flaky", ALWAYS]]],
]


@pytest.mark.slow
@settings(calm, max_examples=5)
@given(programs(4))
@example([["echo", 11], ["spawn", ["flaky", "late"], [1, 0], []]])
def test_small_program_ends_the_same_after_a_crash_at_every_commit(program: list[Any]) -> None:
    crash_everywhere(program)


@settings(calm, max_examples=8)
@given(programs(12), sequences)
def test_larger_program_ends_the_same_after_several_crashes(program: list[Any], crashes: list[Crash]) -> None:
    crash_often(program, crashes)


@pytest.mark.slow
def test_program_of_every_verb_ends_the_same_after_a_crash_at_every_commit() -> None:
    crash_everywhere(EVERYTHING)


@pytest.mark.slow
@settings(calm, max_examples=12)
@given(programs(7))
def test_program_ends_the_same_after_a_crash_at_every_commit(program: list[Any]) -> None:
    crash_everywhere(program)


@pytest.mark.slow
@settings(calm, max_examples=150)
@given(programs(25), sequences)
def test_large_program_ends_the_same_after_several_crashes(program: list[Any], crashes: list[Crash]) -> None:
    crash_often(program, crashes)
