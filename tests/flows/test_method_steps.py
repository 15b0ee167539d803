"""Steps that are methods, away from their flow: in another life of the script, and in a process that never saw the class."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os
import signal
from pathlib import Path

from durable_nb import connect, flow, step


class Signup:
    greeting = "hello"

    @step(timeout=60)
    def greet(self, name: str) -> str:
        if not Path("was-killed").exists():
            Path("was-killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{self.greeting} {self.decorated(name)}"

    @step
    def store(self, text: str) -> str:
        return text.upper()

    def decorated(self, name: str) -> str:
        return f"*{name}*"

    @flow
    def register(self, name: str) -> str:
        return self.store(self.greet(name)) + self.decorated("!")


if __name__ == "__main__":
    with connect("log.durable.db"):
        print(Signup.register["bob"]("bob"))
"""
STRANGER = """
from durable_nb import connect, runs

with connect("log.durable.db"):
    print(runs["bob"].result(60))
"""


def python(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.slow
@pytest.mark.parametrize("again", ["script.py", "stranger.py"])
def test_method_step_with_a_timeout_goes_on_after_a_kill(again: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "stranger.py").write_text(STRANGER)
    assert python(tmp_path, "script.py").returncode == -signal.SIGKILL
    done = python(tmp_path, again)
    assert done.stdout == "HELLO *BOB**!*\n", done.stderr
