"""Large values into the log and their digests, and looking for a run among very many."""

import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from durable_nb import App, connect, flow, runs, signal
from durable_nb.notebook.cells import keeping
from durable_nb.notebook.cells.digests import digest_of
from durable_nb.notebook.cells.graph import pack
from tests.bench.contender import DIGEST_ROWS, FRAME_ROWS, PAGE, PAGED, Measurement, median_ms, rate

_TIMES = 3


@flow
def nothing() -> None:
    """Not carried here: it is only looked for."""


@flow
def asking() -> None:
    signal("go").result()


def _frame(rows: int) -> Any:
    """Ten columns of numbers that do not compress."""
    import numpy
    import pandas

    return pandas.DataFrame(numpy.random.default_rng(7).random((rows, 10)), columns=list("abcdefghij"))


def _gigabytes(frame: Any) -> float:
    return float(frame.memory_usage(index=False).sum()) / 1e9


def frame_put(path: Path, durability: str) -> float:
    """Gigabytes per second from a frame to its pieces in the log."""
    frame = _frame(FRAME_ROWS)
    with connect(str(path), durability=durability, carry=False) as app:
        keeping.put(app.store, pack({"small": _frame(20_000)}, {}))
        return rate(_gigabytes(frame), lambda: keeping.put(app.store, pack({"frame": frame}, {})))


def digest(path: Path, durability: str) -> float:
    """Gigabytes per second of telling whether a frame is the one it was."""
    frame = _frame(DIGEST_ROWS)
    return median(rate(_gigabytes(frame), lambda: digest_of(frame)) for _ in range(_TIMES))


def page(path: Path, durability: str) -> float:
    """Milliseconds of the newest runs of a flow."""
    with connect(str(path), durability=durability, carry=False):
        nothing.start_many(() for _ in range(PAGED))
        return median_ms(20, lambda: _page(PAGE, flow="nothing"))


def page_waiting(path: Path, durability: str) -> float:
    """Milliseconds until it is known that none of the waiting runs waits for a name."""
    with connect(str(path), durability=durability) as app:
        _wait_all(app)
        assert len(_page(PAGE, waiting_for="go")) == PAGE
        return median_ms(20, lambda: _page(0, waiting_for="stop"))


def _wait_all(app: App) -> None:
    asking.start_many(() for _ in range(PAGED))
    while app.store.counts().get("waiting", 0) < PAGED:
        time.sleep(0.5)  # a look goes through them all


def _page(number: int, **query: Any) -> list[Any]:
    found = list(islice(runs(**query), PAGE))
    assert len(found) == number
    return found


VALUE_MEASUREMENTS: dict[str, Measurement] = {
    "frame_put": frame_put,
    "digest": digest,
    "page": page,
    "page_waiting": page_waiting,
}
