"""Durable cells at work in real kernels: beside plain cells, restored in a new kernel, and on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.bench.contender import CELLS, MANY_CELLS, Measurement
from tests.bench.kernel import Kernel, drift, kernel, over_plain, size_mb
from tests.bench.peers import ROOT
from tests.bench.sessions import plain, session, trivial

_PLAIN = 50  # plain cells beside which one cell is measured


@contextmanager
def _loaded(path: Path, durability: str) -> Iterator[Kernel]:
    """A kernel with the extension, on the log of this measurement."""
    with _kernel(path) as one:
        one.run("%load_ext durable_nb")
        if durability != "full":
            one.run(f"%config DurableMagics.durability = {durability!r}\n%durable open {path}")
        yield one


@contextmanager
def _kernel(path: Path) -> Iterator[Kernel]:
    with kernel(path.parent, {"DURABLE_NB_LOG": str(path), "PYTHONPATH": str(ROOT)}) as one:
        yield one


def _durable(cells: dict[str, str]) -> list[str]:
    return [f"%%durable {name}\n{code}" for name, code in cells.items()]


def _ran(path: Path, durability: str, cells: list[str]) -> float:
    """Run the cells in a kernel of their own; seconds."""
    with _loaded(path, durability) as one:
        return sum(one.run(cell) for cell in cells) / 1000


def cells(path: Path, durability: str, number: int = CELLS) -> float:
    """What makes a trivial cell durable costs this much more, in milliseconds."""
    with _loaded(path, durability) as one:
        return over_plain(one, plain(number), _durable(trivial(number)))


def cells_restored(path: Path, durability: str) -> float:
    """The same for cells that are restored in a new kernel."""
    _ran(path, durability, _durable(trivial(CELLS)))
    with _loaded(path, durability) as one:
        figure = over_plain(one, plain(CELLS), _durable(trivial(CELLS)))
        assert one.text(f"x{CELLS - 1}") == str(CELLS)
        assert "restored" in one.text(_durable(trivial(1))[0])
        return figure


def cells_drift(path: Path, durability: str) -> float:
    with _loaded(path, durability) as one:
        return drift(one, _durable(trivial(MANY_CELLS)))


def cells_size(path: Path, durability: str) -> float:
    """Megabytes of the log when its kernel has ended."""
    _ran(path, durability, _durable(trivial(CELLS)))
    return size_mb(path.parent, lambda name: name.startswith(path.name))


def session_ran(path: Path, durability: str) -> float:
    return _ran(path, durability, _durable(session()))


def session_size(path: Path, durability: str) -> float:
    _ran(path, durability, _durable(session()))
    return size_mb(path.parent, lambda name: name.startswith(path.name))


def session_restored(path: Path, durability: str) -> float:
    """Seconds of the cells in a new kernel, imports of the libraries included."""
    _ran(path, durability, _durable(session()))
    return _ran(path, durability, _durable(session()))


def frame_restored(path: Path, durability: str) -> float:
    """Seconds of the one cell that brings the frame back; the libraries are loaded then."""
    imports, frame = _durable(session())[:2]
    _ran(path, durability, [imports, frame])
    with _loaded(path, durability) as one:
        one.run(imports)
        ordinary = median([one.run(cell) for cell in plain(_PLAIN)])
        return (one.run(frame) - ordinary) / 1000


def load(path: Path, durability: str) -> float:
    """Milliseconds of `%load_ext durable_nb` in a fresh kernel, on a new log."""
    with _kernel(path) as one:
        ordinary = median([one.run(cell) for cell in plain(_PLAIN)])
        return one.run("%load_ext durable_nb") - ordinary


CELL_MEASUREMENTS: dict[str, Measurement] = {
    "cells": cells,
    "cells_many": lambda path, durability: cells(path, durability, MANY_CELLS),
    "cells_drift": cells_drift,
    "cells_restored": cells_restored,
    "cells_size": cells_size,
    "session": session_ran,
    "session_size": session_size,
    "session_restored": session_restored,
    "frame_restored": frame_restored,
    "load": load,
}
