"""Waiting for a run in an app that carries nothing, while another process carries it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from durable_nb import App, connect, flow, step
from durable_nb.flows import registry
from durable_nb.runtime.commits import Commits
from durable_nb.testing import FakeClock, run_until_idle


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})


class Reads:
    """How often the log was asked for a run."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._run = app.store.run
        monkeypatch.setattr(app.client, "store", _Counting(app.client.store, self))


class _Counting:
    def __init__(self, store: Any, reads: Reads) -> None:
        self._store = store
        self._reads = reads

    def run(self, id: str) -> Any:
        self._reads.count += 1
        return self._store.run(id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_waiting_beside_reads_the_log_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def nothing() -> None: ...

    with connect(tmp_path / "log.db", carry=False) as beside:
        run = nothing["r"].start()
        reads = Reads(beside, monkeypatch)
        with pytest.raises(TimeoutError):
            run.result(timeout=0.2)
    assert reads.count <= 4  # the run before and after the wait, once within, and once more for the message


def test_commit_of_another_process_ends_the_wait(tmp_path: Path) -> None:
    with connect(tmp_path / "log.db", carry=False) as beside, connect(tmp_path / "log.db", carry=False) as other:
        commits = Commits(beside.store)
        other.store.heartbeat(other.owner(), 1.0)  # before the wait, and after the look
        commits.wait(3600)
        done = threading.Event()
        waiter = threading.Thread(target=lambda: (commits.wait(3600), done.set()))
        waiter.start()
        assert not done.is_set()
        other.store.heartbeat(other.owner(), 2.0)
        assert done.wait(30)
        waiter.join()


def test_result_and_follow_beside_see_what_another_process_does(tmp_path: Path) -> None:
    @step
    def add(n: int) -> int:
        return n + 1

    @flow
    def sums() -> int:
        return add(add(1))

    clock = FakeClock()
    with (
        connect(tmp_path / "log.db", carriers=0, clock=clock) as carrying,
        connect(tmp_path / "log.db", carry=False, clock=clock) as beside,
    ):
        sums["r"].start()
        found: list[Any] = []
        waiters = [
            threading.Thread(target=lambda: found.append(beside.result("r", 60))),
            threading.Thread(target=lambda: found.append(len(list(beside.follow("r"))))),
        ]
        for waiter in waiters:
            waiter.start()
        run_until_idle(carrying)
        for waiter in waiters:
            waiter.join(60)
    assert sorted(found) == [3, 6]
