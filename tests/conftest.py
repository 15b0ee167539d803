"""What tests of every room share."""

import signal

import pytest

from durable_nb.flows import registry


def pytest_configure() -> None:
    """Interrupts work although the shell that began us, as `nohup` or `&` in a script, lets Ctrl-C be ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test may call its flows and steps what it likes, whatever others call theirs."""
    monkeypatch.setattr(registry, "_known", {})
