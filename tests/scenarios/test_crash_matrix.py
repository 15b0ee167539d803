"""Every flow of the matrix, killed before and after every commit and between asks: the promises hold, each time."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.crashes import FLOWS

pytestmark = pytest.mark.slow
AT_ONCE = 8  # flows per process: importing takes as long as some of them


def params(item: Any) -> dict[str, Any]:
    """Of a test of this module; of others nothing."""
    return item.callspec.params if item.path == Path(__file__) and hasattr(item, "callspec") else {}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    made: dict[str, Any] = {}
    asked = [params(item)["name"] for item in request.session.items if "name" in params(item)]
    names = list(dict.fromkeys(asked))

    def report(name: str) -> Any:
        if name not in made:
            first = names.index(name) // AT_ONCE * AT_ONCE
            done = subprocess.run(
                [
                    sys.executable, "-m", "tests.scenarios.crashes",
                    str(tmp_path_factory.mktemp("crash")), *names[first : first + AT_ONCE],
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd=Path(__file__).parents[2],
            )  # fmt: skip
            assert done.returncode == 0, done.stderr + done.stdout
            made.update({each["flow"]: each for each in map(json.loads, done.stdout.splitlines())})
        return made[name]

    return report


def test_the_matrix_is_large() -> None:
    assert len(FLOWS) == len(set(FLOWS)) >= 60


@pytest.mark.parametrize("name", FLOWS)
def test_result_after_every_kill_is_the_uninterrupted_one(name: str, reports: Any) -> None:
    report = reports(name)
    assert len(report["cases"]) >= 6  # start, and end at least, before and after
    wrong = [case for case in report["cases"] if case["result"] != report["plain"]["result"]]
    assert wrong == []
    assert "TimeoutError" not in report["plain"]["result"]


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
    expected = calls(reports(name)["plain"]["second"]["ledger"], name)
    for case in reports(name)["cases"]:
        lines = case["second"]["ledger"]
        tries = Counter((key, attempt) for key, attempt, _ in lines)
        assert max(tries.values(), default=1) == 1, case
        # One kill repeats at most the calls that were open then; every other call happens as often as without it.
        assert calls(lines, name) == expected, case


def calls(lines: list[list[str]], name: str) -> Counter[str]:
    """What was done, each call once however many attempts it took; without what may or may not be begun."""
    by_key = {(key, what) for key, _, what in lines}
    assert len(by_key) == len({key for key, _ in by_key})
    done = Counter(what for _, what in by_key if not what.startswith("perhaps "))
    if name == "forgetful":
        del done["bounded 1"]  # never awaited: it runs or not, before the flow has ended
    return done
