"""The notebooks run as they are stored: nbval, real kernels, and the deaths that the notebooks promise.

Each runs in a new log, where every output must be the stored one, and then once more over the log it has left, where
every durable cell must come back.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from durable_nb import connect
from tests.notebooks.shelf import NAMES, SANITISE, SHELF, environment, laid_out

FIRST = ("00_tour", "01_steps_and_flows", "02_surviving_restarts", "03_signals_and_people", "04_parallel_and_races")


@pytest.fixture(scope="module")
def under_way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future]]:
    """The notebooks that are to be run, two at a time: most of it is waiting for kernels."""
    wanted = [name for name in NAMES if any(f"[{name}]" in item.name for item in request.session.items)]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run_twice, laid_out(name, tmp_path_factory.mktemp(name))) for name in wanted}


class Ended(NamedTuple):
    """How nbval ended: in a new log, and over the log that it had left."""

    first: str
    again: str


def run_twice(notebook: Path) -> Ended:
    return Ended(nbval(notebook), nbval(notebook, "--again"))


def nbval(notebook: Path, *options: str) -> str:
    """Run it; what is wrong, "" for nothing. Every cell must pass, and no kernel be left."""
    folder, name = notebook.parent, notebook.stem
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), "-q", "--color", "no"),
            *("-p", "nbval.plugin", "-p", "tests.notebooks.tags", "-p", "no:cacheprovider"),
            *("--nbval", "--nbval-current-env", "--nbval-cell-timeout", "60", "--nbval-sanitize-with", str(SANITISE)),
            *(*options, str(notebook)),
        ],
        cwd=folder, env=environment(name, folder), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    cells = [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    if ended.returncode or f"{len(cells)} passed in" not in ended.stdout:
        return ended.stdout + ended.stderr
    with connect(folder / f"{name}.durable.db", carry=False) as app:
        left = [one.label for one in app.store.owners() if one.is_alive and one.pid != os.getpid()]
    return f"these kernels are left: {left}" if left else ""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_as_it_is_stored(name: str, under_way: dict[str, Future]) -> None:
    wrong = under_way[name].result().first
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_again_over_its_log_and_every_durable_cell_comes_back(
    name: str, under_way: dict[str, Future]
) -> None:
    wrong = under_way[name].result().again
    assert not wrong, wrong


def test_first_notebooks_are_there() -> None:
    assert set(FIRST) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_clean(name: str) -> None:
    """Valid, ids as they were written, every cell run, no error and no path of a machine in what is stored."""
    path = SHELF / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tags = set(cell.metadata.get("tags", ()))
            assert tags <= {"once", "kills-kernel", "restart-kernel"}
            assert (cell.execution_count is None) == ("kills-kernel" in tags), cell.id
            assert [one.output_type for one in cell.outputs if one.output_type == "error"] == [], cell.id
            assert not [text for text in ("/tmp/", "/home/", "/root/") if text in str(cell.outputs)], cell.id


@pytest.mark.parametrize("name", NAMES)
def test_links_between_notebooks_lead_somewhere(name: str) -> None:
    notebook = nbformat.read(SHELF / f"{name}.ipynb", 4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    assert linked
    assert [link for link in linked if not (SHELF / link).exists()] == []
