"""Notebooks as runs: real commands and kernels that are killed, cancelled, mended, scheduled."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb import connect
from durable_nb.errors import BadOption
from durable_nb.notebook import headless
from durable_nb.stores.shapes import Query
from durable_nb.testing import FakeClock
from tests.notebook.life import Life, badges
from tests.notebook.notebooks import (
    LEDGER,
    begin,
    begin_durable,
    durable,
    end,
    kernels,
    kill_all,
    ledger,
    read,
    shown,
    until,
    write,
    write_kernel,
)

NOTEBOOKS = Query(flow="notebook")
SIX = (
    LEDGER,
    "%%durable one\nnote('one')\nx = 1\nprint('x is', x)",
    "%%durable\nnote('two')\ny = x + 1\ny",
    "%%durable three --retry 2\nnote('three')\nz = [x, y]",
    "%%durable four\nnote('four')\nwait_for('go')\nw = sum(z)\nprint('w is', w)",
    "%%durable five\nnote('five')\nv = w * 2",
    "print('in all', v)",
)
SHOWN = ["", "x is 1\n", "2", "", "w is 3\n", "", "in all 6\n"]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    kill_all()


def test_a_killed_command_goes_on_at_the_first_unfinished_cell(tmp_path: Path) -> None:
    write(tmp_path / "report.ipynb", *SIX)
    log = tmp_path / "report.durable.db"
    line = ("run", "report.ipynb", "--out", "done.ipynb")
    process = begin_durable(tmp_path, *line)
    until((tmp_path / "begun").exists, "cell four", process)
    assert shown(tmp_path / "done.ipynb") == [*SHOWN[:4], "", "", ""]
    with connect(log, carry=False) as app:
        (id,) = [record.id for record in app.store.find(NOTEBOOKS)]
        until(
            lambda: ("heartbeat", "cell 5/7 four") in [(one.stream, one.text) for one in app.output(id)], "a heartbeat"
        )
    process.kill()
    assert f"run {id}\n" in end(process).err
    until(lambda: not kernels(log), "the end of the kernel of a killed command")
    (tmp_path / "go").touch()
    said = durable(tmp_path, *line)
    assert (said.code, said.out) == (0, f'{{"cells":7,"out":"{tmp_path}/done.ipynb"}}\n')
    assert said.err.splitlines()[0] == f"run {id}"
    assert said.err.count("restored · ran") == 3
    assert ledger(tmp_path) == ["one", "two", "three", "four", "four", "five"]
    assert shown(tmp_path / "done.ipynb") == SHOWN
    assert [cell.execution_count for cell in read(tmp_path / "done.ipynb")] == [1, 2, 3, 4, 5, 6, 7]
    assert kernels(log) == []
    assert sorted(path.name for path in tmp_path.glob("*.ipynb*")) == ["done.ipynb", "report.ipynb"]


@pytest.mark.slow
def test_a_killed_kernel_is_replaced(tmp_path: Path) -> None:
    killing = "%%durable\nnote('killing')\nif not os.path.exists('killed'):\n    open('killed', 'w').close()\n    "
    write(tmp_path / "nb.ipynb", LEDGER, "%%durable\nnote('first')", killing + "os.kill(os.getpid(), signal.SIGKILL)")
    said = durable(tmp_path, "run", "nb.ipynb", "--id", "a", "--json")
    assert said.code == 0, said.err
    assert ledger(tmp_path) == ["first", "killing", "killing"]
    with connect(tmp_path / "nb.durable.db", carry=False) as app:
        failed = [event.failure.sentence for event in app.events("a") if type(event).__name__ == "AttemptFailed"]
    assert failed == [
        "durable_nb.errors.KernelDied: the kernel died in cell 3 `note('killing')` "
        "(killed by SIGKILL, as when memory is short)"
    ]


@pytest.mark.slow
def test_a_kernel_that_dies_each_time_fails_the_run(tmp_path: Path) -> None:
    write_kernel(tmp_path, "dead", "echo x >> ledger.txt; exit 7")
    write(tmp_path / "nb.ipynb", "1", kernel="dead")
    said = durable(tmp_path, "run", "nb.ipynb", "--id", "a", JUPYTER_PATH=str(tmp_path))
    assert said.code == 1
    assert said.err.splitlines()[-1] == (
        "run 'a' failed: the kernel died before its first cell (its process ended with exit code 7)"
    )
    assert ledger(tmp_path) == ["x"] * 5


@pytest.mark.slow
def test_a_failing_cell_is_named_and_the_same_command_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    cells = (
        LEDGER,
        "%%durable\nnote('first')",
        "%%durable ratio -q\nnote('ratio')\n# a comment\nr = 1 / 0",
        "note('end')",
    )
    write(tmp_path / "nb.ipynb", *cells)
    line = ("run", "nb.ipynb", "--id", "nightly", "--out", "done.ipynb")
    said = durable(tmp_path, *line)
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[-1] == (
        "run 'nightly' failed: cell 3 `ratio`: ZeroDivisionError: division by zero (Cell In[3], line 4: `r = 1 / 0`)"
    )
    assert shown(tmp_path / "done.ipynb") == ["", "", "ZeroDivisionError: division by zero", ""]
    write(tmp_path / "nb.ipynb", *cells[:2], cells[2].replace("/ 0", "/ 2"), cells[3])
    assert durable(tmp_path, *line).code == 0
    assert ledger(tmp_path) == ["first", "ratio", "ratio", "end"]
    again = durable(tmp_path, *line)  # a run that has ended is not run again
    assert (again.code, again.err) == (0, "run nightly\n")
    assert len(ledger(tmp_path)) == 4
    assert kernels(tmp_path / "nb.durable.db") == []


@pytest.mark.slow
def test_other_parameters_run_what_reads_them(tmp_path: Path) -> None:
    cells = (
        "day, scale = 'monday', 1",
        LEDGER,
        "%load_ext durable_nb",
        "%%durable\nnote('rows')\nrows = [1, 2]",
        "%%durable\nnote('day')\ntitle = f'{day} {rows}'\ntitle",
    )
    write(tmp_path / "nb.ipynb", *cells, tags={0: "parameters"})
    line = ("run", "nb.ipynb", "--out", "done.ipynb")
    assert durable(tmp_path, *line, "--id", "a", "-p", "day=friday").code == 0
    assert shown(tmp_path / "done.ipynb") == ["", "", "", "", "", "'friday [1, 2]'"]
    assert read(tmp_path / "done.ipynb")[1].source == "# Parameters\nday = 'friday'\n"
    said = durable(tmp_path, *line, "--id", "b", "-p", "day=[2026]", "-p", "sacle=2")
    assert shown(tmp_path / "done.ipynb")[-1] == "'[2026] [1, 2]'"
    assert ledger(tmp_path) == ["rows", "day", "day"]
    assert "parameter `sacle` is not in the cell tagged `parameters`" in said.err
    said = durable(tmp_path, *line, "--id", "a", "-p", "day=sunday")
    assert (said.code, said.out) == (4, "")
    assert "run 'a' of flow `notebook` exists with other arguments: the arguments were {\"path\":" in said.err
    assert said.err.endswith("Use another --id\n")


@pytest.mark.slow
def test_what_ran_in_a_page_comes_back_headless_and_the_other_way_round(tmp_path: Path) -> None:
    first, second = "%%durable\nnote('a')\na = 5\nprint(a)", "%%durable\nnote('b')\nb = a + 1\nprint(b)"
    with Life(tmp_path) as life:
        life.run(LEDGER)
        life.run(first)
    write(tmp_path / "nb.ipynb", LEDGER, first, second)
    said = durable(tmp_path, "run", "nb.ipynb", "--out", "done.ipynb")
    assert said.err.count("restored · ran") == 1
    assert shown(tmp_path / "done.ipynb") == ["", "5\n", "6\n"]
    with Life(tmp_path) as life:
        life.run(LEDGER)
        ran = [life.run(first), life.run(second)]
        assert [(one.text, badges(one)) for one in ran] == [("5\n", ["restored"]), ("6\n", ["restored"])]
    assert ledger(tmp_path) == ["a", "b"]


@pytest.mark.slow
def test_a_cancelled_notebook_leaves_no_kernel(tmp_path: Path) -> None:
    write(tmp_path / "nb.ipynb", LEDGER, "wait_for('never')", "note('not reached')")
    log = tmp_path / "nb.durable.db"
    process = begin_durable(tmp_path, "run", "nb.ipynb", "--id", "a")
    until((tmp_path / "begun").exists, "the cell", process)
    assert len(kernels(log)) == 1
    with connect(log, carry=False) as app:
        app.cancel("a", "no longer needed")
    said = end(process)
    assert said.code == 1, said
    assert kernels(log) == []
    with connect(log, carry=False) as app:
        assert app.record("a").status == "cancelled"
    assert ledger(tmp_path) == []


@pytest.mark.slow
def test_an_interrupted_command_stops_its_kernel_and_goes_on_when_it_is_given_again(tmp_path: Path) -> None:
    cells = (LEDGER, "%%durable\nnote('first')", "%%durable\nnote('second')\nwait_for('go')", "note('end')")
    write(tmp_path / "nb.ipynb", *cells)
    log = tmp_path / "nb.durable.db"
    process = begin_durable(tmp_path, "run", "nb.ipynb", "--id", "a")
    until((tmp_path / "begun").exists, "the cell", process)
    process.send_signal(signal.SIGINT)
    said = end(process)
    assert (said.code, said.out) == (130, "")
    assert "the same command goes on with it" in said.err
    assert kernels(log) == []
    (tmp_path / "go").touch()
    said = durable(tmp_path, "run", "nb.ipynb", "--id", "a")
    assert said.code == 0, said
    assert ledger(tmp_path) == ["first", "second", "second", "end"]


@pytest.mark.slow
def test_a_worker_runs_scheduled_notebooks_and_those_that_are_tried_again(tmp_path: Path) -> None:
    reading = "%%durable\nnote('reading')\nopen('data.txt').read()"
    write(tmp_path / "nb.ipynb", LEDGER, "%%durable\nnote(day)", reading)
    log = tmp_path / "nb.durable.db"
    with connect(log, carry=False, clock=FakeClock()) as app:  # of long ago: for the worker a tick is overdue
        headless.notebook.schedule("every 1000h", "nb.ipynb", {"day": "monday"}, "done.ipynb", id="nightly")
        assert app.store.counts() == {}
    said = durable(tmp_path, "worker", "--until-idle", "--log", str(log))
    assert said.code == 0, said
    assert "cell 3/4 note(day) …" in said.out + said.err
    with connect(log, carry=False) as app:
        (run,) = app.store.find(NOTEBOOKS)
        assert (run.status, run.id.startswith("nightly@")) == ("failed", True)
    (tmp_path / "data.txt").write_text("some data")
    assert durable(tmp_path, "retry", run.id, "--log", str(log)).code == 0
    said = durable(tmp_path, "worker", "--until-idle", "--log", str(log))
    assert ledger(tmp_path) == ["monday", "reading", "reading"], said
    assert shown(tmp_path / "done.ipynb") == ["", "", "", "'some data'"]
    with connect(log, carry=False) as app:
        assert [record.status for record in app.store.find(NOTEBOOKS)] == ["completed"]
    assert kernels(log) == []


DYING = """
import os
from durable_nb import connect
from durable_nb.notebook import headless
headless.execute = lambda *given: os.kill(os.getpid(), 9)
connect("nb.durable.db")
headless.notebook["a"](os.path.abspath("nb.ipynb"), {}, None)
"""


@pytest.mark.slow
def test_a_command_that_is_killed_again_and_again_goes_on_when_it_is_given_again(tmp_path: Path) -> None:
    write(tmp_path / "nb.ipynb", LEDGER, "note('done')")
    (tmp_path / "dying.py").write_text(DYING)
    assert [end(begin(tmp_path, "dying")).code for _ in range(5)] == [-signal.SIGKILL] * 5
    said = durable(tmp_path, "run", "nb.ipynb", "--id", "a")
    assert said.code == 0, said
    assert ledger(tmp_path) == ["done"]


def test_without_nbclient_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "durable_nb.notebook.execution", None)
    with pytest.raises(BadOption, match=r"durable_nb\[notebook\]"):
        headless.execution_class()


def test_the_log_of_a_notebook_is_one_that_its_kernel_can_open() -> None:
    assert headless.log_path("sqlite:///a.db") == headless.log_path("a.db") == os.path.abspath("a.db")
    assert headless.log_path("postgresql://host/db") == "postgresql://host/db"
    with pytest.raises(BadOption, match="in memory"):
        headless.log_path(":memory:")
