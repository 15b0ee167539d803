"""Fresh or stale, and the sentence that says why."""

from typing import Any

import pytest

from durable_nb.notebook.cells.inputs import Input
from durable_nb.notebook.cells.verdict import POLICIES, Fresh, Reading, Stale, judge, remarks
from tests.notebook.cells.samples import Session


def data(digest: str | None, *used_by: str, reason: str = "") -> Input:
    return Input("data", digest, reason, used_by)


ONE = Reading("c1", {"raw": data("x3:1"), "K": data("x3:2", "f")})


def test_the_same_code_and_inputs_are_fresh() -> None:
    assert judge([ONE], "c1", ONE.inputs) == Fresh(0, "the same code and inputs")


STALE: dict[str, tuple[dict[str, Any], str]] = {
    "input": ({"raw": data("x3:9")}, "`raw` changed"),
    "used": ({"K": data("x3:9", "f")}, "`K` (used by `f`) changed"),
    "both": ({"raw": data("x3:9"), "K": data("x3:9", "f", "g")}, "`raw` and `K` (used by `f`, `g`) changed"),
    "not comparable": ({"raw": data(None, reason="it is a generator")}, "`raw` cannot be compared: it is a generator"),
    "gone": ({"raw": Input("absent", "absent")}, "`raw` is gone"),
    "new": ({"more": data("x3:3")}, "`more` was not read before"),
    "other hash": ({"raw": data("b2:1")}, "`raw` cannot be compared: the log was written without the package xxhash"),
    "two reasons": (
        {"raw": data("x3:9"), "K": data(None, "f", reason="it is a lock")},
        "`raw` changed; `K` (used by `f`) cannot be compared: it is a lock",
    ),
}


@pytest.mark.parametrize("case", STALE)
def test_sentences(case: str) -> None:
    now, sentence = STALE[case]
    assert judge([ONE], "c1", {**ONE.inputs, **now}) == Stale(sentence)


def test_more_sentences() -> None:
    assert judge([], "c1", {}) == Stale("it has not run before")
    assert judge([ONE], "c2", ONE.inputs) == Stale("the code changed")
    assert judge([ONE], "c1", {"raw": data("x3:1")}) == Stale("`K` (used by `f`) is read no more")
    absent = Reading("c", {"a": Input("absent", "absent")})
    assert judge([absent], "c", {"a": data("x3:1")}) == Stale("`a` was not there before")
    unknown = Reading("c", {"a": data(None, reason="it is a lock")})
    assert judge([unknown], "c", {"a": data("x3:1")}) == Stale("`a` could not be compared: it is a lock")
    module = Reading("c", {"module utils": Input("module", "1", used_by=("f",))})
    now = {"module utils": Input("module", "2", used_by=("f",))}
    assert judge([module], "c", now) == Stale("the module `utils` (used by `f`) changed")
    many = Reading("c", {name: data("x3:1") for name in "abcdef"})
    assert judge([many], "c", {name: data("x3:2") for name in "abcdef"}) == Stale("`a`, `b` and 4 more changed")


def test_inputs_that_were_none_do_not_count() -> None:
    reading = Reading("c", {"t": Input("absent", "absent")}, without=("t", "i"))
    assert judge([reading], "c", {"t": data("x3:1"), "i": data("x3:2")}) == Fresh(0, "the same code and inputs")


def test_an_edit_that_is_taken_back_finds_the_outcome_from_before_it() -> None:
    outcomes = [Reading("c2", {}), Reading("c1", {"raw": data("x3:5")}), ONE]
    assert judge(outcomes, "c1", ONE.inputs) == Fresh(2, "the same code and inputs as before the last change")
    assert judge(outcomes, "c1", {"raw": data("x3:6")}) == Stale("`raw` changed")
    assert judge([Reading("c2", {})] * 20 + [ONE], "c1", ONE.inputs) == Stale("the code changed")


def test_policies() -> None:
    changed = {"raw": data("x3:9"), "K": data("x3:2", "f")}
    assert {policy: judge([ONE], "c1", changed, policy) for policy in POLICIES} == {
        "inputs": Stale("`raw` changed"),
        "code": Fresh(0, "the same code"),
        "always": Fresh(0, "it has run before (--reuse always)"),
        "never": Stale("it is to run every time (--reuse never)"),
        "ask": Stale("`raw` changed", may_restore=True),
    }
    assert judge([ONE], "c2", changed, "code") == Stale("the code changed")
    assert judge([ONE], "c2", changed, "always").sentence == "it has run before (--reuse always)"
    assert judge([], "c1", changed, "always") == Stale("it has not run before")
    assert judge([ONE], "c1", ONE.inputs, "ask") == Fresh(0, "the same code and inputs")


def test_readings_are_plain_json_and_back() -> None:
    reading = Reading("c", {"a": data(None, "f", reason="it is a lock"), "b": data("x3:1")}, ("t",))
    assert Reading.from_json(reading.to_json()) == reading


def test_files_that_are_newer_are_worth_a_word() -> None:
    note = "utils.py changed on disk but is not reloaded"
    inputs = {"utils": Input("module", "1", note=note), "np": Input("module", "numpy", note="numpy 2")}
    assert remarks(inputs) == (note,)


# whole cells


def reading(session: Session, source: str) -> Reading:
    inputs, changes = session.durable(source)
    return Reading("c", inputs.found, changes.without)


AGAIN: dict[str, tuple[str, str]] = {
    "pure": ("raw = [1]", "df = [*raw]"),
    "loop": ("r = [1]", "for i in r: t = i\nprint(t)"),
    "loop over nothing": ("r = []\nt = 1", "for i in r: t = i\nprint(t)"),
    "function and its use": ("K = 1", "def f(n): return n and f(n - 1)\nx = f(2) + K"),
    "decorated recursion": ("def deco(f): return f", "@deco\ndef f(n): return n and f(n - 1)\nf(2)"),
    "missing name": ("", "try: x\nexcept NameError: x = 1"),
    "branch not taken": ("c = 0", "if c: x = 1"),
    "star import": ("y = 1", "from math import *\nz = sin(y)"),
    "own global": ("def f():\n    global t\n    t = 1", "f()\nprint(t)"),
    "imports": ("", "import json, math as m\nx = json.dumps(m.pi)"),
    "class": ("", "class A:\n    def go(self): return A\na = A().go()"),
    "shell": ("", "exec('x = 1')\ny = x"),
}


@pytest.mark.parametrize("case", AGAIN)
def test_a_cell_is_not_stale_by_its_own_output(case: str) -> None:
    start, cell = AGAIN[case]
    session = Session(start)
    before = reading(session, cell)
    assert judge([before], "c", session.inputs(cell).found) == Fresh(0, "the same code and inputs")
    assert judge([before], "c", Session(start).inputs(cell).found) == Fresh(0, "the same code and inputs")


def test_a_cell_that_changes_what_it_reads_runs_again_in_the_session_and_is_restored_after_a_restart() -> None:
    session = Session("x = 1")
    before = reading(session, "x = x + 1")
    assert judge([before], "c", session.inputs("x = x + 1").found) == Stale("`x` changed")
    assert judge([before], "c", Session("x = 1").inputs("x = x + 1").found) == Fresh(0, "the same code and inputs")


def test_a_name_that_a_way_left_as_it_was_is_looked_at() -> None:
    session = Session("c = 0\nx = 1")
    before = reading(session, "if c: x = 5")
    session.run("x = 2")
    assert judge([before], "c", session.inputs("if c: x = 5").found) == Stale("`x` changed")
