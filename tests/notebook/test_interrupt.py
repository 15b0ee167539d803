"""notebook/interrupt.py: what ■ does to a durable cell, and that it never leaves a handler behind."""

import re
from collections.abc import Iterator

import pytest

from tests.notebook.kernels import TRIAL, Kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("interrupt"))
    assert kernel.run(TRIAL).reply["status"] == "ok"
    assert kernel.run(SETTING).reply["status"] == "ok"
    yield kernel
    kernel.close()


SETTING = """
import asyncio, os, signal, time
from durable_nb.notebook.interrupt import Awaiting, held_back

def press():
    os.kill(os.getpid(), signal.SIGINT)

def handler():
    return getattr(signal.getsignal(signal.SIGINT), "__qualname__", "?")
"""
DEFAULT = "default_int_handler"


def shown_error(ran) -> str:
    (error,) = ran.errors
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))


def pressed_when_begun(kernel, code):
    request = kernel.begin(code)
    kernel.wait_for(request, "begun")
    kernel.interrupt()
    return kernel.finish(request)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("x = 1\nprint('begun', flush=True); time.sleep(600)", 3),
        ("await asyncio.sleep(0)\nx = 1\nprint('begun', flush=True); time.sleep(600)", 4),
        ("x = 1\nprint('begun', flush=True); await asyncio.sleep(600)", 3),
        ("x = 1\nprint('begun', flush=True); await asyncio.gather(asyncio.sleep(600), asyncio.sleep(700))", 3),
    ],
    ids=["blocking", "blocking among awaits", "await", "gather"],
)
def test_an_interrupt_ends_the_body_at_once(kernel, body, line):
    ran = pressed_when_begun(kernel, f"%%durable\n{body}\nprint('after')")
    text = shown_error(ran)
    assert ran.reply["ename"] == "KeyboardInterrupt"
    assert f"----> {line} " in text
    assert "durable_nb" not in text
    assert "after" not in ran.text
    assert kernel.value("type(_outcomes[-1].error).__name__") == "KeyboardInterrupt"
    assert kernel.value("handler()") == DEFAULT


def test_blocking_code_of_a_task_beside_is_left_to_its_end(kernel):
    body = "ended = []\nasync def beside():\n    press()\n    ended.append(time.time())\n"
    ran = kernel.run(f"%%durable\n{body}await asyncio.gather(beside(), asyncio.sleep(600))")
    assert shown_error(ran).endswith("KeyboardInterrupt: ")
    assert kernel.value("len(ended)") == 1
    assert kernel.value("handler()") == DEFAULT


def test_an_interrupt_at_the_last_moment_is_not_lost(kernel):
    body = "async def last():\n    press()\nawait asyncio.ensure_future(last())"
    assert shown_error(kernel.run(f"%%durable\n{body}")).endswith("KeyboardInterrupt: ")
    assert kernel.value("handler()") == DEFAULT


def test_code_may_catch_the_interrupt_and_go_on(kernel):
    body = "try:\n    press()\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    caught = 1\nawait asyncio.sleep(0)\n'went on'"
    ran = kernel.run(f"%%durable\n{body}")
    assert ran.errors == []
    assert kernel.value("[caught, _]") == [1, "went on"]
    assert kernel.value("handler()") == DEFAULT


def test_code_that_catches_the_cancellation_of_its_await_goes_on(kernel):
    body = (
        "async def beside():\n    press()\ntask = asyncio.ensure_future(beside())\n"
        "try:\n    await asyncio.sleep(600)\nexcept asyncio.CancelledError:\n    caught = 2\n"
        "await asyncio.sleep(0.001)\nasync with asyncio.timeout(600):\n    await asyncio.sleep(0)\n"
    )
    ran = kernel.run(f"%%durable\n{body}\n")
    assert ran.errors == []
    assert kernel.value("caught") == 2


def test_a_cancellation_that_is_no_interrupt_stays_one(kernel):
    ran = kernel.run("%%durable\nraise asyncio.CancelledError('mine')\nawait f()")
    assert ran.reply["ename"] == "CancelledError"


def test_after_the_body_the_handler_of_the_kernel_is_back(kernel):
    kernel.run(
        "async def probe():\n    before = handler()\n    body = 'seen = handler()\\nawait asyncio.sleep(0)'\n"
        "    await run_body_awaiting(get_ipython(), body)\n"
        "    return [before, seen, handler()]\n"
        "found = await probe()"
    )
    before, seen, after = kernel.value("found")
    assert "handle_sigint" in before
    assert seen == "Awaiting._handle"
    assert after == before


def test_an_interrupt_while_something_is_stored_is_answered_afterwards(kernel):
    ran = kernel.run("done = []\nwith held_back('it is stored'):\n    press()\n    done.append(1)\ndone.append(2)")
    assert shown_error(ran) == "KeyboardInterrupt: it is stored"
    assert kernel.value("[done, handler()]") == [[1], DEFAULT]


def test_the_same_in_a_cell_that_awaits(kernel):
    code = "done = []\nawait asyncio.sleep(0)\nwith held_back('it is stored'):\n    press()\n    done.append(1)\ndone.append(2)"
    ran = kernel.run(code)
    assert shown_error(ran) == "KeyboardInterrupt: it is stored"
    assert kernel.value("[done, handler()]") == [[1], DEFAULT]


def test_a_failure_to_store_counts_for_more_than_the_interrupt(kernel):
    ran = kernel.run("with held_back('it is stored'):\n    press()\n    raise OSError('disk')")
    assert ran.reply["ename"] == "OSError"
    assert kernel.value("handler()") == DEFAULT


def test_without_an_interrupt_nothing_is_noticed(kernel):
    assert kernel.run("with held_back('it is stored'):\n    x = 5\nx").of("execute_result")
    assert kernel.value("handler()") == DEFAULT


def test_in_another_thread_nothing_is_held_back(kernel):
    kernel.run(
        "import threading\ndef elsewhere():\n    with held_back('x'):\n        seen.append(handler())\n"
        "seen = []\nt = threading.Thread(target=elsewhere)\nt.start(); t.join()"
    )
    assert kernel.value("seen") == [DEFAULT]


def test_a_step_that_is_interrupted_pauses_its_run_and_leaves_no_handler(kernel):
    kernel.run(
        "from durable_nb import connect, flow, step\napp = connect('interrupted.durable.db')\n"
        "@step\ndef long():\n    print('begun', flush=True)\n    time.sleep(600)\n"
        "@flow\ndef work():\n    return long()"
    )
    ran = pressed_when_begun(kernel, "%%durable\nwork['one']()")
    assert ran.reply["status"] == "error"
    assert kernel.value("[work['one'].status, handler()]") == ["paused", DEFAULT]
    kernel.run("app.close()")
