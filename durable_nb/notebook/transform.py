"""Cells with `await`: `%%durable` above a body that awaits becomes an awaited call. All others stay plain magics."""

import ast
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_MAYBE = re.compile(r"\b(await|async)\b")


class AwaitTransform:
    """An input transformer. The shell calls it several times per cell, and while the cell is being typed."""

    def __init__(self, shell: "InteractiveShell", magic: str = "durable") -> None:
        self._shell = shell
        self._magic = magic
        self._head = re.compile(rf"%%{re.escape(magic)}(?:[ \t]+(?P<line>.*?))?\s*$")

    def __call__(self, lines: list[str]) -> list[str]:
        head = self._head.match(lines[0]) if lines else None
        if head is None or not self._shell.autoawait:
            return lines
        body = "".join(lines[1:])
        if not awaits(self._shell, body):
            return lines
        return [f"await get_ipython().run_cell_magic({self._magic!r}, {head['line'] or ''!r}, {body!r})\n"]


def install(shell: "InteractiveShell", magic: str = "durable") -> None:
    """Before the transformer that turns every cell magic into a call; a second time changes nothing."""
    transforms = shell.input_transformer_manager.line_transforms
    if not any(isinstance(one, AwaitTransform) for one in transforms):
        transforms.insert(0, AwaitTransform(shell, magic))


def uninstall(shell: "InteractiveShell") -> None:
    transforms = shell.input_transformer_manager.line_transforms
    transforms[:] = [one for one in transforms if not isinstance(one, AwaitTransform)]


def awaits(shell: "InteractiveShell", body: str) -> bool:
    """Whether the body awaits at its top level. A magic called with such a body has to return a coroutine."""
    if not _MAYBE.search(body):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the shell warns when it compiles the cell
            tree = ast.parse(shell.transform_cell(body))
    except (SyntaxError, ValueError):  # ValueError: a null character; the cell says so when it runs
        return False
    return any(_is_await(node) for node in _top_level(tree))


def _is_await(node: ast.AST) -> bool:
    if isinstance(node, ast.comprehension):
        return bool(node.is_async)
    return isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)


def _top_level(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that belong to the body itself: of functions only what is worked out where they are defined."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left += [*node.decorator_list, *node.args.defaults, *(one for one in node.args.kw_defaults if one)]
        elif isinstance(node, ast.ClassDef):
            left += [*node.decorator_list, *node.bases, *node.keywords]
        elif isinstance(node, ast.Lambda):
            left += [*node.args.defaults, *(one for one in node.args.kw_defaults if one)]
        else:
            left += ast.iter_child_nodes(node)
