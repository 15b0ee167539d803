"""Names a cell reads from outside, binds, deletes; what cannot be seen is said."""

import pytest

from durable_nb.notebook.cells.names import Names, names_of

# source, surely read, perhaps read, bound on every way. Names of Python itself are left out of what is compared.
CASES: dict[str, tuple[str, str, str, str]] = {
    "read then bind": ("y = x\nx = 1", "x", "", "y x"),
    "bind then read": ("x = 1\ny = x", "", "", "x y"),
    "own successor": ("x = x + 1", "x", "", "x"),
    "added in place": ("x += y", "x y", "", "x"),
    "item set": ("d['a'] = v", "v d", "", ""),
    "attribute set": ("o.a = 1", "o", "", ""),
    "attribute added": ("o.a += 1", "o", "", ""),
    "deleted": ("del x", "x", "", ""),
    "deleted own": ("x = 1\ndel x", "", "", ""),
    "deleted item": ("del d[k]", "d k", "", ""),
    "unpacked": ("a, (b, *c) = z", "z", "", "a b c"),
    "chained": ("a = b = c", "c", "", "a b"),
    "annotated only": ("x: int", "", "", ""),
    "annotated": ("x: T = 1", "T", "", "x"),
    "walrus": ("if (n := f()) > 1: print(n)", "f", "", "n"),
    "walrus in a comprehension": ("[y := g(v) for v in vs]\nprint(y)", "vs g", "y", ""),
    "branch": ("if c: t = 1\nprint(t)", "c", "t", ""),
    "both branches": ("if c: t = 1\nelse: t = 2\nprint(t)", "c", "", "t"),
    "branch that raises": ("if c: t = 1\nelse: raise E\nprint(t)", "c E", "", "t"),
    "loop": ("for i in r: t = i\nprint(t)", "r", "t", ""),
    "loop variable afterwards": ("for i in r: pass\nprint(i)", "r", "i", ""),
    "loop that reads first": ("for i in r: t = t + i", "r t", "", ""),
    "loop with else": ("for i in r: break\nelse: t = 1\nprint(t)", "r", "t", ""),
    "endless loop": ("while True:\n    t = f()\n    if t: break\nprint(t)", "f", "", "t"),
    "endless loop that breaks early": ("while True:\n    if f(): break\n    t = 1\nprint(t)", "f", "t", ""),
    "while": ("while c: t = 1\nprint(t)", "c", "t", ""),
    "continue": ("for i in r:\n    if i: continue\n    t = 1\n    print(t)", "r", "", ""),
    "try": ("try: t = f()\nexcept E: pass\nprint(t)", "f E", "t", ""),
    "try both": ("try: t = f()\nexcept E: t = 0\nprint(t)", "f E", "", "t"),
    "try that raises on": ("try: t = f()\nexcept E as e: raise\nprint(t)", "f E", "", "t"),
    "try with finally": ("try: t = f()\nfinally: u = 1\nprint(t, u)", "f", "", "t u"),
    "finally reads": ("try: t = f()\nfinally: print(t)", "f", "t", "t"),
    "name tried": ("try: x\nexcept NameError: x = 1\nprint(x)", "x", "x", ""),
    "with": ("with open(p) as f: t = f.read()\nprint(t)", "p", "", "f t"),
    "with suppress": ("with suppress(E): t = f()\nprint(t)", "suppress E f", "t", ""),
    "match": ("match v:\n    case [a, *b]: t = a\n    case {'k': K.x, **c}: t = c\nprint(t)", "v K", "t", ""),
    "match all": ("match v:\n    case P(a): t = a\n    case _: t = 0\nprint(t)", "v P", "", "t"),
    "comprehension": ("[i * k for i in r if i > m]", "r k m", "", ""),
    "two loops in a comprehension": ("{a: b for a in r for b in a.parts}", "r", "", ""),
    "comprehension name afterwards": ("[i for i in r]\nprint(i)", "r i", "", ""),
    "function defined": ("def f(a): return a + K", "", "", "f"),
    "function called": ("def f(a): return a + K\nf(1)", "K", "", "f"),
    "function mentioned": ("def f(a): return a + K\ng = map(f, r)", "K r", "", "f g"),
    "name bound before the call": ("def f(): return K\nK = 1\nf()", "", "", "f K"),
    "name bound after the call": ("def f(): return K\nf()\nK = 1", "K", "", "f K"),
    "name bound after a mention": ("def f(): return K\ng = f\nK = 1", "", "K", "f g K"),
    "helpers in any order": ("def a(): return b()\ndef b(): return K\na()", "K", "", "a b"),
    "recursion": ("def f(n): return n and f(n - 1)\nf(3)", "", "", "f"),
    "recursion, decorated": ("@timed\ndef f(n): return n and f(n - 1)", "timed", "", "f"),
    "lazy decorator": ("@step(retry=n)\ndef f(): return K", "step n", "", "f"),
    "calling decorator": ("@interact(x=1)\ndef f(x): return K", "interact K", "", "f"),
    "default": ("def f(a=K): pass", "K", "", "f"),
    "global bound by a call": ("def f():\n    global t\n    t = 1\nf()\nprint(t)", "", "", "f t"),
    "global bound by a mention": ("def f():\n    global t\n    t = 1\nrun(f)\nprint(t)", "run", "t", "f"),
    "local of a function": ("def f():\n    print(K)\n    K = 1\nf()", "", "", "f"),
    "closure": ("def f():\n    v = 1\n    def g(): return v + K\n    return g\nf()", "K", "", "f"),
    "nonlocal": ("def f():\n    v = 1\n    def g():\n        nonlocal v\n        v = K\n    g()\nf()", "K", "", "f"),
    "lambda": ("sorted(r, key=lambda v: w[v])", "r w", "", ""),
    "lambda by name": ("f = lambda v: w[v]\nf(1)\nw = 2", "w", "", "f w"),
    "class body": ("class A(B):\n    n = K\n    m = n", "B K", "", "A"),
    "class body reads what it binds": ("class A:\n    K = K", "K", "", "A"),
    "class only defined": ("class A:\n    def go(self): return K", "", "", "A"),
    "class used": ("class A:\n    def go(self): return K\nA().go()", "K", "", "A"),
    "class names are not seen by methods": ("class A:\n    K = 1\n    def go(self): return K\nA()", "K", "", "A"),
    "initialiser runs at the call": ("class A:\n    def __init__(s): s.k = K\nA()\nK = 1", "K", "", "A K"),
    "imports": ("import a.b, c as d\nfrom e import f as g\nprint(a, d, g)", "", "", "a d g"),
    "awaited": ("r = await f(x)\nasync for i in g(): pass", "f x g", "", "r"),
    "coroutine awaited": ("async def f(): return K\nawait f()\nK = 1", "K", "", "f K"),
    "task": ("async def f(): return K\nt = spawn(f())\nK = 1", "spawn", "K", "f t K"),
    "text with expressions": ("print(f'{a:{w}} {b!r}')", "a w b", "", ""),
    "query": ("df.query('a > @limit')", "df limit", "", ""),
    "annotations as text": ("from __future__ import annotations\ndef f(a: T) -> U: pass", "", "", "annotations f"),
    "dead code": ("raise E\nprint(t)", "E", "", ""),
    "assert": ("assert c, m\nt = 1", "c m", "", "t"),
}
PYTHON = {"int", "print", "open", "NameError", "map", "sorted"}


@pytest.mark.parametrize("case", CASES)
def test_names_of_a_cell(case: str) -> None:
    source, reads, maybe, binds = CASES[case]
    names = names_of(source)
    found = ({*names.reads} - PYTHON, {*names.maybe} - {*names.reads}, {*names.binds})
    expected_maybe = {*maybe.split()} - {*reads.split()}
    assert found == ({*reads.split()}, expected_maybe, {*binds.split()})


MAGICS: dict[str, tuple[str, str, str, str]] = {
    "time": ("%time w = a + b", "a b", "w", ""),
    "time of a cell": ("%%time\nw = a\nprint(w)", "a print", "w", ""),
    "timeit binds nothing": ("%timeit -n 3 w = a", "a", "", ""),
    "timeit with setup": ("%%timeit -r 1 s = a\nf(s)", "a f", "", ""),
    "capture": ("%%capture out --no-stderr\nw = a", "a", "w", ""),
    "time of a shell line": ("%time !ls {folder}", "folder", "", "a shell line"),
    "output of the shell": ("f = !ls {folder}/$name", "folder name", "f", "a shell line"),
    "shell": ("!cp $a {b['k']!r}", "a b", "", "a shell line"),
    "help": ("x?", "", "", ""),
    "plots": ("%matplotlib inline\nx.plot();", "x", "", ""),
    "another file": ("%run other.py\nprint(y)", "", "", "%run"),
    "another language": ("%%bash\necho $HOME", "", "", "%bash"),
    "folder": ("%cd {folder}", "folder", "", ""),
    "magic with a value": ("t = %timeit -o f(x)", "f x", "t", ""),
}


@pytest.mark.parametrize("case", MAGICS)
def test_names_in_magics(case: str) -> None:
    source, reads, binds, opaque = MAGICS[case]
    names = names_of(source)
    assert ({*names.reads}, {*names.binds}, " ".join(names.opaque)) == ({*reads.split()}, {*binds.split()}, opaque)


def test_the_notebooks_own_transformer_is_used() -> None:
    assert names_of("ls folder", lambda source: source.replace("ls ", "ls(") + ")").reads == ("ls", "folder")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("exec(text)", "exec()"),
        ("eval(text)", "eval()"),
        ("globals()['a'] = 1", "globals()"),
        ("vars().update(a=1)", "vars()"),
        ("get_ipython().user_ns['a'] = 1", "get_ipython()"),
        ("from math import *", "from math import *"),
    ],
)
def test_what_cannot_be_seen_is_said(source: str, why: str) -> None:
    names = names_of(source)
    assert names.is_opaque
    assert names.opaque == (why,)


def test_names_after_a_star_import_are_perhaps_from_there() -> None:
    names = names_of("from math import *\ny = sin(x)\nz = z + 1")
    assert names.maybe == ("sin", "x")
    assert names.reads == ("z",)  # bound by the cell itself, so not by the import


def test_a_method_called_exec_hides_nothing() -> None:
    assert not names_of("app.exec(1)\neval = 1\ndef f(exec): exec()\nf(2)").is_opaque


def test_names_bound_on_some_way_are_told_apart() -> None:
    names = names_of("if c: a = 1\nb = 2\nimport d\ndel d")
    assert (names.binds, names.may_bind, names.deletes) == (("b",), ("a",), ("d",))


def test_a_syntax_error_is_the_users() -> None:
    with pytest.raises(SyntaxError):
        names_of("def f(:")


def test_names_are_plain_json_and_back() -> None:
    names = names_of("%run x.py\nif a: b = c\ndel d")
    assert Names.from_json(names.to_json()) == names


def test_reads_are_in_the_order_in_which_they_are_met() -> None:
    assert names_of("f(b, a)\nc").reads == ("f", "b", "a", "c")
