"""notebook/background.py: what runs of the background show is in the log, never in a stranger's cell."""

import json
from collections.abc import Iterator

import pytest

from tests.notebook.kernels import TRIAL, Kernel

SETTING = """
import asyncio, json, logging, sys, threading, warnings
from IPython.display import HTML, clear_output, display
from durable_nb import connect, flow, step, gather, sleep
from durable_nb.notebook import background

kept = sys.stdout                                   # as libraries keep it that were imported early
log = logging.getLogger("steps")
log.addHandler(logging.StreamHandler(sys.stderr))
background.install(get_ipython())
app = connect("background.durable.db")
go, begun = threading.Event(), threading.Barrier(3)

def show(name):
    print(name, "text")
    print(name, "bad", file=sys.stderr)
    kept.write(name + " kept\\n")
    log.warning(name + " logged")
    kept.write(name + " last")
    warnings.warn(name + " warned")
    display(HTML(f"<b>{name}</b>"))
    handle = display(name + " old", display_id=True)
    handle.update(name + " new")
    clear_output()

@step
def noisy(name):
    begun.wait()
    show(name)
    go.wait()
    show(name)
    print("the end")

@step
async def noisy_async(name):
    await asyncio.to_thread(begun.wait)
    show(name)
    await asyncio.to_thread(go.wait)
    show(name)
    print("the end")

@step(timeout="10m")
def noisy_bounded(name):
    begun.wait()
    show(name)
    go.wait()
    show(name)
    print("the end")

@flow
def here(kind, name):
    print(name, "flow text")
    display(name + " flow display")
    globals()[kind](name)

@flow
def spawned(kind, name):
    globals()[kind].spawn(name).result()

def printed(run, last):
    "What the log has of the run, from the moment on when it has the last of it: a run may be over a little before."
    while last not in str(pieces := [[one.stream, one.text] for one in app.output(run.id)]):
        looked.wait(0.01)
    return pieces

looked = threading.Event()
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("background"))
    assert kernel.run(TRIAL).reply["status"] == "ok"
    assert kernel.run(SETTING).reply["status"] == "ok"
    yield kernel
    kernel.run("app.close()")
    kernel.close()


@pytest.mark.parametrize(
    ("flow", "kind", "magic"),
    [
        ("here", "noisy", ""),
        ("here", "noisy", "%%durable\n"),
        ("here", "noisy_bounded", ""),
        ("spawned", "noisy", ""),
        ("spawned", "noisy_async", ""),
        ("spawned", "noisy_bounded", "%%durable\n"),
    ],
)
def test_two_runs_beside_a_printing_cell_show_nothing_in_it(kernel, flow, kind, magic):
    kernel.run(
        f"go.clear(); begun.reset(); runs = [{flow}.start({kind!r}, name) for name in ('ann', 'bob')]; begun.wait()"
    )
    ran = kernel.run(
        f"{magic}print('mine')\ngo.set()\n_ = [run.result('1m') for run in runs]\n"
        "print('mine too', file=sys.stderr)\ndisplay('my display')"
    )
    assert [(one["output_type"], one.get("text") or one["data"]["text/plain"]) for one in ran.outputs] == [
        ("stream", "mine\n"),
        ("stream", "mine too\n"),
        ("display_data", "'my display'"),
    ]
    assert ran.foreign == []
    for name, pieces in zip(("ann", "bob"), kernel.value("[printed(run, 'the end') for run in runs]"), strict=True):
        texts = {kind: "".join(text for stream, text in pieces if stream == kind) for kind in ("stdout", "stderr")}
        assert texts["stdout"].count(f"{name} text\n") == texts["stdout"].count(f"{name} kept\n") == 2
        assert texts["stdout"].count(f"{name} last") == 2
        assert texts["stderr"].count(f"{name} bad\n") == texts["stderr"].count(f"{name} logged\n") == 2
        assert f"{name} warned" in texts["stderr"]
        shown = [json.loads(text) for stream, text in pieces if stream == "display"]
        plain = [(one["output_type"], one["data"]["text/plain"]) for one in shown if "flow" not in str(one["data"])]
        once = [
            ("display_data", "<IPython.core.display.HTML object>"),
            ("display_data", f"'{name} old'"),
            ("update_display_data", f"'{name} new'"),
        ]
        assert plain == once * 2
        other = {"ann": "bob", "bob": "ann"}[name]
        assert other not in str(pieces)


def test_a_run_that_is_carried_in_the_cell_shows_there_once_and_is_in_the_log(kernel):
    ran = kernel.run(
        "@step\ndef told():\n    print('from the step')\n    kept.write('kept\\n')\n    display('shown')\n"
        "@flow\ndef carried():\n    print('from the flow')\n    told()\n"
        "run = carried['in-this-cell']\nrun()"
    )
    shown = [one.get("text") or one["data"]["text/plain"] for one in ran.outputs]
    assert shown == ["from the flow\nfrom the step\nkept\n", "'shown'"]
    kinds = [stream for stream, _ in kernel.value("printed(run, 'shown')")]
    assert kinds == ["stdout", "stdout", "display"]


def test_what_flow_code_shows_again_while_it_replays_is_dropped(kernel):
    ran = kernel.run(
        "@step\ndef nothing():\n    pass\n@flow\ndef replayed():\n    print('once')\n    display('one display')\n"
        "    kept.write('kept once\\n')\n    nothing()\n    raise ValueError\n"
        "run = replayed['again']\n"
        "try:\n    run()\nexcept ValueError:\n    pass\n"
        "clear_output()\n"
        "run.retry()\n"
        "try:\n    run.result('1m')\nexcept ValueError:\n    pass"
    )
    assert [one for one in ran.outputs if "once" in str(one) or "one display" in str(one)] == []


def test_a_display_that_does_not_fit_is_named(kernel):
    kernel.run(
        "class Big:\n    def _repr_html_(self):\n        return 'x' * 2_000_000\n    def __repr__(self):\n        return 'Big!'\n"
        "@step\ndef big():\n    display(Big())\n@flow\ndef shows():\n    big()\nrun = shows.start()\nrun.result('1m')"
    )
    assert kernel.value("printed(run, 'Big')") == [["stderr", "[not stored, no room left: Big!]\n"]]


def test_a_traceback_that_a_step_shows_stays_with_it(kernel):
    ran = kernel.run(
        "@step\ndef shows_error():\n    try:\n        1 / 0\n    except ArithmeticError:\n        get_ipython().showtraceback()\n"
        "@flow\ndef fails():\n    shows_error()\nrun = fails.start()\nrun.result('1m')"
    )
    assert ran.errors == []
    ((stream, text),) = kernel.value("printed(run, 'Zero')")
    assert stream == "stderr"
    assert "ZeroDivisionError" in text


def test_it_is_installed_once_and_goes_without_a_trace(kernel):
    names = "[type(s).__name__ for s in background.kernel_streams()]"
    session = "vars(get_ipython().kernel.session)"
    kernel.run("background.install(get_ipython()); background.install(get_ipython())")
    assert kernel.value(f"[{names}, len({session}['send'].listeners)]") == [["Sorted", "Sorted"], 1]
    kernel.run("background.uninstall(get_ipython())")
    assert kernel.value(f"[{names}, 'send' in {session}]") == [["OutStream", "OutStream"], False]
    assert kernel.run("print('still here')").text == "still here\n"
    kernel.run("background.install(get_ipython())")
