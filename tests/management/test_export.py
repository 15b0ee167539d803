"""A run as one file, and back: everything it has, signed, and refused when somebody else wrote it."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from durable_nb import (
    BadOption,
    Corrupt,
    Run,
    RunConflict,
    Untrusted,
    connect,
    flow,
    note,
    runs,
    signal,
    sleep,
    state,
    step,
    uuid4,
)
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.testing import FakeClock, SimulatedCrash, abandon, crash_at, run_to_end, run_until_idle
from tests.scenarios.cells import cell

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})
    monkeypatch.setenv("DURABLE_NB_KEY", "a" * 32)
    calls.clear()


def define() -> Any:
    @step
    def work(number: set[int]) -> tuple[bytes, set[int]]:
        print("working on", number)
        calls.append(number)
        return b"x" * 100_000, number

    @step
    def name(text: str) -> str:
        return text

    @flow
    def whole(number: set[int], how: str) -> Any:
        state["half"] = {1, 2}
        note({"on": 1})
        large, again = work(number)
        text = name(str(uuid4()))
        if how == "fail":
            raise ValueError({"no": number})
        if how == "wait":
            sleep("1h")
            return len(large), again, signal("go").result(), state["half"], text
        return len(large), again, text

    return whole


def other(tmp_path: Path, clock: FakeClock) -> App:
    return connect(tmp_path / "other.durable.db", carriers=0, clock=clock)


def test_an_ended_run_comes_over_with_all_it_has(tmp_path: Path, durable_app: App, durable_clock: FakeClock) -> None:
    result = define()["a"]({1}, "end")
    durable_app.export_run("a", tmp_path / "a.run")
    with other(tmp_path, durable_clock) as app:
        run = app.import_run(tmp_path / "a.run", "b")
        assert (run.status, run.result(), run.state, run.note) == ("completed", result, {"half": {1, 2}}, {"on": 1})
        assert run.arguments == {"number": {1}, "how": "end"}
        assert "working on" in "".join(piece.text for piece in run.output)
        kinds = [type(event).__name__ for event in run.history]
        assert kinds[-2:] == ["Forked", "Completed"]
        assert run.record.uid != durable_app.record("a").uid
        assert [row.seq for row in app.store.history(run.record.key)] == list(range(1, len(kinds) + 1))
    assert calls == [{1}]


def test_a_waiting_run_goes_on_where_it_is_imported(tmp_path: Path, durable_app: App, durable_clock: FakeClock) -> None:
    define()["a"].start({1}, "wait")
    run_until_idle(durable_app)
    runs["a"].signal("go", b"signal" * 20_000, key="k")
    run_until_idle(durable_app)
    durable_app.export_run("a", tmp_path / "a.run")
    durable_clock.advance("20m")
    with other(tmp_path, durable_clock) as app:
        run = app.import_run(tmp_path / "a.run")
        assert run.id == "a"
        run_until_idle(app)
        durable_clock.advance("59m")
        run_until_idle(app)
        assert run.status == "waiting"
        imported = run_to_end(app, run)
        assert run.signal("go", 1, key="k") == "repeated"
    assert imported == run_to_end(durable_app, Run("a", host=durable_app))
    assert imported[:4] == (100_000, {1}, b"signal" * 20_000, {1, 2})
    assert calls == [{1}]


def test_a_failed_run_is_retried_where_it_is_imported(
    tmp_path: Path, durable_app: App, durable_clock: FakeClock
) -> None:
    with pytest.raises(ValueError, match="no"):
        define()["a"]({1}, "fail")
    durable_app.export_run("a", tmp_path / "a.run")
    with other(tmp_path, durable_clock) as app:
        run = app.import_run(tmp_path / "a.run")
        with pytest.raises(ValueError, match="no"):
            run.result()
        run.retry()
        run_until_idle(app)
        assert run.status == "failed"
        assert [type(event).__name__ for event in run.history].count("RunFailed") == 2
    assert calls == [{1}]


def test_code_comes_along_and_does_not_become_the_newest(
    tmp_path: Path, durable_app: App, durable_clock: FakeClock
) -> None:
    source = """
@flow
def travelling():
    sleep("1h")
    return {0!r}
"""
    cell(source.format("old"), flow=flow, sleep=sleep)["travelling"]["a"].start()
    run_until_idle(durable_app)
    durable_app.export_run("a", tmp_path / "a.run")
    with other(tmp_path, durable_clock) as app:
        cell(source.format("new"), flow=flow, sleep=sleep)["travelling"]["n"].start()
        newest = app.store.latest_code("flow", "travelling")
        run = app.import_run(tmp_path / "a.run")
        assert newest is not None
        assert app.store.latest_code("flow", "travelling")._replace(at=newest.at) == newest  # type: ignore[union-attr]
        assert run_to_end(app, run) == "old"


def test_a_file_of_another_key_is_refused_unless_it_is_trusted(
    tmp_path: Path, durable_app: App, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = define()["a"]({1}, "end")
    durable_app.export_run("a", tmp_path / "a.run")
    monkeypatch.setenv("DURABLE_NB_KEY", "b" * 32)
    with other(tmp_path, durable_clock) as app:
        with pytest.raises(Untrusted, match="not written with your key"):
            app.import_run(tmp_path / "a.run")
        assert app.store.counts() == {}
        assert app.import_run(tmp_path / "a.run", trust=True).result() == result


def test_what_is_exported_of_a_log_from_elsewhere_is_not_signed(
    tmp_path: Path, durable_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with other(tmp_path, durable_clock):
        define()["a"]({1}, "end")
    monkeypatch.setenv("DURABLE_NB_KEY", "b" * 32)
    with other(tmp_path, durable_clock) as app:
        app.export_run("a", tmp_path / "a.run")
    with connect(":memory:", carriers=0) as app, pytest.raises(Untrusted, match="not written with your key"):
        app.import_run(tmp_path / "a.run")


def test_a_damaged_file_is_refused_whole(tmp_path: Path, durable_app: App, durable_clock: FakeClock) -> None:
    define()["a"]({1}, "end")
    path = tmp_path / "a.run"
    durable_app.export_run("a", path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}

    def written(**changed: bytes | None) -> Path:
        made = tmp_path / "changed.run"
        with zipfile.ZipFile(made, "w") as file:
            for name, data in {**parts, **changed}.items():
                if data is not None:
                    file.writestr(name, data)
        return made

    with other(tmp_path, durable_clock) as app:
        with pytest.raises(Untrusted):
            app.import_run(written(**{"rows.jsonl": parts["rows.jsonl"].replace(b'"work"', b'"walk"')}))
        lines = parts["rows.jsonl"].split(b"\n")
        holed = written(**{"rows.jsonl": b"\n".join(lines[:2] + lines[3:])})
        with pytest.raises(Corrupt, match="missing in the file"):
            app.import_run(holed, trust=True)
        chunkless = written(**{next(name for name in parts if name.startswith("chunks/")): None})
        with pytest.raises(Corrupt, match="is not in the file"):
            app.import_run(chunkless, trust=True)
        for broken in (written(**{"run.json": None}), written(**{"run.json": b"{}"}), tmp_path / "test.durable.db"):
            with pytest.raises(Corrupt, match="is not an exported run"):
                app.import_run(broken)
        with pytest.raises(BadOption, match="cannot be read"):
            app.import_run(tmp_path / "nothing.run")
        assert app.store.counts() == {}
    with pytest.raises(BadOption, match="cannot be written"):
        durable_app.export_run("a", tmp_path / "nowhere" / "a.run")


def test_an_id_that_is_taken_needs_another_one(tmp_path: Path, durable_app: App) -> None:
    result = define()["a"]({1}, "end")
    durable_app.export_run("a", tmp_path / "a.run")
    with pytest.raises(RunConflict, match="another id"):
        durable_app.import_run(tmp_path / "a.run")
    assert durable_app.import_run(tmp_path / "a.run", "again").result() == result


def test_a_crash_imports_the_whole_run_or_none(tmp_path: Path, durable_app: App, durable_clock: FakeClock) -> None:
    result = define()["a"]({1}, "end")
    durable_app.export_run("a", tmp_path / "a.run")
    seen = set()
    for when in ("before commit", "after commit"):
        for number in range(1, 12):
            path = tmp_path / f"{when}{number}.durable.db"
            app = connect(path, carriers=0, clock=durable_clock)
            with crash_at(number, when):
                try:
                    app.import_run(tmp_path / "a.run")
                except SimulatedCrash:
                    pass
            abandon(app)
            with connect(path, carriers=0, clock=durable_clock) as app:
                is_there = app.store.run("a") is not None
                seen.add(is_there)
                if not is_there:
                    app.import_run(tmp_path / "a.run")
                assert app.record("a").status == "completed"
                assert runs["a"].result() == result
                assert app.store.output(app.record("a").key)
    assert seen == {True, False}
