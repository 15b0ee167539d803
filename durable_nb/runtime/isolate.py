"""A step in a process of its own: it can be killed, and when it crashes it takes nothing with it."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import Any

from durable_nb.durations import spoken
from durable_nb.errors import StepFailed, StepTimeout, Uncapturable
from durable_nb.flows.place import StepPlace
from durable_nb.flows.source.capture import capture
from durable_nb.flows.source.identity import refer
from durable_nb.flows.source.parcel import pack, unpack
from durable_nb.flows.step import Step


def run_isolated(step: Step[..., Any], args: Any, kwargs: Any, here: StepPlace, timeout: float | None) -> Any:
    """Run the step's body in a fresh Python and return its value or raise its failure."""
    order = _order(step, args, kwargs, here)
    receive, send = os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "durable_nb.runtime.child", str(send)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(send,),
        )
    finally:
        os.close(send)
    readers = [_copy(child.stdout, "stdout", here), _copy(child.stderr, "stderr", here)]
    result: list[bytes] = []
    answer = _begin(lambda: result.append(_whole(receive)))
    _begin(lambda: _feed(child, order))
    answer.join(timeout)
    if answer.is_alive():
        child.kill()
        answer.join()
        child.wait()
        raise StepTimeout(f"step `{step.name}` took longer than its timeout of {spoken(timeout or 0)} and was killed")
    child.wait()
    for reader in readers:
        reader.join()
    if not result or not result[0]:
        raise StepFailed(f"step `{step.name}` {_how_it_died(child.returncode)}; its process took nothing else with it")
    return _value(result[0])


def _order(step: Step[..., Any], args: Any, kwargs: Any, here: StepPlace) -> bytes:
    code = capture(step.function, refer)
    if code.missing:
        names = "; ".join(f"`{gap.name}` ({gap.why})" for gap in code.missing)
        raise Uncapturable(f"step `{step.name}` cannot be isolated, it uses what cannot travel: {names}")
    if step.instance is not None:
        args = (step.instance, *args)
    place = (here.id, here.uid, here.execution, here.ask, here.name, here.attempt)
    given = pack((args, kwargs), f"what is given to step `{step.name}`")
    return pickle.dumps((sys.path, code.document, step.is_async, given, place))


def _value(answer: bytes) -> Any:
    is_value, content = unpack(answer)
    if is_value:
        return content
    raise content


def _how_it_died(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended its process with exit code {code} instead of returning"


def _feed(child: "subprocess.Popen[bytes]", order: bytes) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(order)
        child.stdin.close()
    except BrokenPipeError:
        return  # it has died already; the answer, or its absence, tells


def _whole(receive: int) -> bytes:
    with os.fdopen(receive, "rb") as pipe:
        return pipe.read()


def _copy(pipe: Any, stream: str, here: StepPlace) -> threading.Thread:
    def run() -> None:
        with pipe:
            for line in pipe:
                if here.sink is not None:
                    here.sink.write(here.ask, here.attempt, stream, line.decode("utf-8", "replace"))

    return _begin(run)


def _begin(run: Any) -> threading.Thread:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
