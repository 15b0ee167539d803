"""What a run did to the namespace: bound, deleted, changed in place, and what was no input after all."""

import pytest

from durable_nb.notebook.cells.changes import Changes
from tests.notebook.cells.samples import Session

# cells before, the cell, names bound, names deleted
BOUND: dict[str, tuple[str, str, str, str]] = {
    "assigned": ("", "x = 1", "x", ""),
    "the same object again": ("x = 1", "x = x", "x", ""),
    "equal value": ("x = [1]", "x = [1]", "x", ""),
    "deleted": ("x = 1", "del x", "", "x"),
    "bound and deleted": ("", "x = 1\ndel x", "", ""),
    "a branch not taken": ("x = 1\nc = 0", "if c: x = 2", "", ""),
    "a branch taken": ("x = 1\nc = 1", "if c: x = 2", "x", ""),
    "exec": ("", "exec('x = 1')", "x", ""),
    "globals": ("", "globals()['x'] = 1", "x", ""),
    "star import": ("", "from sched import *", "scheduler", ""),
    "global of a function": ("x = 1\ndef f():\n    global x\n    x = 2", "f()", "x", ""),
    "handler's name": ("", "try: 1 / 0\nexcept ZeroDivisionError as e: y = 1", "y", ""),
    "imported": ("", "import json as j", "j", ""),
    "results of the shell": ("", "exec('_ = __ = _3 = 1')", "", ""),
    "a name thrown away": ("", "a, _ = 1, 2", "a _", ""),
    "names of the shell": ("", "_i = 'text'\n__x__ = 1\n_own = 2", "_own", ""),
}


@pytest.mark.parametrize("case", BOUND)
def test_what_was_bound_and_deleted(case: str) -> None:
    start, cell, bound, deleted = BOUND[case]
    _, changes = Session(start).durable(cell)
    found = [name for name in changes.bound if name not in ("Event", "time", "heapq", "namedtuple")]
    assert (found, [*changes.deleted], changes.changed) == (bound.split(), deleted.split(), ())


# cells before, the cell, names changed in place, names that share with them
IN_PLACE: dict[str, tuple[str, str, str, str]] = {
    "list": ("l = [2, 1]", "l.sort()", "l", ""),
    "list, unchanged": ("l = [1, 2]", "l.sort()", "", ""),
    "dict": ("d = {'a': 1}", "d['b'] = 2", "d", ""),
    "set": ("s = {1}", "s.add(2)", "s", ""),
    "part": ("d = {'a': [1]}", "d['a'].append(2)", "d", ""),
    "part by its own name": ("l = [1]\nd = {'a': l}", "l.append(2)", "l", "d"),
    "through a tuple": ("l = [1]\nt = (0, l)", "l.append(2)", "l", "t"),
    "other name": ("l = [1]\nm = l\nn = [1]", "l.append(2)", "l", "m"),
    "other name of a name bound anew": ("l = [1]\nm = l", "l.append(2)\nl = 3", "", "m"),
    "deleted and changed": ("l = [1]\nm = l", "l.append(2)\ndel l", "", "m"),
    "through a chain of names": ("a = [1]\nb = [a]\nc = [b]\nd = [0]", "a.append(2)", "a", "b c"),
    "what shares with what shares": ("a = [1]\nx = [2]\nb = [a, x]\nc = [x]", "a.append(2)", "a", "x b c"),
    "object": ("class A: pass\na = A()\na.n = 1\nb = A()", "a.n = 2", "a", ""),
    "object in an object": ("class A: pass\na = A()\na.n = 1\nb = A()\nb.a = a", "a.n = 2", "a", "b"),
    "class": ("class A:\n    n = 1\na = A()\nclass B(A): pass", "A.n = 2", "A", "a"),
    "function's attribute": ("def f(): f.n += 1\nf.n = 1", "f()", "f", ""),
    "closure": ("def make():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n    return f\nf = make()",
                "f()", "f", ""),
    "two functions of a closure": (
        "def make():\n    n = [0]\n    def f(): n.append(1)\n    def g(): return n\n    return f, g\nf, g = make()",
        "f()", "f", "g",
    ),
    "list in a function's globals": ("l = [1]\ndef f(): l.append(2)", "f()", "l", ""),
    "bound method": ("class A:\n    def go(self): self.n = 2\na = A()\na.n = 1\ng = a.go", "a.go()", "a", "g"),
    "array": ("import numpy\na = numpy.zeros(9)\nb = numpy.zeros(9)", "a[0] = 1", "a", ""),
    "view": ("import numpy\na = numpy.zeros(9)\nv = a[2:5]\nw = v[1:]", "v[0] = 1", "v", "a w"),
    "array, read": ("import numpy\na = numpy.zeros(9)\nv = a[2:5]", "v.sum()", "", ""),
    "array of objects": ("import numpy\nl = [1]\na = numpy.array([l, None], dtype=object)", "l.append(2)", "l", "a"),
    "frame": ("import pandas\ndf = pandas.DataFrame({'a': [1, 2], 'b': [3, 4]})\nother = df[['a']]",
              "df.pop('b')", "df", ""),
    "column": ("import pandas\ndf = pandas.DataFrame({'a': [1, 2]})\nc = df['a']", "df['n'] = 1", "df", ""),
    "cell of a frame": ("import pandas\ndf = pandas.DataFrame({'a': [1, 2]})\nalso = {'df': df}",
                        "df.loc[0, 'a'] = 9", "df", "also"),
    "frame over an array": (
        "import numpy, pandas\na = numpy.zeros((4, 2))\ndf = pandas.DataFrame(a, copy=False)", "a[0, 0] = 1", "a", "df",
    ),
    "frame in a model": (
        "import pandas\nclass M: pass\nm = M()\nm.df = df = pandas.DataFrame({'a': [1]})", "df['b'] = 2", "df", "m",
    ),
    "fitted model": (
        "import numpy\nfrom sklearn.linear_model import LinearRegression\nm = LinearRegression()\nx = numpy.eye(3)",
        "m.fit(x, x[0]);", "m", "",
    ),
    "random generator": ("import numpy\nr = numpy.random.default_rng(0)", "r.random()", "r", ""),
    "iterator": ("it = iter([1, 2, 3])", "next(it)", "it", ""),
    "counter": ("import itertools\nc = itertools.count()\nk = c", "next(c)", "c", "k"),
    "shared word": ("w = 'word'\na = [w]\nb = [w]", "a.append(1)", "a", ""),
    "shared dates": ("import datetime\nd = datetime.date(2026, 1, 2)\na = [d]\nb = [d]", "a.append(1)", "a", ""),
    "shared types": ("import numpy\nt = numpy.dtype('f8')\na = [t]\nb = [t]", "a.append(1)", "a", ""),
    "shared logger": ("import logging\na = [logging.getLogger('x')]\nb = [a[0]]", "a.append(1)", "a", ""),
    "module": ("import types\na = [types]\nb = [types]", "a.append(1)", "a", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_PLACE)
@pytest.mark.filterwarnings("ignore:Pickle, copy, and deepcopy support:DeprecationWarning")
def test_what_was_changed_in_place(case: str) -> None:
    start, cell, changed, partners = IN_PLACE[case]
    _, changes = Session(start).durable(cell)
    assert ([*changes.changed], [*changes.partners]) == (changed.split(), partners.split())


def test_outputs_are_what_is_stored_together() -> None:
    _, changes = Session("l = [1]\nm = {'l': l}").durable("l.append(2)\nx = 1")
    assert changes.outputs == ("x", "l", "m")


# maybe-read names

MAYBE: dict[str, tuple[str, str, str]] = {
    "bound by the loop": ("r = [1]\nt = 0", "for i in r: t = i\nprint(t)", "r"),
    "not bound by the loop": ("r = []\nt = 0", "for i in r: t = i\nprint(t)", "r t"),
    "absent before": ("r = [1]", "for i in r: t = i\nprint(t)", "r"),
    "bound when it is missing": ("", "try: x\nexcept NameError: x = 1", ""),
    "there when it is tried": ("x = 1", "try: x\nexcept NameError: x = 2", "x"),
    "read and bound": ("x = 1", "x = x + 1", "x"),
    "bound before the call": ("K = 1\ndef f(): return K", "K = 2\nf()", "f"),
    "left as it is": ("x = 1\nc = False", "if c: x = 2", "c x"),
    "star import": ("y = 1", "from math import *\nsin(y)", "y"),
}


@pytest.mark.parametrize("case", MAYBE)
def test_what_was_an_input_after_all(case: str) -> None:
    start, cell, expected = MAYBE[case]
    inputs, changes = Session(start).durable(cell)
    assert {*inputs.found} - {*changes.without} == {*expected.split()}


def test_changes_are_plain_json_and_back() -> None:
    _, changes = Session("l = [1]\nm = l\ny = 1").durable("l.append(2)\nx = 1\ndel y\nfor i in []: z = 1")
    assert changes.without == ("i", "z")
    assert Changes.from_json(changes.to_json()) == changes._replace(size=0, seconds=0.0)


def test_the_price_is_stated() -> None:
    _, changes = Session("a = bytearray(1_000_000)").durable("len(a)")
    assert changes.size >= 1_000_000
    assert changes.seconds > 0
