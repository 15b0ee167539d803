"""A class of a notebook or script is one class in every process, and values name it instead of carrying bytecode."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = '''
import enum, os, sys
from collections import namedtuple
from dataclasses import dataclass
from durable_nb import Retry, connect, current_step, flow, sleep, step

RATE = 3
@dataclass
class Order:
    n: int
    def double(self): return self.n * 2
class Trouble(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code
class Oops(Trouble):
    def __init__(self, code): super().__init__(code)
    def rated(self): return self.code * RATE
class Final(Oops): pass
class Colour(enum.Enum):
    RED = 1
    GREEN = "g"
    def next(self): return Colour.GREEN
Size = enum.Enum("Size", "SMALL LARGE")
Pair = namedtuple("Pair", "left right")
def helper(x): return x * RATE
def make(base):
    class Local:
        def get(self): return base
    return Local
Local = make(50)
class Box:
    class Lid:
        def open(self): return "open"

@step(retry=Retry(max_attempts=5, first=0.001, retry_on=(Oops,), give_up_on=Final))
def shaky(x):
    if current_step().attempt < 3: raise Oops(x)
    return helper(x)
@step(retry=Retry(max_attempts=5, first=0.001, retry_on=(Oops,), give_up_on=Final))
def hopeless():
    raise Final(current_step().attempt)
@step
def failing(n): raise Oops(n)
@step
def order(n): return Order(n)
@step
def things(): return [Colour.RED, Size.LARGE, Pair(1, 2), Local(), Box.Lid(), Oops, {"f": lambda x: x + RATE, "h": helper}]
@step(timeout=20)
def bounded(given, colour):
    assert isinstance(given, Order) and colour is Colour.RED
    return given.double()

def answers():
    """Asked before the kill and after it."""
    given, (colour, size, pair, local, lid, error, functions) = order(5), things()
    try: failing(2)
    except Oops as caught: code = caught.rated()
    return given, local, [
        isinstance(given, Order), colour is Colour.RED, colour.next() is Colour.GREEN, size is Size.LARGE,
        isinstance(pair, Pair), isinstance(local, Local), local.get(), isinstance(lid, Box.Lid), error is Oops,
        functions["f"](1), functions["h"](2), code]

@flow
def work():
    given, local, first = answers()
    if os.environ.get("DIE"): os.kill(os.getpid(), 9)
    sleep(0.001)
    _, _, second = answers()
    try: hopeless()
    except Final as caught: attempt = caught.code
    return [first, second, shaky(5), bounded(given, Colour.RED), attempt, given == order(5), Local is type(local)]

class Signup:
    def __init__(self): self.log = []
    @step
    def hello(self, name):
        return self.word() + name
    def word(self): return "hello "
    @flow
    def register(self, name):
        self.log.append(self.hello(name))
        if os.environ.get("DIE"): os.kill(os.getpid(), 9)
        return [self.log, self.hello(name.upper()), isinstance(self, Signup)]

if __name__ == "__main__":
    with connect("log.db") as app:
        print(work["r"]() if sys.argv[1] == "work" else Signup.register["r"]("bob"))
'''

READER = """
from durable_nb import connect, runs
with connect("log.db") as app:
    try: print(runs["r"].result(20))
    except Exception as error: print(type(error).__name__, error, runs["r"].why())
"""

ANSWERS = [True, True, True, True, True, True, 50, True, True, 4, 6, 6]
EXPECTED = {
    "work": str([ANSWERS, ANSWERS, 15, 10, 3, True, True]),
    "signup": str([["hello bob"], "hello BOB", True]),
}


def _pythons() -> list[str]:
    """This Python and others on the path that have what durable_nb needs."""
    found = [sys.executable]
    for name in ("python3.11", "python3.12", "python3.13", "python3.14"):
        path = shutil.which(name)
        needs = "import sys, durable_nb.app; print(*sys.version_info[:2], sep='.')"
        if path and name[6:] != f"{sys.version_info.major}.{sys.version_info.minor}":
            answer = _run(path, "-c", needs, cwd=ROOT)
            if answer.returncode == 0 and answer.stdout.strip() == name[6:]:
                found.append(path)
    return found


def _run(python: str, *arguments: str, cwd: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}
    return subprocess.run([python, *arguments], capture_output=True, text=True, env=environment, cwd=cwd, check=False)


PYTHONS = _pythons()
OTHERS = pytest.mark.parametrize("python", PYTHONS, ids=lambda path: Path(path).name)


@OTHERS
@pytest.mark.parametrize("what", EXPECTED)
def test_process_that_never_saw_the_classes_goes_on_with_them(what: str, python: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    killed = _run(sys.executable, "script.py", what, cwd=tmp_path, DIE="1")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = _run(python, "-c", READER, cwd=tmp_path)
    assert done.stdout.strip() == EXPECTED[what], done.stderr


@pytest.mark.parametrize("what", EXPECTED)
def test_process_that_defines_the_classes_again_goes_on_with_its_own(what: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    killed = _run(sys.executable, "script.py", what, cwd=tmp_path, DIE="1")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = _run(sys.executable, "script.py", what, cwd=tmp_path)
    assert done.stdout.strip() == EXPECTED[what], done.stderr
