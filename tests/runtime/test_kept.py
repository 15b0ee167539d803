"""The code of an async flow that waits stays in memory, goes on there, and is made again from the log when it is gone."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from durable_nb import App, connect, flow, runs, signal, step
from durable_nb.testing import FakeClock, run_to_end, run_until_idle


@step
async def word(text: str) -> str:
    return text.upper()


@flow
async def waits(name: str) -> list[str]:
    with open(os.environ["BEGUN"], "a") as file:  # not a list: what the code names is part of it
        file.write(name + "\n")
    said = [await word(name)]
    for _ in range(3):
        await asyncio.sleep(10)
        said.append(await signal("more"))
    return said


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEGUN", str(tmp_path / "begun"))
    with connect(tmp_path / "kept.durable.db", carriers=0, workers=0, clock=FakeClock()) as app:
        yield app


def begun() -> Counter[str]:
    """How often the code of each run began."""
    return Counter(Path(os.environ["BEGUN"]).read_text().split())


def finish(app: App, *ids: str) -> None:
    for number in range(3):
        for id in ids:
            runs[id].signal("more", number)
    for id in ids:
        assert run_to_end(app, runs[id]) == [id.upper(), 0, 1, 2]


def test_code_that_waits_goes_on_without_a_replay(app: App) -> None:
    waits["a"].start("a")
    run_until_idle(app)
    finish(app, "a")
    assert begun() == {"a": 1}


def test_somebody_else_who_had_the_run_makes_its_code_begin_again(app: App) -> None:
    waits["a"].start("a")
    run_until_idle(app)
    runs["a"].pause()
    runs["a"].resume()
    finish(app, "a")
    assert begun() == {"a": 2}


@pytest.mark.slow
def test_only_so_many_are_kept_and_the_others_lose_nothing(app: App) -> None:
    ids = [f"r{number}" for number in range(70)]
    for id in ids:
        waits[id].start(id)
    run_until_idle(app)
    finish(app, *ids)
    assert set(begun()) == set(ids)
    assert begun().total() > len(ids)


def test_a_killed_process_loses_the_code_and_nothing_else(tmp_path: Path, app: App) -> None:
    waits["a"].start("a")
    run_until_idle(app)
    clock = app.clock
    app.abandon()
    with connect(tmp_path / "kept.durable.db", carriers=0, workers=0, clock=clock) as again:
        finish(again, "a")
    assert begun() == {"a": 2}
