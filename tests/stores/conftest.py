from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb.stores import database
from durable_nb.stores.sqlite import SqliteStore, open_sqlite


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "test.durable.db")


@pytest.fixture
def filed(path: str) -> Iterator[SqliteStore]:
    """A store in a file, for what only files have."""
    store = open_sqlite(path, "process")
    yield store
    store.close()


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, path: str) -> Iterator[SqliteStore]:
    store = open_sqlite(path if request.param == "file" else ":memory:", "process")
    yield store
    store.close()


@pytest.fixture(autouse=True)
def no_crash_point_stays() -> Iterator[None]:
    yield
    database.crash_point = None
