"""What can be told about a flow from its source, once, when it is defined: clean-up that runs at every wait."""

import ast
import inspect
import textwrap
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from durable_nb.errors import DurableWarning
from durable_nb.flows.source.compiling import parse

_WAITS = frozenset({"sleep", "timer", "result", "signal"})
_HARMLESS = frozenset({"Saga", "suppress"})


def advise(function: Callable[..., Any], name: str) -> None:
    """Warn of `with` and `finally` around a wait: they run each time the flow is suspended there, and again at the end."""
    try:
        tree = parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return  # no source to look at; starting the flow will say so
    first = function.__code__.co_firstlineno - 1
    for line, what in _around_waits(tree):
        warnings.warn(
            f"flow `{name}`, line {first + line}: `{what}` around a wait runs its clean-up each time the flow is suspended "
            "there, and enters again when it goes on; put it inside a step, or use Saga to undo on failure",
            DurableWarning,
            stacklevel=5,
        )


def _around_waits(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and not _is_harmless(node) and any(map(_waits, node.body)):
            yield node.lineno, "with"
        elif isinstance(node, ast.Try) and node.finalbody and any(map(_waits, node.body)):
            yield node.lineno, "try … finally"


def _is_harmless(node: ast.With) -> bool:
    return all(
        isinstance(item.context_expr, ast.Call) and _called(item.context_expr) in _HARMLESS for item in node.items
    )


def _waits(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Call) and _called(one) in _WAITS for one in ast.walk(node))


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
