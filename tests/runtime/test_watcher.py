"""The thread that wakes runs outlives whatever goes wrong in one of its looks."""

import logging
import threading

import pytest

from durable_nb import connect, flow, timer

PATIENCE = 60.0


@flow
def nap() -> str:
    timer("0.2s").result()
    return "rested"


def test_an_error_in_one_look_stops_no_wake_up(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    with connect(tmp_path / "watched.durable.db") as app:
        broken = threading.Event()
        heed = app.runtime.heed

        def heed_once() -> None:
            if not broken.is_set():
                broken.set()
                raise RuntimeError("a mistake of ours")
            heed()

        app.runtime.heed = heed_once
        assert broken.wait(PATIENCE)
        assert nap["a"].start().result(PATIENCE) == "rested"
    assert "a mistake of ours" in caplog.text
