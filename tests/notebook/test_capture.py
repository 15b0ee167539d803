"""notebook/capture.py: all that a cell shows is copied, and shown as if nobody copied it."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.notebook.kernels import ROOT, TRIAL, Kernel, shown


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("capture"))
    assert kernel.run(TRIAL).reply["status"] == "ok"
    setting = "import sys, os, threading, logging, warnings, subprocess, ctypes, time\n" + SETTING
    assert kernel.run(setting).reply["status"] == "ok"
    yield kernel
    kernel.close()


SETTING = """
from IPython.display import display, clear_output, HTML, update_display
log = logging.getLogger("trial")
log.addHandler(logging.StreamHandler(sys.stderr))
libc = ctypes.CDLL(None)
"""

KINDS = {
    "print": "print('one'); print('two')",
    "stderr": "print('bad', file=sys.stderr)",
    "html": "display(HTML('<b>x</b>'), {'a': 1})",
    "display_id": "h = display('old', display_id=True)\nprint('-')\nh.update('new')",
    "named_display": "display('first', display_id='mine'); update_display('second', display_id='mine')",
    "figure": "%matplotlib inline\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])\nprint('drawn')",
    "figure_result": "plt.plot([3, 1])",
    "tqdm": "import tqdm\nfor _ in tqdm.tqdm(range(50), mininterval=0, bar_format='{n_fmt}/{total_fmt}'): pass",
    "tqdm_notebook": "import tqdm.notebook\nfor _ in tqdm.notebook.tqdm(range(3), bar_format='{n_fmt}'): pass",
    "widget": "import ipywidgets\nipywidgets.IntSlider(value=3)",
    "clear_output": "print('gone'); clear_output(); print('stays')",
    "clear_output_wait": "for n in range(5):\n    clear_output(wait=True)\n    display(n)",
    "shell": "!echo from a shell",
    "os_system": "_ = os.system('echo from system')",
    "c": "libc.puts(b'from c'); _ = libc.fflush(None)",
    "subprocess": "print('before'); sys.stdout.flush(); _ = subprocess.run(['echo', 'from a child'])",
    "logging": "log.warning('logged')",
    "warnings": "warnings.warn('warned')",
    "threads": "ts = [threading.Thread(target=print, args=('thread',)) for _ in range(3)]\n"
    "for t in ts: t.start(); t.join()",
    "carriage_returns": "for n in range(300): print(n, end='\\r', flush=True)",
    "result": "[1, 2, 3]",
    "error": "print('first'); 1 / 0",
}


def visible(outputs):
    """Without what is left out on purpose: ids of displays, and views of widgets that die with the kernel."""
    views = "application/vnd.jupyter.widget-view+json"
    found = []
    for one in outputs:
        data = {key: value for key, value in one.get("data", {}).items() if key != views}
        text = {"text": one["text"].replace("\r\n", "\n")} if "text" in one else {}
        found.append({key: value for key, value in one.items() if key not in ("transient",)} | {"data": data} | text)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_is_what_was_shown(kernel, kind):
    ran = kernel.run(f"%%durable\n{KINDS[kind]}")
    stored = kernel.value("_outcomes[-1].outputs")
    assert stored
    ours = visible(stored)
    live = visible(ran.outputs)
    if kind in ("carriage_returns", "tqdm"):  # only the last of them can be seen
        ours, live = (
            [{**one, "text": one["text"].rstrip("\r").split("\r")[-1]} for one in ours],
            [{**one, "text": one["text"].rstrip("\r").split("\r")[-1]} for one in live],
        )
        assert [one["text"] for one in ours] == [{"carriage_returns": "299", "tqdm": "50/50\n"}[kind]]
    if kind == "tqdm_notebook":  # a page shows the widget as it is now; what was sent once for others stood at nothing
        assert [one["data"].pop("text/plain") for one in (*live, *ours)] == ["0", "3"]
    assert ours == live


def test_figures_are_flushed_within_the_capture_and_shown_once(kernel):
    ran = kernel.run(f"%%durable\n{KINDS['figure']}")
    stored = kernel.value("[sorted(one.get('data', [])) for one in _outcomes[-1].outputs]")
    assert [sorted(one.get("data", [])) for one in ran.outputs] == stored
    assert [one for one in stored if one] == [["image/png", "text/plain"]]


def test_many_alternating_messages_are_stored_in_their_order(kernel):
    body = "for n in range(200):\n    print(n)\n    sys.stdout.flush()\n    print(-n, file=sys.stderr)\n    display(n)"
    ran = kernel.run(f"%%durable\n{body}")
    assert kernel.value("len(_outcomes[-1].outputs)") == 600
    assert visible(kernel.value("_outcomes[-1].outputs")) == visible(ran.outputs)


def test_what_a_child_writes_at_the_very_end_is_stored(kernel):
    kernel.run("_outcomes.clear()")
    for _ in range(30):
        kernel.run("%%durable\n_ = subprocess.run(['echo', 'last words'])")
    kept = kernel.value("[[one['text'] for one in outcome.outputs] for outcome in _outcomes]")
    assert kept == [["last words\n"]] * 30


def test_text_of_before_belongs_to_no_body(kernel):
    code = "print('before')\noutcome = run_body(get_ipython(), 'print(1)', capture=capture_of(get_ipython()))\nprint('after')"
    ran = kernel.run(code)
    assert kernel.value("[one['text'] for one in outcome.outputs]") == ["1\n"]
    assert ran.text == "before\n1\nafter\n"


def test_after_the_cell_nothing_listens(kernel):
    kernel.run("%%durable\nprint('x')\nraise ValueError")
    assert kernel.value("'send' in vars(get_ipython().kernel.session)") is False


def test_ten_megabytes_are_cut_and_the_cell_shows_them_all(kernel):
    ran = kernel.run("%%durable\nfor _ in range(1000): print('x' * 10_000)")
    assert len(ran.text) == 10_001_000
    size, end = kernel.value("(lambda text: [len(text), text[-50:]])(_outcomes[-1].outputs[0]['text'])")
    assert size < 1.1 * 1024 * 1024
    assert end.endswith("[output cut after 1048576 characters]\n")


def test_an_output_that_came_too_late_goes_to_its_cell_and_is_not_stored(kernel):
    begun = kernel.begin(
        "%%durable\nimport asyncio\nasync def late():\n    print('late')\ntask = asyncio.ensure_future(late())"
    )
    ran = kernel.finish(begun)
    messages = kernel.finish(kernel.begin("await task")).foreign
    assert kernel.value("_outcomes[-1].outputs") == []
    late = [one for one in [*ran.messages, *messages] if one["content"].get("text") == "late\n"]
    assert [one["parent_header"]["msg_id"] for one in late] == [begun]


def test_a_body_that_awaits_is_captured_too(kernel):
    ran = kernel.run("%%durable\nimport asyncio\nprint('a')\nawait asyncio.sleep(0)\nprint('b')\n'c'")
    assert kernel.value("_outcomes[-1].outputs") == ran.outputs
    assert ran.text == "a\nb\n"


PLAIN = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell('''
from IPython.display import display, HTML
from durable_nb.notebook.body import run_body
from durable_nb.notebook.capture import capture_of
import sys
def trial(line, cell):
    global outcome
    outcome = run_body(get_ipython(), cell, capture=capture_of(get_ipython()))
    outcome.raise_error()
get_ipython().register_magic_function(trial, "cell", "durable")
''')
before = sys.stdout
result = shell.run_cell('''%%durable
print("text")
h = display(HTML("<b>x</b>"), display_id="mine")
h.update("changed")
print("bad", file=sys.stderr)
6 * 7''', store_history=True)
assert result.result == 42
assert sys.stdout is before
assert "publish" not in vars(shell.display_pub)
print("STORED" + json.dumps(shell.user_ns["outcome"].outputs))
"""


def test_without_a_kernel_the_same_is_stored(tmp_path):
    env = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    printed, _, stored = done.stdout.partition("STORED")
    outputs = json.loads(stored)
    assert [(one["output_type"], one.get("text") or one["data"]["text/plain"]) for one in outputs] == [
        ("stream", "text\n"),
        ("display_data", "'changed'"),
        ("stream", "bad\n"),
        ("execute_result", "42"),
    ]
    assert outputs[1]["transient"] == {"display_id": "mine"}
    assert "text\n" in printed
    assert "42" in printed
    assert "bad" in done.stderr


def test_nbclient_sees_nothing_of_the_capture(kernel):
    plain = kernel.run("print('a'); display(1); 2")
    durable = kernel.run("%%durable\nprint('a'); display(1); 2")
    assert [one["msg_type"] for one in plain.messages] == [one["msg_type"] for one in durable.messages]
    assert visible(shown(plain.messages))[:2] == visible(shown(durable.messages))[:2]
