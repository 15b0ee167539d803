"""A notebook for tests: a folder, its log, and one kernel after another that opens it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import pytest

from tests.notebook.kernels import ROOT, Kernel, Ran

BADGE = "durable_nb"


class Life:
    """One kernel with the extension loaded, from its start to its end or its death."""

    def __init__(self, folder: Path, loads: bool = True) -> None:
        self.folder = folder
        self.log = folder / "nb.durable.db"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DURABLE_NB_LOG", str(self.log))
            self.kernel = Kernel(folder)
        self.told = self.run("%load_ext durable_nb").text if loads else ""

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kernel.close()

    def run(self, code: str, answers: tuple[str, ...] = ()) -> Ran:
        """A cell that must not fail."""
        ran = self.kernel.run(code, answers)
        assert ran.reply["status"] == "ok", "\n".join(line for error in ran.errors for line in error["traceback"])
        return ran

    def fail(self, code: str) -> str:
        """The one error of a cell that must fail: its last line, without colours; or what it wrote to stderr."""
        ran = self.kernel.run(code)
        assert ran.reply["status"] == "error"
        if not ran.errors:
            return "".join(one["text"] for one in ran.outputs if one.get("name") == "stderr").strip()
        (error,) = ran.errors
        return f"{error['ename']}: {error['evalue']}"

    def value(self, expression: str) -> object:
        return self.kernel.value(expression)

    def kill(self) -> None:
        """As a power cut would."""
        os.kill(self.kernel.manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]

    def ledger(self) -> list[str]:
        """What the cells did to the world."""
        path = self.folder / "ledger.txt"
        return path.read_text().split() if path.exists() else []


def badges(ran: Ran) -> list[str]:
    """The quiet lines of ours."""
    shown = [one for one in ran.of("display_data") if BADGE in one["metadata"]]
    return [one["data"]["text/plain"] for one in shown if one["data"]["text/plain"]]


def own(ran: Ran) -> list[dict[str, object]]:
    """The outputs of the cell itself."""
    return [one for one in ran.outputs if BADGE not in one.get("metadata", {})]


def durable(log: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as another process."""
    return subprocess.run(
        [sys.executable, "-m", "durable_nb.cli.main", *words, "--log", str(log)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


NOTE = """
def note(what):
    with open("ledger.txt", "a") as file:
        file.write(what + "\\n")
"""
