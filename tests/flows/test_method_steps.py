"""Steps that are methods, away from their flow: in another life of the script, and in a process that never saw the class."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable_nb import App, BadArguments, flow, step

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


class Till:
    def __init__(self) -> None:
        self.sum = 0

    @step(retry=3)
    def add(self, amount: int, times: int = 1) -> int:
        """Put it in."""
        self.sum += amount * times
        return self.sum

    @flow
    def fill(self) -> list[int]:
        more = self.add.options(retry=1)
        return [self.add(2), self.add(3, times=2), more(1)]


def test_method_step_looks_at_its_function_once_for_all_objects() -> None:
    one, other = Till(), Till()
    assert one.add.arguments is other.add.arguments
    assert one.add.arguments is not Till.add.arguments
    assert one.add.instance is one
    assert other.add.instance is other


def test_method_step_of_an_object_is_like_the_one_of_its_class() -> None:
    till = Till()
    assert (till.add.__name__, till.add.__doc__, till.add.name) == ("add", "Put it in.", "Till.add")
    assert (till.add.owner, till.add.options_) == (Till, Till.add.options_)
    assert (till.add(2), till.add(3, times=2), Till.add(till, 1)) == (2, 8, 9)
    assert Till.add.instance is None


def test_method_steps_in_a_flow_share_its_object(durable_app: App) -> None:
    assert Till.fill["r"]() == [2, 8, 9]


def test_wrong_arguments_of_a_method_step_are_refused_without_self(durable_app: App) -> None:
    class Wrong:
        @step(name="method.add")
        def add(self, amount: int) -> int:
            return amount

        @flow(name="method.wrong")
        def wrong(self) -> int:
            return self.add(1, 2)  # type: ignore[call-arg]

    with pytest.raises(BadArguments, match=r"step `method.add`\(amount: int\) -> int: too many"):
        Wrong.wrong["r"]()
