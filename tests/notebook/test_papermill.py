"""The papermill engine `durable`, as papermill finds and runs it."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb.errors import BadOption
from tests.notebook.kernels import ROOT
from tests.notebook.notebooks import LEDGER, Said, begin, end, kernels, kill_all, ledger, read, shown, write


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    kill_all()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder in which papermill finds the entry points of pyproject.toml, whatever is installed here."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["papermill.engine"]
    home = tmp_path / "site" / "durable_nb-0.1.0.dist-info"
    home.mkdir(parents=True)
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: durable_nb\nVersion: 0.1.0\n")
    lines = [f"{name} = {place}" for name, place in points.items()]
    (home / "entry_points.txt").write_text("\n".join(["[papermill.engine]", *lines, ""]))
    return tmp_path / "site"


def papermill(folder: Path, site: Path, *words: str) -> Said:
    path = f"{site}:{ROOT}"
    line = ("nb.ipynb", "done.ipynb", "--engine", "durable", "--no-progress-bar", *words)
    return end(begin(folder, "papermill", *line, PYTHONPATH=path))


@pytest.mark.slow
def test_papermill_goes_on_where_it_failed(tmp_path: Path, installed: Path) -> None:
    cells = (
        "day = 1",
        LEDGER.replace("ledger.txt", f"{tmp_path}/ledger.txt"),
        "%load_ext durable_nb",
        "%%durable first\nnote('first')\nrows = [day]\nprint('rows', rows)",
        "%%durable second\nnote('second')\nopen('data.txt').read()",
    )
    write(tmp_path / "nb.ipynb", *cells, tags={0: "parameters"})
    (tmp_path / "elsewhere").mkdir()
    words = ("-p", "day", "7", "--cwd", "elsewhere")
    failed = papermill(tmp_path, installed, *words)
    assert failed.code != 0
    assert "FileNotFoundError" in failed.err
    (tmp_path / "elsewhere" / "data.txt").write_text("some data")
    said = papermill(tmp_path, installed, *words)
    assert said.code == 0, said
    assert "restored · ran" in said.err
    assert ledger(tmp_path) == ["first", "second", "second"]
    assert shown(tmp_path / "done.ipynb") == ["", "", "", "", "rows [7]\n", "'some data'"]
    assert read(tmp_path / "done.ipynb")[-1].metadata.papermill.status == "completed"
    assert [path.name for path in tmp_path.rglob("*.durable.db")] == ["nb.durable.db"]
    assert kernels(tmp_path / "nb.durable.db") == []


def test_a_notebook_that_is_no_file_needs_to_be_told_its_log() -> None:
    import papermill  # loads its engines, ours among them; the other way round it would find ours half loaded

    from durable_nb.notebook import papermill as engine

    assert papermill.engines.papermill_engines.get_engine("durable") is engine.DurableEngine

    assert engine.log_of(Path("/data/nb.ipynb"), {}) == "/data/nb.durable.db"
    assert engine.log_of(None, {"DURABLE_NB_LOG": "/data/other.db"}) == "/data/other.db"
    assert engine.file_of("s3://bucket/nb.ipynb") is engine.file_of(None) is None
    with pytest.raises(BadOption, match="DURABLE_NB_LOG"):
        engine.log_of(None, {})
