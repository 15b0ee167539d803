"""A class of a notebook or script is one class in every process, and values name it instead of carrying bytecode."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from durable_nb.stores.library import sqlite

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
@step(isolate=True, retry=Retry(max_attempts=3, first=0.001, retry_on=(Oops,)))
def apart(given, local):
    assert isinstance(given, Order) and isinstance(local, Local)
    if current_step().attempt < 2: raise Oops(1)
    return Order(given.double())

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
    return [first, second, shaky(5), bounded(given, Colour.RED), attempt, given == order(5), Local is type(local),
            apart(given, local) == Order(10)]

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

SHOP = """
import enum
from dataclasses import dataclass
@dataclass
class Price:
    amount: int
class Kind(enum.Enum):
    NEW = 1
class Sold(Exception): pass
class Plain:
    def __init__(self, price): self.price = price
"""

SELLER = """
import os
import shop
from shop import Kind
from durable_nb import connect, flow, step
@step
def price(): return shop.Price(3), Kind.NEW, shop.Plain(shop.Price(4))
@step
def sell(given): raise shop.Sold(given.amount)
@flow
def work():
    given, kind, plain = price()
    try: sell(given)
    except shop.Sold as error: sold = error.args
    if os.environ.get("DIE"): os.kill(os.getpid(), 9)
    return [isinstance(given, shop.Price), kind is Kind.NEW, isinstance(plain.price, shop.Price), sold, price() == price()]
if __name__ == "__main__":
    connect("log.db")
    work["r"]()
"""

READER = """
import sys
from durable_nb import connect, runs
with connect(sys.argv[1]) as app:
    try: print(runs["r"].result(20))
    except Exception as error: print(type(error).__name__, error, runs["r"].why())
"""

ANSWERS = [True, True, True, True, True, True, 50, True, True, 4, 6, 6]
EXPECTED = {
    "work": str([ANSWERS, ANSWERS, 15, 10, 1, True, True, True]),
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


@pytest.mark.slow
@OTHERS
@pytest.mark.parametrize("what", EXPECTED)
def test_process_that_never_saw_the_classes_goes_on_with_them(what: str, python: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    killed = _run(sys.executable, "script.py", what, cwd=tmp_path, DIE="1")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = _run(python, "-c", READER, "log.db", cwd=tmp_path)
    assert done.stdout.strip() == EXPECTED[what], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("what", EXPECTED)
def test_process_that_defines_the_classes_again_goes_on_with_its_own(what: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    killed = _run(sys.executable, "script.py", what, cwd=tmp_path, DIE="1")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = _run(sys.executable, "script.py", what, cwd=tmp_path)
    assert done.stdout.strip() == EXPECTED[what], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "elsewhere"])
def test_class_of_a_first_party_module_is_one_where_the_module_is_not_imported(folder: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "seller.py").write_text(SELLER)
    killed = _run(sys.executable, "seller.py", cwd=tmp_path, DIE="1")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = _run(sys.executable, "-c", READER, str(tmp_path / "log.db"), cwd=tmp_path / folder)
    assert done.stdout.strip() == "[True, True, True, (3,), False]", done.stdout + done.stderr


FINISHED = """
from dataclasses import dataclass
from durable_nb import connect, flow, step
RATE = 3
@dataclass
class Base:
    n: int
    def rated(self): return self.n * RATE
class Order(Base):
    def rated(self): return super().rated() + 1
@step
def order(): return Order(5)
@flow
def work(): return order()
if __name__ == "__main__":
    with connect("log.db"): work["r"]()
"""

RESULT = """
import sys
from durable_nb import connect, runs
with connect("log.db", carry=False) as app:
    try:
        first, second = runs["r"].result(5), runs["r"].result(5)
        print(first.rated(), type(first) is type(second), type(first).__bases__[0].__qualname__)
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def once_finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "script.py").write_text(FINISHED)
    done = _run(sys.executable, "script.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def finished(once_finished: Path, tmp_path: Path) -> Path:
    """A folder of its own with a log in which a run has returned an object of a script's class."""
    return shutil.copytree(once_finished, tmp_path, dirs_exist_ok=True)


def changed(folder: Path, statement: str) -> None:
    with closing(sqlite.connect(folder / "log.db")) as log:
        assert log.execute(statement).rowcount
        log.commit()


@OTHERS
def test_result_is_read_with_the_class_of_the_log(python: str, finished: Path) -> None:
    assert _run(python, "-c", RESULT, cwd=finished).stdout.strip() == "16 True Base"


def test_value_holds_no_bytecode_and_no_part_of_the_class(finished: Path) -> None:
    with closing(sqlite.connect(finished / "log.db")) as log:
        (data,) = log.execute("select data from event where kind = 'returned'").fetchone()
        names = log.execute("select name from code where kind = 'class'").fetchall()
    pickled = base64.b64decode(json.loads(data)["data"])
    assert b"cloudpickle" not in pickled
    assert b"rated" not in pickled
    assert names == [("__main__:Order",)]


def test_class_that_nobody_has_is_named_with_what_to_do(finished: Path) -> None:
    changed(finished, "delete from code where kind = 'class'")
    said = _run(sys.executable, "-c", RESULT, cwd=finished).stdout
    assert said.startswith("UnknownCode ")
    assert "class `Order` of __main__ is not defined here, and its code is not in the log" in said
    assert "run its cell or import its module" in said


def test_class_signed_by_somebody_else_is_not_restored(finished: Path) -> None:
    changed(finished, "update code set document = cast(replace(document, 'RATE', 'rate') as blob) where kind = 'class'")
    said = _run(sys.executable, "-c", RESULT, cwd=finished).stdout
    assert said.startswith("Untrusted the code of class `__main__:Order` was not stored with your key"), said


def test_live_class_of_that_name_is_preferred_whatever_its_source(finished: Path) -> None:
    done = _run(sys.executable, "-c", f"class Order:\n    def rated(self): return 'live'\n{RESULT}", cwd=finished)
    assert done.stdout.strip() == "live True object", done.stderr


def test_method_that_lacks_a_global_says_so_when_it_is_called(tmp_path: Path) -> None:
    script = FINISHED.replace("RATE = 3", "import threading\nRATE = threading.Lock()")
    (tmp_path / "script.py").write_text(script)
    assert _run(sys.executable, "script.py", cwd=tmp_path).returncode == 0
    said = _run(sys.executable, "-c", RESULT, cwd=tmp_path).stdout
    assert said.startswith("NameError 'RATE' is not here"), said
