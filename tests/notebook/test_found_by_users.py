"""What people who used durable cells for their own notebooks have stumbled over."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb import connect
from tests.notebook.kernels import ROOT
from tests.notebook.life import NOTE, Life, badges, durable, own


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with Life(tmp_path_factory.mktemp("shared")) as life:
        life.run(NOTE)
        yield life


@pytest.fixture
def life(shared: Life, tmp_path: Path) -> Life:
    """A kernel that is used again, with a log of the test's own."""
    shared.run(f"%durable open {tmp_path / 'own.durable.db'}")
    shared.log = tmp_path / "own.durable.db"
    return shared


KINDS = (
    "%%durable data\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: int = 2\np = P(1)",
    "%%durable enum\nfrom enum import Enum\nclass Colour(Enum):\n    RED = 1\n    BLUE = 2\nred = Colour.RED",
    "%%durable model\nfrom pydantic import BaseModel\nclass M(BaseModel):\n    a: int\nm = M(a=3)",
    "%%durable uses\nnote('uses')\nok = [P(1) == p, red is Colour.RED, M(a=3) == m]",
    "%%durable last\nnote('last')\nsum([1, 2, 4])",
    "%%durable large\nnote('large')\nimport numpy\nnumpy.ones(200_000)",
)
UNDER = "%%durable under\nnote('under')\nkept = _"


def test_after_a_restart_classes_without_methods_are_the_same_and_the_last_result_is_that_of_its_cell(
    tmp_path: Path,
) -> None:
    with Life(tmp_path) as first:
        first.run(NOTE)
        for cell in KINDS[:-1]:
            first.run(cell)
        first.run(UNDER)
        first.run(KINDS[-1])
    with Life(tmp_path) as second:
        second.run(NOTE + "1")
        assert [badges(second.run(cell)) for cell in KINDS[:-1]] == [["restored"]] * 5
        assert badges(second.run(UNDER)) == ["restored"]
        assert second.value("[ok, kept]") == [[True, True, True], 7]
        assert second.ledger() == ["uses", "last", "under", "large"]
        # A flow finds the source of a restored class too.
        second.run("from durable_nb import flow, step\n@step\ndef made(n) -> P:\n    return P(n)")
        second.run("@flow\ndef make(n):\n    return made(n), Colour.BLUE")
        assert second.value("repr(make['m'](3))") == "(P(x=3, y=2), <Colour.BLUE: 2>)"
        # A large result is not stored for its own sake; then `_` is no other cell's.
        second.run("5")
        assert badges(second.run(KINDS[-1])) == ["restored"]
        assert second.fail("_") == "NameError: name '_' is not defined"
        # Restored from what is here already, it is the result again.
        assert badges(second.run(KINDS[-2])) == ["restored"]
        assert second.value("_") == 7


def test_a_second_kernel_that_has_waited_restores_what_the_first_has_run_meanwhile(tmp_path: Path) -> None:
    cell = "%%durable slow\nnote('slow')\nimport time\ntime.sleep(1)\nz = 1"
    with Life(tmp_path) as first, Life(tmp_path) as second:
        first.run("%config DurableMagics.idle = 0.1\n" + NOTE)
        second.run(NOTE)
        asked = first.kernel.begin(cell + "\nprint('slept')")
        first.kernel.wait_for(asked, "slept")
        waits = second.kernel.begin(cell + "\nprint('slept')")
        first.kernel.finish(asked)
        ran = second.kernel.finish(waits)
        assert (badges(ran)[-1], second.value("z"), second.ledger()) == ("restored", 1, ["slow"])


def test_a_module_that_autoreload_has_patched_in_place_is_a_changed_input(tmp_path: Path) -> None:
    module, cell = tmp_path / "prices.py", "%%durable m\nm = prices.of(2)"
    module.write_text("def of(x):\n    return x * 3\n")
    with Life(tmp_path) as life:
        life.run("%load_ext autoreload\n%autoreload 2\nimport prices")
        life.run(cell)
        module.write_text("def of(x):\n    return x * 3 + 1000\n")
        ran = life.run(cell)
        assert (badges(ran), life.value("m")) == (["runs again"], 1006)
        assert "`prices` changed" in ran.of("display_data")[0]["data"]["text/html"]
        assert badges(life.run(cell)) == ["restored"]


def test_cells_that_somebody_deletes_begin_anew(life: Life) -> None:
    life.run("%%durable a\na = 1")
    life.run("%durable resume")
    for verb in ("terminate", "delete"):  # neither is for the cells; an older version, or somebody with SQL, may
        assert "keeps the durable cells" in durable(life.log, verb, "~cells").stderr
    with connect(life.log, carry=False) as app:
        while app.record("~cells").owner is not None:  # the kernel lets go once it is idle
            pass
        assert app.store.delete([app.record("~cells").key], True, app.now()) == []
    assert badges(life.run("%%durable b\nb = 2")) == []
    assert badges(life.run("%%durable a\na = 1")) == []
    assert [badges(life.run(f"%%durable {name}\n{name} = {n}")) for n, name in ((1, "a"), (2, "b"))] == [
        ["restored"]
    ] * 2


def test_a_log_that_was_deleted_is_told_before_the_cell_runs(life: Life) -> None:
    life.run("%%durable a\na = 1")
    for file in life.log.parent.glob("own.durable.db*"):
        file.unlink()
    assert "own.durable.db was removed while" in life.fail("%%durable b\nnote('lost')\nb = 1")
    assert "lost" not in life.ledger()
    life.run(f"%durable open {life.log}")
    life.run("%%durable b\nb = 1")


def test_what_cannot_be_read_says_how_to_go_on(life: Life) -> None:
    life.run("%%durable big\nimport numpy\nbig = numpy.arange(300_000)")
    life.run("import sqlite3\nwith sqlite3.connect('" + str(life.log) + "') as db:\n"
             "    db.execute('update chunk set data = zeroblob(length(data))')\ndb.close()\ndel big")  # fmt: skip
    said = life.fail("%%durable big\nimport numpy\nbig = numpy.arange(300_000)")
    assert said.startswith("Corrupt: what came of cell `big` cannot be read: ")
    assert said.endswith("; `%durable forget big` lets it run again")
    life.run("%durable forget big")
    life.run("%%durable big\nimport numpy\nbig = numpy.arange(300_000)")


def test_capture_above_a_durable_cell_takes_what_it_shows_also_when_it_is_restored(life: Life) -> None:
    cell = (
        "%%capture caught\n%%durable c\nfrom IPython.display import display\nprint('hidden')\ndisplay('shown')\n6 * 7"
    )
    asked = "[caught.stdout, [o.data['text/plain'] for o in caught.outputs]]"
    for said in ([], ["restored"]):
        ran = life.run(cell)
        assert not ran.outputs
        assert life.value(asked) == ["hidden\n", ["'shown'", "42", *said]]


def test_a_progress_bar_of_widgets_comes_back_as_it_stood_in_the_end(life: Life) -> None:
    cell = "%%durable bar\nfrom tqdm.notebook import tqdm\nfor i in tqdm(range(5)):\n    pass"
    life.run(cell)
    (bar,) = own(life.run(cell))
    assert bar["data"]["text/plain"].startswith("100%|")


def test_names_to_keep_that_change_are_no_reason_to_lose_the_outcome(life: Life) -> None:
    cell = "%%durable io{}\nnote('io')\nc = 1\nd = 2"
    before = life.ledger().count("io")
    assert life.fail(cell.format(" --out nope")) == (
        "BadOption: --out nope: the cell did not bind `nope`; all that it did bind is kept"
    )
    assert badges(life.run(cell.format(" --out c"))) == ["restored"]
    assert badges(life.run(cell.format(""))) == ["restored"]
    assert life.ledger().count("io") == before + 1
    narrow = cell.replace("io{}", "narrow{}")
    life.run(narrow.format(" --out c"))
    ran = life.run(narrow.format(" --out c,d"))
    assert "`d` was not kept (--out)" in ran.of("display_data")[0]["data"]["text/html"]
    life.run(narrow.format(" --out c"))
    assert badges(life.run(narrow.format(""))) == ["runs again"]


def test_a_signal_of_a_dataclass_of_the_notebook_can_be_stored(life: Life) -> None:
    life.run("from dataclasses import dataclass\n@dataclass\nclass Order:\n    item: str\n    n: int = 1")
    life.run("%%durable first\nx = 1")
    life.run("""%durable signal ~cells order '{"item": "tea"}'""")
    cell = "%%durable ordered --await order:Order\nprint(order)"
    assert badges(life.run(cell)) == []
    again = life.run(cell)
    assert (badges(again), again.text) == (["restored"], "Order(item='tea', n=1)\n")


def test_a_crash_test_takes_a_cell_that_defines_its_flow(life: Life) -> None:
    told = life.run(
        "%%durable ct --crash-test\nfrom durable_nb import flow, step\n@step\ndef one():\n    return 1\n"
        "@flow\ndef add():\n    return one()\nsum = add['a']()"
    ).text
    assert "ended as without a crash" in told


def test_lines_of_ours_say_what_they_are_about(life: Life) -> None:
    assert life.fail("%%durable t --timeout soon\nx = 1").startswith("BadOption: --timeout: 'soon' is not a duration")
    assert life.fail("%%durable t --delay soon\nx = 1").startswith("BadOption: --delay: 'soon' is not a duration")
    assert life.fail("%durable chaos") == (
        "UsageError: %durable chaos: Missing argument '{kill}'. Choose from: kill; --help lists its options"
    )
    life.run("%%durable t\nx = 1")
    assert "resume()" not in life.run("%durable why ~cells").text
    assert life.fail("%durable open /nonexistent/x.durable.db").startswith("UsageError: %durable open: there is no")
    assert "1 cell restorable" in life.run("%durable").text  # the log that was open still is


TERMINAL = """
get_ipython().run_cell("%load_ext durable_nb")
get_ipython().run_cell("%durable open here.durable.db")
for n in range(2):
    get_ipython().run_cell("%%durable a\\nprint('out')\\nx = 1\\nx + 1")
    get_ipython().run_cell("%%durable b\\nimport asyncio\\nawait asyncio.sleep(0)\\ny = x + _")
get_ipython().run_cell("print(y)")
get_ipython().run_cell("%%durable e\\n1 / 0")
get_ipython().run_cell("%%durable?")
"""


def test_in_a_terminal_it_works_as_in_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "cells.ipy").write_text(TERMINAL)
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "--simple-prompt", "cells.ipy"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython"), "DURABLE_NB_LOG": ""},
    )  # fmt: skip
    told = done.stdout
    assert told.count("out\n") == 2
    assert told.count("restored · ran") == 2
    assert "\n3\n" in told
    assert "ZeroDivisionError: division by zero" in told
    assert "  %%durable [-r N]" in told
    assert not done.stderr
