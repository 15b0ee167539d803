"""Inputs of cells: data by digest, code by name through the namespace, modules by their files."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from durable_nb.notebook.cells.inputs import Input, Inputs, inputs_from_json
from tests.notebook.cells.samples import Session

DEF = "def f(a):\n    return a + K\n"

# cells before, the cell, a cell that changes something, which inputs are then other ones
FOLLOWED: dict[str, tuple[str, str, str, str]] = {
    "data": ("raw = [1]", "print(raw)", "raw = [2]", "raw"),
    "equal data": ("raw = [1]", "print(raw)", "raw = [1]", ""),
    "data of a function": ("K = 1\n" + DEF, "f(1)", "K = 2", "K"),
    "body": ("K = 1\n" + DEF, "f(1)", "def f(a):\n    return a - K\n", "f"),
    "comment": ("K = 1\n" + DEF, "f(1)", "def f(a):  # adds\n    return a + K\n", ""),
    "formatting": ("K = 1\n" + DEF, "f(1)", "def f(a):\n    return (a +\n        K)\n", ""),
    "docstring": ("K = 1\n" + DEF, "f(1)", 'def f(a):\n    """Adds."""\n    return a + K\n', ""),
    "quotes": ("def f(): return 'a'", "f()", 'def f(): return "a"', ""),
    "default": ("def f(a=1): return a", "f()", "def f(a=2): return a", "f"),
    "default that is computed": ("D = 1\ndef f(a=D): return a", "f()", "D = 2\ndef f(a=D): return a", "f"),
    "default for a keyword": ("def f(*, a=1): return a", "f()", "f.__kwdefaults__['a'] = 2", "f"),
    "annotation": ("def f(a: int): return a", "f(1)", "def f(a: float): return a", "f"),
    "helper": ("def g(): return 1\ndef f(): return g()", "f()", "def g(): return 2", "g"),
    "helper of a helper": (
        "Z = 1\ndef h(): return Z\ndef g(): return h()\ndef f(): return g()", "f()", "Z = 2", "Z",
    ),
    "mutual recursion": ("def f(n): return n and g(n)\ndef g(n): return f(n - 1)", "f(3)", "def g(n): return 0", "g"),
    "closure": ("def make(n):\n    return lambda: n\nf = make(1)", "f()", "f = make(2)", "f"),
    "closure over the same": ("def make(n):\n    return lambda: n\nf = make(1)", "f()", "f = make(1)", ""),
    "closure over a function": (
        "def make(g):\n    def inner(): return g()\n    return inner\ndef one(): return K\nK = 1\nf = make(one)",
        "f()", "K = 2", "K",
    ),
    "two lambdas on a line": ("f, g = lambda: 1, lambda: 2", "f()", "f, g = g, f", "f"),
    "decorator": (
        "def twice(g):\n    def inner(): return 2 * g()\n    return inner\n@twice\ndef f(): return K\nK = 1",
        "f()", "K = 2", "K",
    ),
    "decorated body": (
        "def twice(g):\n    def inner(): return 2 * g()\n    return inner\n@twice\ndef f(): return 1",
        "f()", "@twice\ndef f(): return 2", "f",
    ),
    "lru_cache": ("import functools\nK = 1\n@functools.lru_cache\ndef f(): return K", "f()", "K = 2", "K"),
    "lru_cache that was used": ("import functools\n@functools.lru_cache\ndef f(): return 1", "f()", "f()", ""),
    "partial": ("import functools\ndef g(a): return a\nf = functools.partial(g, 1)", "f()",
                "f = functools.partial(g, 2)", "f"),
    "function in a partial": ("import functools\nK = 1\ndef g(a): return K\nf = functools.partial(g, 1)", "f()",
                              "K = 2", "K"),
    "function in a dict": ("K = 1\n" + DEF + "table = {'f': f}", "table['f'](1)", "K = 2", "K"),
    "other function in a dict": ("table = {'f': lambda: 1}", "table['f']()", "table = {'f': lambda: 2}", "table"),
    "attribute of a function": ("def f(): return f.n\nf.n = 1", "f()", "f.n = 2", "f"),
    "class": ("class A:\n    def go(self): return 1", "A().go()", "class A:\n    def go(self): return 2", "A"),
    "data of a method": ("K = 1\nclass A:\n    def go(self): return K", "A().go()", "K = 2", "K"),
    "base class": ("class B:\n    def go(self): return 1\nclass A(B): pass", "A().go()",
                   "class B:\n    def go(self): return 2\nclass A(B): pass", "A"),
    "data of a base class": ("K = 1\nclass B:\n    def go(self): return K\nclass A(B): pass", "A().go()", "K = 2", "K"),
    "property": ("K = 1\nclass A:\n    @property\n    def go(self): return K", "A().go", "K = 2", "K"),
    "class method": ("K = 1\nclass A:\n    @classmethod\n    def go(cls): return K", "A.go()", "K = 2", "K"),
    "attribute of a class": ("class A:\n    n = 1", "A.n", "A.n = 2", "A"),
    "attribute set beside a class": ("class A:\n    n = 1", "A.n", "A.m = [1]", "A"),
    "method set on a class": ("class A: pass\ndef go(self): return 1", "A().go()", "A.go = go", "A"),
    "class that was only used": ("class A:\n    n = 1", "A.n", "import pickle; pickle.dumps(A.n); A()", ""),
    "bound method": ("class A:\n    def go(self): return self.n\na = A()\na.n = 1\nf = a.go", "f()", "a.n = 2", "f"),
    "data of an instance's class": ("K = 1\nclass A:\n    def go(self): return K\na = A()", "a.go()", "K = 2", "K"),
    "class of an instance": ("class A:\n    def go(self): return 1\na = A()", "a.go()",
                             "class A:\n    def go(self): return 2\na = A()", "a"),
    "dataclass": ("from dataclasses import dataclass\n@dataclass\nclass A:\n    n: int = 1", "A()",
                  "@dataclass\nclass A:\n    n: int = 2", "A"),
    "dataclass that is equal": ("from dataclasses import dataclass\n@dataclass\nclass A:\n    n: int = 1", "A()",
                                "@dataclass\nclass A:\n    n: int = 1", ""),
    "enum": ("import enum\nclass A(enum.Enum):\n    X = 1", "A.X", "class A(enum.Enum):\n    X = 2", "A"),
    "enum by a call": ("import enum\nA = enum.Enum('A', 'X Y')", "A.X", "A = enum.Enum('A', 'X Z')", "A"),
    "enum by an equal call": ("import enum\nA = enum.Enum('A', 'X Y')", "A.X", "A = enum.Enum('A', 'X Y')", ""),
    "namedtuple": ("import collections\nA = collections.namedtuple('A', 'x')", "A(1)",
                   "A = collections.namedtuple('A', 'y')", "A"),
    "function made by exec": ("exec('def f(): return 1')", "f()", "exec('def f(): return 2')", "f"),
    "equal function made by exec": ("exec('def f(): return 1')", "f()", "exec('def f(): return 1')", ""),
    "step": ("from durable_nb import step\nK = 1\n@step\ndef f(): return K", "f()", "K = 2", "K"),
    "code of a step": ("from durable_nb import step\n@step\ndef f(): return 1", "f()",
                       "@step\ndef f(): return 2", "f"),
    "options of a step": ("from durable_nb import step\n@step\ndef f(): return 1", "f()",
                          "@step(retry=3)\ndef f(): return 1", ""),
    "step of a flow": (
        "from durable_nb import flow, step\n@step\ndef s(): return 1\n@flow\ndef f(): return s()", "f['a']()",
        "@step\ndef s(): return 2", "s",
    ),
    "what an installed function reads": ("from json import dumps", "dumps(1)", "import json", ""),
    "package": ("import json", "json.dumps(1)", "import json", ""),
}  # fmt: skip


def differing(before: Inputs, after: Inputs) -> set[str]:
    names = {*before.found, *after.found}
    return {name for name in names if before.found.get(name) != after.found.get(name)}


@pytest.mark.parametrize("case", FOLLOWED)
def test_what_is_another_input_now(case: str) -> None:
    start, cell, edit, expected = FOLLOWED[case]
    session = Session(start)
    before = session.inputs(cell)
    assert [name for name, one in before.found.items() if one.digest is None] == []
    session.run(edit)
    assert differing(before, session.inputs(cell)) == {*expected.split()}


def test_inputs_are_what_another_session_finds() -> None:
    for start, cell, _, _ in FOLLOWED.values():
        assert Session(start).inputs(cell).found == Session("\n\n# moved down", start).inputs(cell).found


def test_kinds_and_users() -> None:
    session = Session("import json, math as m\nK = 1\ndef g(): return K\ndef f(): return g() + K\nclass A: pass")
    found = session.inputs("f(A(), json.dumps(K), m.pi, nothing)").found
    assert {name: (one.kind, one.used_by) for name, one in found.items()} == {
        "f": ("function", ()),
        "A": ("class", ()),
        "json": ("module", ()),
        "K": ("data", ()),  # the cell reads it itself
        "m": ("module", ()),
        "nothing": ("absent", ()),
        "g": ("function", ("f",)),
    }


def test_users_are_named() -> None:
    session = Session("K = 1\ndef g(): return K\ndef f(): return g() + K")
    assert session.inputs("f(); g").found["K"].used_by == ("f", "g")


def test_packages_show_their_version_and_are_compared_by_name() -> None:
    numpy = Session("import numpy as np").inputs("np.zeros(3)").found["np"]
    assert numpy.digest == "numpy"
    assert numpy.note.startswith("numpy ")


def test_names_of_the_shell_are_no_inputs_but_its_history_is_none_that_can_be_compared() -> None:
    session = Session("Out = {}\nIn = []\n_i = ''\n_ = 3\nget_ipython = exit = None")
    found = session.inputs("Out[1], In, _i, _, get_ipython(), exit, __name__, print").found
    assert {name: one.digest is not None for name, one in found.items()} == {"Out": False, "In": False, "_": True}


def test_a_builtin_of_another_meaning_is_an_input() -> None:
    assert Session("sum = max").inputs("sum([1])").found.keys() == {"sum"}
    assert Session().inputs("sum([1])").found == {}


def test_what_the_cell_binds_before_it_calls_is_perhaps_an_input() -> None:
    session = Session("K = 1\ndef f(): return K")
    assert session.inputs("K = 2\nf()").maybe == {"K"}


def test_what_a_way_through_the_cell_leaves_as_it_is_is_an_input() -> None:
    session = Session("x = 1\nc = False")
    inputs = session.inputs("if c: x = 2")
    assert (inputs.found.keys(), inputs.maybe) == ({"c", "x"}, {"x"})


def test_a_value_that_cannot_be_compared_says_why() -> None:
    session = Session("conn = (i for i in [])\nimport threading\nbox = {'a': [threading.Lock()]}")
    found = session.inputs("conn, box").found
    assert found["conn"] == Input("data", None, "it is a generator")
    assert found["box"] == Input("data", None, "it holds a _thread.lock")


def test_only_the_inputs_given() -> None:
    session = Session("a = 1\nb = 2\nK = 3\ndef f(): return K")
    from durable_nb.notebook.cells.inputs import inputs_of
    from durable_nb.notebook.cells.names import names_of

    inputs = inputs_of(names_of("a, b, f()"), session.namespace, session.modules, ["a", "f", "no"])
    assert [(name, one.kind) for name, one in inputs.found.items()] == [
        ("a", "data"), ("f", "function"), ("no", "absent"), ("K", "data"),
    ]  # fmt: skip


def test_the_price_is_stated() -> None:
    inputs = Session("a = b'x' * 1_000_000").inputs("a")
    assert inputs.size >= 1_000_000
    assert inputs.seconds > 0


def test_inputs_are_plain_json_and_back() -> None:
    found = Session("K = 1\ndef f(): return K\ng = (i for i in [])").inputs("f, g, nothing").found
    assert inputs_from_json({name: one.to_json() for name, one in found.items()}) == found


# first-party modules


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules; `deep` is used by `utils`."""
    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "deep_of_project.py").write_text("N = 1\n")
    (tmp_path / "utils_of_project.py").write_text("import deep_of_project\ndef f():\n    return deep_of_project.N\n")
    yield tmp_path
    for name in {*sys.modules} - before:
        del sys.modules[name]


def reloaded(name: str) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.reload(sys.modules[name])


CELL = "utils.f()"
START = "import utils_of_project as utils"
UTILS = "utils_of_project.py"


def test_a_module_edited_and_reloaded_is_another_input(project: Path) -> None:
    session = Session(START)
    before = session.inputs(CELL)
    (project / UTILS).write_text("import deep_of_project\ndef f():\n    return -1\n")
    reloaded("utils_of_project")
    assert differing(before, session.inputs(CELL)) == {"utils"}


def test_a_module_edited_and_not_reloaded_is_the_same_and_says_so(project: Path) -> None:
    session = Session(START)
    before = session.inputs(CELL)
    (project / UTILS).write_text("def f():\n    return -1\n")
    after = session.inputs(CELL)
    assert before.found["utils"].digest == after.found["utils"].digest
    assert after.found["utils"].note == "utils_of_project.py changed on disk but is not reloaded"


def test_a_comment_in_a_module_does_not_count(project: Path) -> None:
    session = Session(START)
    before = session.inputs(CELL)
    (project / UTILS).write_text("# new\nimport deep_of_project\ndef f():\n    return deep_of_project.N\n")
    assert session.inputs(CELL).found == before.found
    reloaded("utils_of_project")
    assert session.inputs(CELL).found == before.found


def test_a_module_is_followed_through_another(project: Path) -> None:
    session = Session(START)
    before = session.inputs(CELL)
    assert before.found["module deep_of_project"].used_by == ("utils",)
    (project / "deep_of_project.py").write_text("N = 2\n")
    reloaded("deep_of_project")
    assert differing(before, session.inputs(CELL)) == {"module deep_of_project"}


def test_a_function_of_a_module_stands_for_the_module(project: Path) -> None:
    session = Session("from utils_of_project import f")
    before = session.inputs("f()")
    assert before.found["module utils_of_project"].used_by == ("f",)
    (project / UTILS).write_text("def f():\n    return -1\n")
    reloaded("utils_of_project")
    session.run("from utils_of_project import f")
    assert differing(before, session.inputs("f()")) >= {"module utils_of_project"}


def test_a_module_is_seen_as_soon_as_it_is_imported(project: Path) -> None:
    session = Session()
    session.modules.look()
    session.run(START)
    session.modules.look()
    (project / UTILS).write_text("def f():\n    return -1\n")
    assert "not reloaded" in session.inputs(CELL).found["utils"].note


def test_a_module_without_a_file_goes_by_its_name(project: Path) -> None:
    session = Session("import types\nm = types.ModuleType('made_here')")
    assert session.inputs("m.x").found["m"].digest == "made_here"
