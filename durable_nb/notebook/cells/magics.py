"""Lines that are IPython's and not Python's: a cell as Python, and which names its magics read."""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from durable_nb.flows.source.compiling import parse

Transform = Callable[[str], str]

TIMED: Final = frozenset({"timeit"})
"""Magics that run their Python in a function of their own: what it binds is gone afterwards."""

PYTHON: Final = frozenset({"time", "prun", "capture"}) | TIMED
"""Magics whose argument or body is Python of the same namespace."""

BINDING: Final = frozenset({"run", "pylab", "store", "load", "loadpy", "reset", "xdel", "reset_selective", "macro"})
"""Magics that bind or delete names nobody sees in the text."""

_SILENT: Final = frozenset(
    {"matplotlib", "load_ext", "reload_ext", "config", "autoreload", "precision", "xmode", "pinfo", "pinfo2", "pdoc"}
    | {"psource", "pfile", "pdef", "who", "who_ls", "whos", "pwd", "cd", "env", "set_env", "lsmagic", "magic"}
    | {"html", "markdown", "latex", "svg", "javascript", "js", "HTML", "SVG", "writefile", "history", "debug"}
)
_CALLS: Final = frozenset({"run_line_magic", "run_cell_magic", "system", "getoutput"})
_DOLLAR: Final = re.compile(r"(?<!\$)\$([A-Za-z_]\w*)")
_BRACES: Final = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")
_OPTION: Final = re.compile(r"\s*(?:-[nrs]\s*\d+|-[stTDl]\s+\S+|-[a-zA-Z]+|--[\w-]+)(?=\s|$)")
_INTERACTIVE: Final = "get_ipython"


class MagicCall(NamedTuple):
    """One call of IPython in transformed source: a magic by name, or "!" for a line of the shell."""

    name: str
    line: str
    body: str | None

    @property
    def opaque(self) -> str | None:
        """Why the names it reads cannot be seen, None when they can."""
        if self.name == "!":
            return "a shell line"
        return None if self.name in PYTHON | _SILENT else f"%{self.name}"

    def python(self) -> list[str]:
        """The pieces of Python in it, as written, setup first."""
        if self.name not in PYTHON:
            return []
        line = self.line
        while option := _OPTION.match(line):
            line = line[option.end() :]
        if self.name == "capture":
            line = ""  # names of variables to bind
        return [piece for piece in (line.strip(), self.body) if piece]

    def expanded(self) -> Iterator[str]:
        """The expressions in `$x` and `{x}` that IPython puts in before the line runs."""
        if self.name in PYTHON:
            return
        yield from _DOLLAR.findall(self.line)
        for text in _BRACES.findall(self.line):
            yield text.partition("!")[0].partition(":")[0].strip()


def as_python(source: str) -> str:
    """The source of a cell as Python; IPython is loaded only for cells that are not Python as they stand."""
    try:
        parse(source)
    except (SyntaxError, ValueError):
        from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 - 300 ms outside notebooks

        return str(TransformerManager().transform_cell(source))
    return source


def tree_of(source: str, transform: Transform = as_python) -> ast.Module:
    """The tree of a cell; a SyntaxError is the user's."""
    return parse(transform(source))


def magic_call(node: ast.AST) -> MagicCall | None:
    """The magic a node of transformed source calls, if it does."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id=caller)), attr=verb), args=given):
            texts = [argument.value if isinstance(argument, ast.Constant) else None for argument in given]
            if caller != _INTERACTIVE or verb not in _CALLS or not all(isinstance(text, str) for text in texts):
                return None
            return _call(verb, [str(text) for text in texts])
        case _:
            return None


def _call(verb: str, texts: list[Any]) -> MagicCall | None:
    match verb, texts:
        case "run_line_magic", [name, line]:
            return MagicCall(name, line, None)
        case "run_cell_magic", [name, line, body]:
            return MagicCall(name, line, body)
        case "system" | "getoutput", [line]:
            return MagicCall("!", line, None)
        case _:
            return None


def pieces_of(call: MagicCall, transform: Transform) -> list[ast.Module]:
    """The trees of the Python in a magic; what does not parse is left to the magic to complain about."""
    trees: list[ast.Module] = []
    for text in call.python():
        try:
            trees.append(tree_of(text, transform))
        except SyntaxError:
            continue
    return trees
