"""The pytest plugin: `durable_clock` and `durable_app`, and a mark-free way to crash. Loaded by every pytest run, so light."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from durable_nb.app import App
    from durable_nb.testing import FakeClock


@pytest.fixture
def durable_clock() -> "FakeClock":
    """A clock that only moves when told."""
    from durable_nb.testing import FakeClock  # noqa: PLC0415 - pytest loads this file in every project

    return FakeClock()


@pytest.fixture
def durable_app(tmp_path: Path, durable_clock: "FakeClock") -> "Iterator[App]":
    """An app on a fresh log without background threads: turns run in `run_until_idle`, time moves by `durable_clock`."""
    from durable_nb.opening import connect  # noqa: PLC0415 - as above

    with connect(tmp_path / "test.durable.db", carriers=0, clock=durable_clock, durability="process") as app:
        yield app
