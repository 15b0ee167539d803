"""Every flow of the shop, killed before and after every commit and between asks: the promises hold, each time."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.shop import FLOWS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Any] = {}

    def report(name: str) -> Any:
        if name not in made:
            folder = tmp_path_factory.mktemp("crash")
            done = subprocess.run(
                [sys.executable, "-m", "tests.scenarios.crashes", name, str(folder)],
                capture_output=True,
                text=True,
                check=False,
                cwd=Path(__file__).parents[2],
            )
            assert done.returncode == 0, done.stderr + done.stdout
            made[name] = json.loads(done.stdout)
        return made[name]

    return report


@pytest.mark.parametrize("name", FLOWS)
def test_result_after_every_kill_is_the_uninterrupted_one(name: str, reports: Any) -> None:
    report = reports(name)
    assert len(report["cases"]) >= 6  # start, and end at least, before and after
    wrong = [case for case in report["cases"] if case["result"] != report["plain"]["result"]]
    assert wrong == []


@pytest.mark.parametrize("name", FLOWS)
def test_nothing_whose_outcome_is_logged_runs_again(name: str, reports: Any) -> None:
    for case in reports(name)["cases"]:
        known = set(case["first"]["answered"])
        before = Counter(key for key, _, _ in case["first"]["ledger"])
        after = Counter(key for key, _, _ in case["second"]["ledger"])
        again = {key for key in known if after[key] != before[key]}
        assert again == set(), case


@pytest.mark.parametrize("name", FLOWS)
def test_every_attempt_runs_once_and_repeats_have_the_same_key(name: str, reports: Any) -> None:
    plain = reports(name)["plain"]["second"]["ledger"]
    expected = Counter(what for _, _, what in plain)
    for case in reports(name)["cases"]:
        lines = case["second"]["ledger"]
        tries = Counter((key, attempt) for key, attempt, _ in lines)
        assert max(tries.values(), default=1) == 1, case
        # One kill repeats at most the calls that were open then; every other call happens as often as without it.
        calls = {(key, what) for key, _, what in lines}
        first_keys = {key.split("/")[0] for key, _, _ in case["first"]["ledger"]}
        assert len(first_keys | {key.split("/")[0] for key, _ in calls}) <= 2  # a start that was lost begins anew
        if len({key.split("/")[0] for key, _ in calls}) == 1:
            done = {what for _, what in calls}
            never_awaited = {"bounded 1"} if name == "forgetful" else set()  # may run or not, before the flow has ended
            assert done | never_awaited == set(expected) | never_awaited, case
