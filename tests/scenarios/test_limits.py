"""Limits of queues, rates and sessions hold over processes that are killed all the time."""

import random
from pathlib import Path

import pytest

from tests.scenarios.limits import harass


@pytest.mark.slow
def test_no_limit_is_exceeded_while_processes_are_killed(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    report = harass(tmp_path, seconds=15, runs=60, chance=random.Random(seed))
    assert report["wrong"] == [], f"seed {seed}"
    assert report["kills"] >= 3
