"""What cells set in the process is kept with their outcome and set again."""

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy
import pandas
import pytest
from cycler import cycler

from durable_nb.notebook.cells import process
from durable_nb.notebook.cells.process import apply, difference, is_secret, snapshot


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The process is left as it was found."""
    environ, folder, path = dict(os.environ), os.getcwd(), list(sys.path)
    chance, state = random.getstate(), numpy.random.get_state()
    with matplotlib.rc_context(), pandas.option_context("display.max_rows", pandas.get_option("display.max_rows")):
        yield
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.path[:] = path
    random.setstate(chance)
    numpy.random.set_state(state)


def set_variable() -> None:
    os.environ["OF_A_CELL"] = "1"
    os.environ.pop("HOME", None)


def set_path() -> None:
    sys.path.insert(0, "first/of/all")
    sys.path.append("last/of/all")


def set_options() -> None:
    pandas.set_option("display.max_rows", 7)


def set_style() -> None:
    matplotlib.rcParams["lines.linewidth"] = 3.5
    matplotlib.rcParams["axes.prop_cycle"] = cycler(color=["r", "b"])


def look() -> Any:
    params = matplotlib.rcParams
    return (
        os.environ.get("OF_A_CELL"), os.environ.get("HOME"), os.getcwd(), [*sys.path], random.random(),
        numpy.random.rand(), pandas.get_option("display.max_rows"), params["lines.linewidth"],
        params["axes.prop_cycle"],
    )  # fmt: skip


CASES: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "nothing": (lambda: None, set()),
    "environment": (set_variable, {"environ"}),
    "folder": (lambda: os.chdir("/"), {"folder"}),
    "path": (set_path, {"path"}),
    "path without an entry": (lambda: sys.path.remove(ONLY_HERE), {"path"}),
    "random": (lambda: random.seed(3), {"random"}),
    "random of numpy": (lambda: numpy.random.seed(3), {"numpy"}),
    "options of pandas": (set_options, {"pandas"}),
    "style": (set_style, {"matplotlib"}),
}


ONLY_HERE = "/an/entry/that/is/there/once"


@pytest.mark.parametrize("case", CASES)
def test_what_a_cell_set_is_set_again(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, kinds = CASES[case]
    monkeypatch.setattr(sys, "path", [*sys.path, ONLY_HERE])
    environ, folder, path = dict(os.environ), os.getcwd(), list(sys.path)
    chance, state, rows = random.getstate(), numpy.random.get_state(), pandas.get_option("display.max_rows")
    before = snapshot()
    with matplotlib.rc_context():
        run()
        changes = difference(before, snapshot())
        after = look()
    # As a new kernel would have it.
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.path[:] = path
    random.setstate(chance)
    numpy.random.set_state(state)
    pandas.set_option("display.max_rows", rows)
    assert {*changes} == kinds
    assert apply(json.loads(json.dumps(changes))) == []
    assert look() == after


def test_secrets_are_named_and_not_kept() -> None:
    before = snapshot()
    os.environ["OF_A_CELL_API_KEY"] = "hunter2"
    os.environ["OF_A_CELL_URL"] = "postgresql://me:hunter2@host/db"
    changes = difference(before, snapshot())
    assert "hunter2" not in json.dumps(changes)
    assert {*changes["unkept"]} == {"environment variable OF_A_CELL_API_KEY", "environment variable OF_A_CELL_URL"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AWS_SECRET_ACCESS_KEY", "x", True),
        ("GITHUB_PAT", "x", True),
        ("DB_PASSWORD", "x", True),
        ("URL", "https://me:pw@host", True),
        ("URL", "https://host:80/a@b", False),
        ("ANY", "ghp_abc", True),
        ("ANY", "-----BEGIN RSA PRIVATE-----", True),
        ("OMP_NUM_THREADS", "2", False),
        ("PATH", "/bin:/usr/bin", False),
    ],
)
def test_what_looks_like_a_secret(name: str, value: str, expected: bool) -> None:
    assert is_secret(name, value) is expected


def test_a_library_that_the_cell_loaded_is_compared_with_its_defaults() -> None:
    set_options()
    set_style()
    changes = difference(snapshot()._replace(pandas=None, matplotlib=None), snapshot())
    assert changes["pandas"]["display.max_rows"] == 7
    assert changes["matplotlib"]["lines.linewidth"] == 3.5


def test_what_the_cell_set_before_and_finds_set_is_kept() -> None:
    before = snapshot()
    set_options()
    set_variable()
    os.chdir("/")
    set_path()
    earlier = difference(before, snapshot())
    again = difference(snapshot(), snapshot(), earlier)
    assert (again["pandas"], again["folder"], again["path"]) == ({"display.max_rows": 7}, "/", earlier["path"])
    assert again["environ"] == earlier["environ"]
    pandas.set_option("display.max_rows", 8)
    assert "pandas" not in difference(snapshot(), snapshot(), earlier)


def test_an_option_that_is_no_plain_value_is_named() -> None:
    before = snapshot()
    with pandas.option_context("display.float_format", "{:.2f}".format):
        changes = difference(before, snapshot())
    assert [*changes["unkept"]] == ["pandas option display.float_format"]


def test_what_cannot_be_set_again_is_said(tmp_path: Path) -> None:
    failed = apply({"folder": str(tmp_path / "gone"), "pandas": {"display.no_such": 1}})
    assert [sentence.partition(" could")[0] for sentence in failed] == ["the working folder", "the options of pandas"]


def test_a_snapshot_loads_no_library() -> None:
    assert process.options.pandas_options() is not None
    code = "import sys; from durable_nb.notebook.cells import process; a = process.snapshot(); print(a.pandas, a.numpy)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None None\n"
