"""Processes that share a log and die all the time: every run ends once, with the right result."""

import random
from pathlib import Path

import pytest

from tests.scenarios.soak import soak

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("processes", [2, 3])
def test_runs_end_once_and_right_while_their_processes_are_killed(processes: int, tmp_path: Path) -> None:
    report = soak(
        tmp_path,
        seconds=60 if processes == 2 else 20,
        processes=processes,
        number=200,
        seed=random.SystemRandom().randrange(2**32),
    )
    assert not any(report["wrong"].values()), report
    assert report["kills"] >= 3
