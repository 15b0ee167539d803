"""What a run keeps about itself: state, the state of others, notes, and the limits of both."""

from pathlib import Path
from typing import Any

import pytest

from durable_nb import BadOption, Unstorable, flow, note, now, random, runs, signal, sleep, state, state_of, uuid4
from durable_nb.app import App
from durable_nb.testing import run_to_end, run_until_idle
from tests.scenarios.everywhere import Failed, echo, ended, everywhere, fits, kinds, told
from tests.scenarios.test_futures import started

MEGABYTE = 1024 * 1024


@flow(name="state.counter")
def counter(n: int) -> Any:
    """Read, modify, write: exact over crashes."""
    for _ in range(n):
        state["n"] = state.get("n", 0) + 1
        echo(state["n"])
    return state["n"]


@flow(name="state.dict")
def as_a_dict() -> Any:
    state["a"] = {"x": (1, 2)}
    state["b"] = b"\x00"
    state.update(c=3)
    del state["b"]
    popped = state.pop("c")
    missing = state.get("zzz", "none")
    found = [sorted(state), len(state), "a" in state, popped, missing, state["a"]]
    echo("x")
    return found


@flow(name="state.missing")
def missing(how: str) -> Any:
    if how == "get":
        return state["nothing"]
    del state["nothing"]
    return None


@flow(name="state.reader")
def reader(of: str) -> Any:
    first = state_of(of)["n"]
    sleep("1h")
    return [first, state_of(of).get("zzz", "none"), echo("x")]


@flow(name="state.too_large")
def too_large(size: int, key: str = "k") -> Any:
    state["before"] = 1
    try:
        state[key] = "x" * size
    except Unstorable as error:
        return str(error)
    return len(state[key])


@flow(name="state.notes")
def notes() -> str:
    for n in range(3):
        note(f"{n}/3")
        signal("next").result()
    note({"done": True})
    return "end"


@flow(name="state.clear_then_set")
def clear_then_set() -> Any:
    state["old"] = 1
    echo(1)
    state.clear()
    state["new"] = 2
    echo(2)
    return dict(state)


@flow(name="state.mutates")
def mutates() -> Any:
    """What comes out of the state is a copy: changing it changes nothing."""
    state["list"] = [1]
    state["list"].append(2)
    echo("x")
    return state["list"]


@flow(name="state.fails")
def fails() -> None:
    state["kept"] = 1
    note("so far")
    raise ValueError("no")


@flow(name="state.values")
def values() -> Any:
    """Time and chance, over waits."""
    first = [str(uuid4()), random().random(), now()]
    sleep("1h")
    second = [str(uuid4()), random().random(), now()]
    return [
        first[0] != second[0],
        first[1] != second[1],
        (second[2] - first[2]).total_seconds(),
        echo(first[0]) == first[0],
    ]


CASES: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "counter": (counter, (6,), 6),
    "as a dict": (as_a_dict, (), [["a"], 1, True, 3, "none", {"x": (1, 2)}]),
    "missing": (missing, ("get",), Failed("KeyError", "'nothing'")),
    "missing to remove": (missing, ("del",), Failed("KeyError", "'nothing'")),
    "clear, then set": (clear_then_set, (), {"new": 2}),
    "mutates": (mutates, (), [1]),
    "fails": (fails, (), Failed("ValueError", "no")),
    "values": (values, (), [True, True, 3600.0, True]),
}


@pytest.mark.parametrize("name", CASES)
def test_state_comes_to_the_same_after_a_crash_anywhere(tmp_path: Path, name: str) -> None:
    of, args, result = CASES[name]
    assert everywhere(of, started(of, *args), tmp_path).result == result


def test_every_change_is_a_row_and_a_read_is_none(durable_app: App) -> None:
    run_to_end(durable_app, counter["r"].start(2))
    assert kinds() == ["set", "step", "returned"] * 2 + ["completed"]
    assert runs["r"].state == {"n": 2}


def test_state_is_live_to_clients_while_the_run_waits(durable_app: App) -> None:
    @flow
    def holds() -> Any:
        state["stage"] = "asked"
        signal("go").result()
        state["stage"] = "told"
        del state["stage"]
        state["end"] = (1, 2)

    run = holds["r"].start()
    run_until_idle(durable_app)
    assert run.state == {"stage": "asked"}
    run.signal("go")
    run_to_end(durable_app, run)
    assert run.state == {"end": (1, 2)}


def test_state_and_note_of_a_failed_run_stay(durable_app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        run_to_end(durable_app, fails["r"].start())
    assert (runs["r"].state, runs["r"].note) == ({"kept": 1}, "so far")


def test_the_state_of_another_run_is_an_ask_and_replays_the_same(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        counter["of"].start(2)
        ended(app, "of")
        reader["r"].start("of")
        return ended(app)

    lived = everywhere(reader, drive, tmp_path)
    assert lived.result == [2, "none", "x"]
    assert lived.kinds == ["look", "returned", "timer", "fired", "look", "raised", "step", "returned", "completed"]


def test_a_look_at_an_unknown_run_is_refused(durable_app: App) -> None:
    from durable_nb import UnknownRun

    with pytest.raises(UnknownRun):
        run_to_end(durable_app, reader["r"].start("nobody"))


def test_a_value_at_the_limit_passes_and_one_above_is_refused_before_anything_is_stored(
    durable_app: App, tmp_path: Path
) -> None:
    assert run_to_end(durable_app, too_large["at"].start(MEGABYTE - 2)) == MEGABYTE - 2
    assert "1,048,576 are allowed" in run_to_end(durable_app, too_large["r"].start(MEGABYTE))
    assert runs["r"].state == {"before": 1}
    assert kinds() == ["set", "completed"]
    assert "1,048,576 are allowed" in fits(too_large, "r", tmp_path)


@pytest.mark.parametrize("key", ["", "x" * 201, 7, None])
def test_keys_are_text_of_some_length(durable_app: App, key: Any) -> None:
    @flow
    def bad(key: Any) -> None:
        state[key] = 1

    with pytest.raises(BadOption, match="key of the state"):
        run_to_end(durable_app, bad["r"].start(key))
    assert kinds() == ["failed"]


def test_what_cannot_be_stored_is_refused_by_key(durable_app: App) -> None:
    import threading

    @flow
    def bad() -> None:
        state["lock"] = threading.Lock()

    with pytest.raises(Unstorable, match="lock"):
        run_to_end(durable_app, bad["r"].start())
    assert runs["r"].state == {}


def test_notes_are_seen_and_waited_for(durable_app: App) -> None:
    run = notes["r"].start()
    seen = [run.wait_for_note(timeout=20)]
    for _ in range(3):
        run.signal("next")
        seen.append(run.wait_for_note(after=seen[-1], timeout=20))
    assert seen == ["0/3", "1/3", "2/3", {"done": True}]
    assert run_to_end(durable_app, run) == "end"
    with pytest.raises(TimeoutError):
        run.wait_for_note(after={"done": True}, timeout=0)


def test_a_note_of_the_very_last_line_is_kept(durable_app: App) -> None:
    @flow
    def last() -> None:
        note("bye")

    run_to_end(durable_app, last["r"].start())
    assert runs["r"].note == "bye"
    assert kinds() == ["note", "completed"]


def test_fifty_changes_over_a_restart_are_exact(tmp_path: Path) -> None:
    from durable_nb import connect
    from durable_nb.testing import FakeClock

    @flow(name="state.fifty")
    def fifty() -> Any:
        for _ in range(50):
            state["n"] = state.get("n", 0) + 1
            signal("tick").result()
        return state["n"]

    clock = FakeClock()
    for life in range(2):
        with connect(tmp_path / "log.durable.db", carriers=0, clock=clock) as app:
            run = fifty["r"].start()
            for n in range(25):
                run_until_idle(app)
                assert run.state == {"n": life * 25 + n + 1}
                run.signal("tick")
            run_until_idle(app)
    with connect(tmp_path / "log.durable.db", carriers=0, clock=clock):
        assert runs["r"].result() == 50


@flow(name="state.early_look")
def early_look() -> Any:
    child = waiting_leaf["child"].spawn()
    found = [state_of("child").get("n", "none")]
    other = waiting_leaf["other"].start()
    found += [state_of("other").get("n", "none")]
    state["own"] = 1
    state["gone"] = 2
    del state["gone"]
    found += [state_of("r")["own"], state_of("r").get("gone", "none"), other.id]
    signal("go").result()
    return [*found, state_of("child")["n"], child.result()]


@flow(name="state.waiting_leaf")
def waiting_leaf() -> Any:
    state["n"] = 7
    return signal("end").result(timeout="1m")


def test_the_state_of_a_run_that_is_begun_in_the_same_commit_is_there(tmp_path: Path) -> None:
    def drive(app: App) -> Any:
        run = early_look["r"].start()
        run_until_idle(app)
        told(run, "go")
        run_until_idle(app)
        for id in ("child", "other"):
            told(runs[id], "end", "ended")
        return ended(app)

    lived = everywhere(early_look, drive, tmp_path)
    assert lived.result == ["none", "none", 1, "none", "other", 7, "ended"]
