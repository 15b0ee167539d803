"""The digest of a cell's code: what counts, and the same value on every Python."""

import pytest

from durable_nb.notebook.cells.code import code_digest

# Written down once: a log of one Python is read by the next. A change here makes every cell in the world run again.
GOLDEN = {
    "x = 1\n": "14d2f2375ed999d121bac3c6879ee8bf",
    "df = build(raw)  # slow\ndf.plot();\n": "f08b0216e883b86a3d39dcea526c8637",
    "async with a as b:\n    r = [i async for i in b if i > 1_000]\n": "31bdb1def8d2b2fea2568e18ba4d1855",
    'def f(a: int = 3, *, b="x") -> str:\n    """Says."""\n    return f"{a!r:>{b}} and {b}" \'more\'\n': (
        "d90d35c7d1f2b55dc42a94d2f334219f"
    ),
    "class A(B, metaclass=M):\n    n: int = 0\n    @property\n    def go(self):\n        yield from self\n": (
        "e90e45c64e3b2988527b6bca7568bfff"
    ),
    "match v:\n    case {'k': [1, *r]} | None: pass\ntry: pass\nexcept* E as e: del e\n": (
        "66d0a308f50b5b6b48aa15038aaeef08"
    ),
    "get_ipython().run_line_magic('time', 'x = 1')\n": "b714acdc4842bc51d3423dc1581b10e2",
}


@pytest.mark.parametrize("source", GOLDEN)
def test_golden_digest(source: str) -> None:
    assert code_digest(source) == GOLDEN[source]


EQUAL = {
    "comments": ("x = 1", "# one\nx = 1  # two\n\n"),
    "formatting": ("f(a, b)", "f(\n    a,\n    b,\n)"),
    "quotes": ("x = 'a'", 'x = "a"'),
    "numbers": ("x = 1000", "x = 1_000"),
    "docstring": ('def f():\n    """One."""\n    return 1', 'def f():\n    """Two."""\n    return 1'),
    "parentheses": ("x = (1)", "x = 1"),
    "formatting under a magic": ("%%time\nx = 1", "%%time\nx  =  1  # one"),
    "formatting after a magic": ("%time f(a, b)", "%time  f(a,b)"),
    "semicolon inside": ("a = 1; b = 2", "a = 1\nb = 2"),
    "comment after a semicolon": ("f();", "f();  # one"),
    "texts of an f-string": ("f'{a}b' 'c'", "f'{a}bc'"),
}
OTHER = {
    "value": ("x = 1", "x = 2"),
    "type of a number": ("x = 1", "x = 1.0"),
    "name": ("x = 1", "y = 1"),
    "order": ("a = 1\nb = 2", "b = 2\na = 1"),
    "text that is a value": ("x = 'a'\n'b'", "x = 'a'\n'c'"),
    "default": ("def f(a=1): pass", "def f(a=2): pass"),
    "decorator": ("@a\ndef f(): pass", "@b\ndef f(): pass"),
    "hidden result": ("f()", "f();"),
    "magic": ("%time f()", "%timeit f()"),
    "options of a magic": ("%%timeit -n 1\nf()", "%%timeit -n 2\nf()"),
    "shell": ("!ls a", "!ls b"),
    "awaited": ("await f()", "f()"),
}


@pytest.mark.parametrize("case", EQUAL)
def test_what_does_not_count(case: str) -> None:
    first, second = EQUAL[case]
    assert code_digest(first) == code_digest(second)


@pytest.mark.parametrize("case", OTHER)
def test_what_counts(case: str) -> None:
    first, second = OTHER[case]
    assert code_digest(first) != code_digest(second)


def test_a_syntax_error_is_the_users() -> None:
    with pytest.raises(SyntaxError):
        code_digest("x = = 1")
