"""Random programs in the whole language, crashed at commits: the end is the same, every turn fits its replay."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from durable_nb import App, Run
from durable_nb.client import ENDED
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores import database
from tests.scenarios.everywhere import Drive, ended, everywhere, kinds
from tests.scenarios.talk import FLOWS, asynchronous, plain, programs

_FOLDER = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # simulated crashes need no disk
calm = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

# Signals: after how many turns, into which mailbox.
letters = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=4)
places = st.sets(st.integers(1, 60), min_size=2, max_size=3)

EVERYTHING: list[Any] = [
    [
        ["echo", 1],
        ["try", [["gather", ["slow", "echo", "fail"], False]]],
        ["hear", "a"],
        ["spawn", ["child", "fail", "echo"], [["race", "child", False]]],
        ["children", [[["echo", 1]], [["sleep", 2]]]],
        ["keep", "x"],
    ],
    [["hear_any"], ["both", [["sleep", 1], ["echo", 5]], [["echo", 6], ["fail"]]], ["free", 7], ["map", 3, 2]],
    [["keep", "x"], ["race", "slow", True], ["hear", "b"], ["try", [["child", [["fail"]]]]]],
]


def telling(flow: Any, program: Any, signals: list[tuple[int, str]], is_cancelled: bool) -> Drive:
    """A drive: start, signals at their turns, a cancel once nothing more can happen without time, then the end."""

    def drive(app: App) -> Any:
        run = flow.options(on_conflict="attach")["r"].start(program, [])  # a second life looks at what failed
        for number, (turns, mailbox) in enumerate(signals):
            go_on(app, run, turns)
            if run.status not in ENDED:
                run.signal(mailbox, number, key=str(number))
        go_on(app, run, None)
        if is_cancelled and run.status not in ENDED and "cancelling" not in kinds():
            run.cancel("enough")
        go_on(app, run, None)
        return ended(app)

    return drive


def go_on(app: App, run: Run, turns: int | None) -> None:
    """So many turns, or all that are due; after each the history is replayed."""
    while turns is None or turns > 0:
        if not app.turn():
            return
        turns = None if turns is None else turns - 1
        replayed(app, run)


def replayed(app: App, run: Run) -> None:
    """The code fits the present execution; nothing crashes meanwhile."""
    record = run.record
    point, database.crash_point = database.crash_point, None
    try:
        flow = next(flow for flow in FLOWS if flow.name == record.flow)
        _, wrong = rehearse(app.store.history(record.key, record.base), flow, record, app.values)
    finally:
        database.crash_point = point
    assert wrong is None, wrong


def crashed(drive: Drive, flow: Any, at: set[int] | None = None) -> Any:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        return everywhere(flow, drive, Path(folder), at=at)


@settings(calm, max_examples=8)
@given(st.sampled_from(FLOWS), programs(4), letters, st.booleans(), places)
def test_program_ends_the_same_after_some_crashes(
    flow: Any, program: Any, signals: Any, is_cancelled: bool, at: set[int]
) -> None:
    crashed(telling(flow, program, signals, is_cancelled), flow, at)


@pytest.mark.parametrize("flow", [plain, asynchronous])
def test_program_of_every_verb_ends_as_expected(flow: Any) -> None:
    lived = crashed(telling(flow, EVERYTHING, [(1, "b"), (2, "a"), (0, "b")], False), flow, {7, 23, 41, 58})
    assert lived.result[:2] == [1, "caught ValueError"]
    assert lived.result[2] == 1
    assert lived.crashes > 100


@pytest.mark.slow
@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("flow", [plain, asynchronous])
def test_program_of_every_verb_ends_the_same_after_a_crash_at_every_commit(flow: Any, is_cancelled: bool) -> None:
    crashed(telling(flow, EVERYTHING, [(1, "b"), (2, "a"), (0, "b")], is_cancelled), flow)


@pytest.mark.slow
@settings(calm, max_examples=15)
@given(st.sampled_from(FLOWS), programs(5), letters, st.booleans(), places)
def test_larger_program_ends_the_same_after_some_crashes(
    flow: Any, program: Any, signals: Any, is_cancelled: bool, at: set[int]
) -> None:
    crashed(telling(flow, program, signals, is_cancelled), flow, at)
