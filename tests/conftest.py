"""What tests of every room share."""

import pytest

from durable_nb.flows import registry


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test may call its flows and steps what it likes, whatever others call theirs."""
    monkeypatch.setattr(registry, "_known", {})
