"""notebook/cut.py: an error of a magic is one red line that says what, and where in the cell."""

import pickle
import re
from collections.abc import Iterator

import pytest

from tests.notebook.kernels import Kernel

MAGIC = """
from IPython import get_ipython
from durable_nb.errors import UnknownRun
from durable_nb.notebook.cut import one_line

def _fails(line):
    with one_line(get_ipython()):
        raise {"ours": UnknownRun("there is no run 'x';\\n  %durable ls lists them"), "theirs": KeyError("x")}[line]

get_ipython().register_magic_function(_fails, "line", "fails")
"""
SETTING = f"open('trial_magic.py', 'w').write({MAGIC!r})\nimport trial_magic\nfrom durable_nb.errors import UnknownRun"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("cut"))
    assert kernel.run(SETTING).reply["status"] == "ok"
    yield kernel
    kernel.close()


def test_an_error_of_ours_is_one_red_line(kernel):
    ran = kernel.run("%fails ours")
    assert ran.errors[0]["traceback"] == ["\x1b[31mUnknownRun\x1b[39m: there is no run 'x'; %durable ls lists them"]
    assert (ran.reply["status"], ran.reply["ename"]) == ("error", "UnknownRun")


def test_below_other_lines_it_says_in_which_one(kernel):
    (line,) = kernel.run("x = 1\n\n%fails ours").errors[0]["traceback"]
    assert line.endswith("lists them · line 3 of this cell")


def test_any_other_error_is_a_bug_and_shown_as_one(kernel):
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(kernel.run("%fails theirs").errors[0]["traceback"]))
    assert "Traceback (most recent call last)" in text
    assert "KeyError" in text


def test_the_error_can_still_be_caught_and_pickled(kernel):
    code = "try:\n    get_ipython().run_line_magic('fails', 'ours')\nexcept UnknownRun as error:\n    caught = error\n"
    assert kernel.run(code).errors == []
    data = kernel.value("list(__import__('pickle').dumps(caught))")
    assert str(pickle.loads(bytes(data))) == "there is no run 'x';\n  %durable ls lists them"
