"""The same cells by Kishu, which stores what a cell has changed after every cell.

Its test mode is on, which saves it to store the notebook and reload the page: a kernel alone has none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import nbformat

from tests.bench.contender import CELLS, FRAME_ROWS, Measurement, tell
from tests.bench.kernel import Kernel, kernel, size_mb
from tests.bench.sessions import plain, session, trivial


@contextmanager
def _kernel(path: Path) -> Iterator[Kernel]:
    notebook = _notebook(path)
    environ = {"TEST_NOTEBOOK_PATH": str(notebook), "KISHU_PATH_ROOT": str(path.parent), "ENV_KISHU_TEST_MODE": "1"}
    if not notebook.exists():
        nbformat.write(nbformat.v4.new_notebook(), notebook)  # type: ignore[no-untyped-call]
    with kernel(path.parent, environ) as one:
        yield one


def _notebook(path: Path) -> Path:
    return path.with_suffix(".ipynb")


def _attach(one: Kernel, path: Path) -> float:
    return one.run_silently(f"from kishu import init_kishu; init_kishu({str(_notebook(path))!r})")


def _ran(path: Path, cells: list[str]) -> float:
    with _kernel(path) as one:
        _attach(one, path)
        return sum(one.run(cell) for cell in cells) / 1000


def _checkout(path: Path, asked: str, answer: str) -> float:
    """Milliseconds of bringing all back in a new kernel, which then knows the answer."""
    with _kernel(path) as one:
        _attach(one, path)
        one.run_silently("from kishu.commands import KishuCommand; from pathlib import Path")
        taken = one.run_silently(
            f"_kishu.checkout(KishuCommand.log_all(Path({str(_notebook(path))!r})).commit_graph[-1].commit_id)"
        )
        assert one.text(asked) == answer
        return taken


def cells(path: Path, durability: str) -> float:
    """Plain cells come before: once it is there, it looks at every cell."""
    with _kernel(path) as one:
        ordinary = median([one.run(cell) for cell in plain(CELLS)])
        _attach(one, path)
        return median([one.run(cell) for cell in trivial(CELLS).values()]) - ordinary


def cells_restored(path: Path, durability: str) -> float:
    """It brings back a session as a whole: the share of one cell."""
    _ran(path, list(trivial(CELLS).values()))
    return _checkout(path, f"x{CELLS - 1}", str(CELLS)) / CELLS


def cells_size(path: Path, durability: str) -> float:
    _ran(path, list(trivial(CELLS).values()))
    return size_mb(path.parent, lambda name: name.endswith(".kishudb"))


def session_ran(path: Path, durability: str) -> float:
    return _ran(path, list(session().values()))


def session_size(path: Path, durability: str) -> float:
    session_ran(path, durability)
    return size_mb(path.parent, lambda name: name.endswith(".kishudb"))


def session_restored(path: Path, durability: str) -> float:
    session_ran(path, durability)
    return _checkout(path, "frame.shape", f"({FRAME_ROWS}, 10)") / 1000


def load(path: Path, durability: str) -> float:
    with _kernel(path) as one:
        one.run("pass")
        return _attach(one, path)


MEASUREMENTS: dict[str, Measurement] = {
    "cells": cells,
    "cells_restored": cells_restored,
    "cells_size": cells_size,
    "session": session_ran,
    "session_size": session_size,
    "session_restored": session_restored,
    "load": load,
}


def main() -> None:
    tell(MEASUREMENTS)
