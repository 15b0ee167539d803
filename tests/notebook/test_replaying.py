"""notebook/replaying.py: stored outputs come back as the cell has shown them, with one badge."""

import json
import re
from collections.abc import Iterator

import nbclient
import nbformat
import pytest

from durable_nb.notebook.replaying import badge
from tests.notebook.kernels import ROOT, TRIAL, Kernel
from tests.notebook.test_capture import KINDS, SETTING, visible


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("replaying"))
    assert kernel.run(TRIAL).reply["status"] == "ok"
    setting = "import sys, os, threading, logging, warnings, subprocess, ctypes, time\n" + SETTING
    assert kernel.run(setting).reply["status"] == "ok"
    kernel.run("%matplotlib inline\nimport matplotlib.pyplot as plt")
    yield kernel
    kernel.close()


def without_numbers(outputs):
    return [{key: value for key, value in one.items() if key != "execution_count"} for one in outputs]


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_shows_what_the_cell_has_shown_and_one_badge(kernel, kind):
    kernel.run(f"%%durable\n{KINDS[kind]}")
    stored = kernel.value("_outcomes[-1].outputs")
    ran = kernel.run("_replay()")
    *again, last = ran.outputs
    assert without_numbers(visible(again)) == without_numbers(visible(stored))
    assert last["data"]["text/plain"] == "restored"
    for result in ran.of("execute_result"):
        assert result["execution_count"] == ran.reply["execution_count"]


def test_streams_and_displays_come_in_their_order(kernel):
    kernel.run(
        "%%durable\nfor n in range(30):\n    print(n, flush=True)\n    print(-n, file=sys.stderr, flush=True)\n    display(n)"
    )
    stored = kernel.value("_outcomes[-1].outputs")
    assert len(stored) == 90
    assert visible(kernel.run("_replay()").outputs[:-1]) == visible(stored)


def test_a_display_keeps_its_id_so_that_its_handle_still_updates_it(kernel):
    kernel.run("%%durable\nhandle = display('at first', display_id='kept')")
    ran = kernel.run("_replay()\nhandle.update('later')")
    assert [one["data"]["text/plain"] for one in ran.outputs] == ["'later'", "restored"]


def test_an_update_of_another_cell_is_sent_again(kernel):
    kernel.run("display('theirs', display_id='other')")
    kernel.run("%%durable\nupdate_display('changed', display_id='other')")
    (update,) = kernel.run("_replay()").of("update_display_data")
    assert update["transient"] == {"display_id": "other"}
    assert update["data"]["text/plain"] == "'changed'"


def test_an_error_is_shown_but_does_not_fail_the_cell_by_itself(kernel):
    kernel.run("%%durable\nraise ValueError('was')")
    ran = kernel.run("_replay()")
    (error,) = ran.errors
    assert (error["ename"], error["evalue"]) == ("ValueError", "was")


def test_a_badge_has_a_stable_text_and_quiet_html_with_the_colours_of_the_theme():
    shown = badge("restored · ran <3 m> on 20 Nov 14:02", "restored")
    assert shown["data"]["text/plain"] == "restored"
    html = shown["data"]["text/html"]
    assert "ran &lt;3 m&gt; on 20 Nov 14:02" in html
    assert 'role="note"' in html
    assert 'aria-hidden="true"' in html
    assert "<script" not in html
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb\(", html) == []


CELL = "print('text')\ndisplay(HTML('<b>x</b>'))\nplt.plot([1, 2])\nplt.show()\n{'a': 1}"


def test_a_replay_in_a_new_kernel_fills_the_notebook_with_equal_outputs(tmp_path, monkeypatch):
    for name, value in (("PYTHONPATH", str(ROOT)), ("IPYTHONDIR", str(tmp_path))):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    begin = (
        TRIAL + "from IPython.display import HTML, display\n%matplotlib inline\nimport matplotlib.pyplot as plt, json"
    )
    keep = "json.dump(_outcomes[-1].outputs, open('stored.json', 'w'))"
    load = "_stored = json.load(open('stored.json'))"
    first = executed(tmp_path, begin, f"%%durable\n{CELL}", keep)
    again = executed(
        tmp_path, begin, load, "replay(get_ipython(), [*_stored, badge('restored · long ago', 'restored')])"
    )
    *restored, last = again.cells[2].outputs
    assert json.loads(json.dumps(restored)) == [
        {**one, "execution_count": 3} if "execution_count" in one else one
        for one in json.loads(json.dumps(first.cells[1].outputs))
    ]
    assert last["data"]["text/plain"] == "restored"


def executed(folder, *cells):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, record_timing=False
    )
    return client.execute()
