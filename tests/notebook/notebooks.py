"""Notebooks that are run as a whole by real processes, and what is left of them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.notebook.kernels import PATIENCE, ROOT

LEDGER = """
import os, signal, time
def note(what):
    with open("ledger.txt", "a") as file:
        file.write(what + "\\n")
def wait_for(name):
    open("begun", "w").close()
    while not os.path.exists(name):
        time.sleep(0.01)
"""


_begun: "list[subprocess.Popen[str]]" = []


class Said(NamedTuple):
    """What a process said and its exit code."""

    code: int
    out: str
    err: str


def write(path: Path, *sources: str, tags: Mapping[int, str] = {}, kernel: str = "python3") -> Path:
    """A notebook with a title and these cells."""
    cells = [
        new_code_cell(source, metadata={"tags": [tags[n]]} if n in tags else {}) for n, source in enumerate(sources)
    ]
    spec = {"name": kernel, "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=[new_markdown_cell("# A notebook"), *cells], metadata={"kernelspec": spec})
    nbformat.write(notebook, path)
    return path


def read(path: Path) -> list[Any]:
    """Its code cells."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def shown(path: Path) -> list[str]:
    """What each code cell shows, as text."""
    return ["".join(_text(output) for output in cell.outputs) for cell in read(path)]


def _text(output: Any) -> str:
    match output.output_type:
        case "stream":
            return str(output.text)
        case "error":
            return f"{output.ename}: {output.evalue}"
        case _:
            return str(output.data["text/plain"])


def begin(folder: Path, module: str, *words: str, **env: str) -> "subprocess.Popen[str]":
    """A Python module as a process in that folder."""
    environ = {key: value for key, value in os.environ.items() if key not in ("DURABLE_NB_LOG", "JPY_SESSION_NAME")}
    environ |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython"), **env}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environ,
    )  # fmt: skip
    _begun.append(process)
    return process


def kill_all() -> None:
    """What a test that has failed has left behind."""
    while _begun:
        process = _begun.pop()
        if process.returncode is None:
            process.kill()
            process.communicate(timeout=PATIENCE)


def write_kernel(folder: Path, name: str, script: str) -> None:
    """A kernel whose process is a shell script; found by commands with JUPYTER_PATH=folder."""
    home = folder / "kernels" / name
    home.mkdir(parents=True)
    argv = ["sh", "-c", script.format(python=sys.executable, file="{connection_file}")]
    home.joinpath("kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": "python"}))


def begin_durable(folder: Path, *words: str, **env: str) -> "subprocess.Popen[str]":
    return begin(folder, "durable_nb.cli.main", *words, **env)


def end(process: "subprocess.Popen[str]") -> Said:
    out, err = process.communicate(timeout=2 * PATIENCE)
    return Said(process.returncode, out, err)


def durable(folder: Path, *words: str, **env: str) -> Said:
    """`durable …`, to its end."""
    return end(begin_durable(folder, *words, **env))


def until(condition: Callable[[], bool], what: str, process: "subprocess.Popen[str] | None" = None) -> None:
    """Look again and again; fail when the process that should bring it about has ended, or nothing comes of it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"it ended before {what}: {end(process)}")
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def kernels(log: Path) -> list[int]:
    """The kernels that are alive and have this log, whoever their parent is by now."""
    return [one.pid for one in psutil.process_iter() if _is_kernel_of(one, str(log))]


def _is_kernel_of(process: psutil.Process, log: str) -> bool:
    try:
        return "ipykernel_launcher" in process.cmdline() and process.environ().get("DURABLE_NB_LOG") == log
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def ledger(folder: Path) -> list[str]:
    """What the cells did to the world."""
    path = folder / "ledger.txt"
    return path.read_text().split() if path.exists() else []
