"""Real kernels for tests: one per module, driven as a front end drives them."""

import json
import os
import queue
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from jupyter_client.manager import KernelManager
from nbclient.exceptions import CellExecutionComplete

import durable_nb

PATIENCE = 60  # seconds until a test that hangs fails
ROOT = Path(durable_nb.__file__).parent.parent


@dataclass
class Ran:
    """What came of one request."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    foreign: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """As nbclient would write them into the notebook, streams joined where they follow each other."""
        return shown(self.messages)

    @property
    def text(self) -> str:
        """All that was written to stdout."""
        return "".join(one["text"] for one in self.outputs if one.get("name") == "stdout")

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [one["content"] for one in self.messages if one["msg_type"] == "error"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one["content"] for one in self.messages if one["msg_type"] == kind]


class Kernel:
    """One kernel process and its client."""

    def __init__(self, folder: Path) -> None:
        env = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}  # it stops the fd watch
        env |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython"), "JPY_SESSION_NAME": ""}
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=env, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.client.context.term()

    def run(self, code: str, answers: tuple[str, ...] = ()) -> Ran:
        """Run a cell to its end."""
        return self.finish(self.begin(code, allow_stdin=bool(answers)), answers)

    def begin(self, code: str, allow_stdin: bool = False) -> str:
        return self.client.execute(code, allow_stdin=allow_stdin, stop_on_error=False)

    def finish(self, request: str, answers: tuple[str, ...] = ()) -> Ran:
        ran, left = Ran(), list(answers)
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0.05 if answers else PATIENCE)
            except queue.Empty:
                if self.client.stdin_channel.msg_ready():
                    self.client.get_stdin_msg(timeout=PATIENCE)
                    self.client.input(left.pop(0))
                continue
            if message["parent_header"].get("msg_id") != request:
                ran.foreign.append(message)
                continue
            ran.messages.append(message)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == request:
                ran.reply = reply["content"]
                return ran

    def wait_for(self, request: str, text: str) -> list[dict[str, Any]]:
        """Read messages of the request until one of its streams says so; they are gone then."""
        seen = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            seen.append(message)
            is_ours = message["parent_header"].get("msg_id") == request
            if is_ours and text in message["content"].get("text", ""):
                return seen

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel, by JSON."""
        ran = self.run(f"import json as _json; print(_json.dumps({expression}))")
        assert ran.reply["status"] == "ok", ran.errors
        return json.loads(ran.text)

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()


def shown(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a reader sees of these messages: nbclient's own way of taking them in."""
    cell = nbformat.v4.new_code_cell()
    reader = nbclient.NotebookClient(nbformat.v4.new_notebook(cells=[cell]), record_timing=False)
    reader.reset_execution_trackers()
    reader.clear_before_next_output = False
    for message in messages:
        try:
            reader.process_message(message, cell, 0)
        except CellExecutionComplete:
            break
    joined: list[dict[str, Any]] = []
    for output in json.loads(json.dumps(cell.outputs)):
        before = joined[-1] if joined else {}
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            before["text"] += output["text"]
        else:
            joined.append(output)
    return joined


# A trial of a durable cell: nothing is stored, the outcome is kept in a variable.
TRIAL = """
from durable_nb.notebook.body import run_body, run_body_awaiting
from durable_nb.notebook.capture import capture_of
from durable_nb.notebook.replaying import badge, replay
from durable_nb.notebook.transform import awaits, install

_outcomes = []

def _durable(line, cell):
    shell = get_ipython()
    if awaits(shell, cell):
        return _awaiting(line, cell)
    _outcomes.append(run_body(shell, cell, capture=capture_of(shell)))
    _outcomes[-1].raise_error()

async def _awaiting(line, cell):
    shell = get_ipython()
    _outcomes.append(await run_body_awaiting(shell, cell, capture=capture_of(shell)))
    _outcomes[-1].raise_error()

def _replay():
    replay(get_ipython(), [*_outcomes[-1].outputs, badge("restored", "restored")])

_durable._ipython_magic_no_var_expand = True
get_ipython().register_magic_function(_durable, "cell", "durable")
install(get_ipython())
"""
