"""The digest of a cell's code: comments, formatting and docstrings do not count; the same on every Python."""

import ast
import io
import tokenize
from hashlib import blake2b
from typing import Any, Final

from durable_nb.flows.code import write
from durable_nb.flows.source import fingerprint
from durable_nb.notebook.cells.magics import Transform, as_python, magic_call, pieces_of, tree_of

_SILENT: Final = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.INDENT})


def code_digest(source: str, transform: Transform = as_python) -> str:
    """32 hex digits; a semicolon at the end counts, because it hides the value of the last line."""
    python = transform(source)
    tree = _Magics(transform).visit(tree_of(python, str))
    text = write([fingerprint.outline(tree), _is_quiet(python)])
    return blake2b(text, digest_size=16).hexdigest()


class _Magics(ast.NodeTransformer):
    """Puts the Python in `%time` and its like in place of its text."""

    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def visit_Call(self, node: ast.Call) -> Any:
        magic = magic_call(node)
        if magic is None or not magic.python():
            return self.generic_visit(node)
        trees = pieces_of(magic, self._transform)
        if len(trees) < len(magic.python()):
            return node
        inner: list[Any] = [self.visit(tree) for tree in trees]
        named = [ast.Constant(magic.name), ast.Constant(magic.line if magic.body is not None else "")]
        return ast.Call(ast.Name("%", ast.Load()), [*named, *inner], [])


def _is_quiet(python: str) -> bool:
    if not python.rstrip().endswith(";") and "#" not in python.rstrip().rpartition("\n")[2]:
        return False
    tokens = tokenize.generate_tokens(io.StringIO(python).readline)
    last = [token.string for token in tokens if token.type not in _SILENT | {tokenize.DEDENT}]
    return last[-1:] == [";"]
