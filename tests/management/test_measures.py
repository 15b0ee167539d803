"""The log in numbers: they agree with the histories."""

from typing import Any

import pytest

from durable_nb import current_step, flow, runs, signal, step
from durable_nb.app import App
from durable_nb.flows import registry
from durable_nb.history.summary import asks
from durable_nb.testing import FakeClock, run_until_idle


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})


def test_metrics_agree_with_the_histories(durable_app: App, durable_clock: FakeClock) -> None:
    @step(name="measures.flaky", retry=3)
    def flaky(due: int, text: str = '"due":') -> int:
        if current_step().attempt < 3:
            raise OSError("not yet")
        return due

    @step
    def broken(elsewhere: bool) -> None:
        raise ValueError("never")

    @step(delay="1d")
    def later() -> None:
        return None

    @flow
    def work() -> Any:
        flaky(1)
        flaky.spawn(2).result()
        try:
            broken(True)
        except ValueError:
            pass
        later.spawn()
        return signal("go").result()

    work["a"].start()
    work["b"].start()
    for _ in range(20):
        run_until_idle(durable_app)
        durable_clock.advance("2m")
    found = durable_app.metrics()
    steps = [
        asked
        for run in runs()
        for asked in asks(durable_app.store.history(run.record.key)).values()
        if asked.kind == "step"
    ]
    attempts = [attempt for asked in steps for attempt in asked.attempts]
    assert (found.steps, found.attempts) == (len(steps), len(attempts))
    assert found.failures == sum(attempt.failure is not None for attempt in attempts) == 2 * 2 * 2 + 2
    assert found.failed_steps == 2
    assert found.events == sum(len(run.history) for run in runs())
    assert found.runs == {"waiting": 2} == durable_app.store.counts()
    assert found.depths["steps later"] == 2
    assert found.depths["steps due"] == found.depths["runs ready"] == found.depths["mail"] == 0
    assert found.oldest_waiting is not None
    assert 0 < found.oldest_waiting <= 2400
    runs["a"].signal("go")
    assert durable_app.metrics().depths["mail"] == durable_app.metrics().depths["runs ready"] == 1


def test_an_empty_log_has_numbers_too(durable_app: App) -> None:
    found = durable_app.metrics()
    assert (found.runs, found.steps, found.events, found.oldest_waiting) == ({}, 0, 0, None)
    assert durable_app.du()["event"] == 0
    assert durable_app.gc() == (0, 0)
