"""The statements of a cell, walked in the order in which they run."""

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from durable_nb.notebook.cells.expressions import Expressions, State, merged
from durable_nb.notebook.cells.scopes import Pending, Scope, bound_by_import, names_bound, type_parameters

_LAZY: Final = frozenset(
    {"step", "flow", "cache", "lru_cache", "cached_property", "property", "staticmethod", "classmethod", "wraps"}
    | {"contextmanager", "asynccontextmanager", "overload", "override", "singledispatch", "abstractmethod", "setter"}
    | {"jit", "njit", "vectorize", "dataclass", "total_ordering", "final", "unique"}
)
"""Decorators that do not call what they decorate: its body reads nothing when it is defined."""

_SWALLOWING: Final = frozenset({"suppress", "raises", "assertRaises"})
"""Context managers after which a cell goes on although their body has raised."""


class Statements(Expressions):
    """Walks a whole cell; `finish` says what came of it."""

    def __init__(self, transform: Callable[[str], str]) -> None:
        super().__init__(transform)
        self._loops: list[tuple[list[State], list[State]]] = []  # where `break` and `continue` lead to
        self._annotations_are_text = False

    # bindings

    def on_Assign(self, node: ast.Assign) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda() as function):
                self._define(name, self.lambda_of(function))
            case _:
                self.visit(node.value)
                self.visit_all(node.targets)

    def on_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
        self.visit(node.value)
        self.visit(node.target)

    def on_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def on_TypeAlias(self, node: Any) -> None:
        self.visit(node.name)

    def on_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._delete(target.id)
            else:
                self.visit(target)

    def _delete(self, name: str) -> None:
        self.read(name)
        if self.home(name) is None:
            self.deleted[name] = None
            self.gone.add(name)
            self.decide(name)

    def on_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.bind(bound_by_import(alias))

    def on_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.opaque[f"from {node.module or '.'} import *"] = None
                self.is_open = True
            else:
                self.bind(bound_by_import(alias))
        if node.module == "__future__" and any(alias.name == "annotations" for alias in node.names):
            self._annotations_are_text = True

    # definitions

    def on_FunctionDef(self, node: Any) -> None:
        self.visit_all(node.decorator_list)
        arguments = node.args
        self.visit_all([*arguments.defaults, *arguments.kw_defaults])
        with self._names_of_types(node):
            everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            for argument in filter(None, [*everything, arguments.vararg, arguments.kwarg]):
                self._annotation(argument.annotation)
            self._annotation(node.returns)
        one = Pending(node, self.outer_scopes())
        self._define(node.name, one)
        self._decorated(node, one)

    on_AsyncFunctionDef = on_FunctionDef

    def on_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all(node.decorator_list)
        scope = Scope(set(), is_class=True)
        with self._names_of_types(node):
            self.visit_all([*node.bases, *node.keywords])
            inner, outer = (*self.scopes, scope), self.scopes
            self.scopes = inner
            self.visit_all(node.body)
            self.scopes = outer
        methods = tuple(one for found in scope.functions.values() for one in found)
        one = Pending(None, self.outer_scopes(), methods)
        self._define(node.name, one)
        self._decorated(node, one)

    def _define(self, name: str, one: Pending) -> None:
        self.bind(name)
        inner = self.scopes[-1] if self.scopes else None
        if inner is not None and name not in inner.outside:
            inner.functions.setdefault(name, []).append(one)
        else:
            self.functions.setdefault(name, []).append(one)

    def _decorated(self, node: Any, one: Pending) -> None:
        if not all(_last_name(decorator) in _LAZY for decorator in node.decorator_list):
            self.call(one, is_deferred=True)

    @contextmanager
    def _names_of_types(self, node: ast.AST) -> Iterator[None]:
        outer, names = self.scopes, type_parameters(node)
        if names:
            self.scopes = (*outer, Scope(names))
        try:
            yield
        finally:
            self.scopes = outer

    def _annotation(self, node: ast.expr | None) -> None:
        if node is not None and not self._annotations_are_text and not self._is_in_function():
            self.visit(node)

    def _is_in_function(self) -> bool:
        return any(not scope.is_class and not scope.is_comprehension for scope in self.scopes)

    # ways

    def on_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.fork(node.body, node.orelse)

    def on_Return(self, node: ast.Return) -> None:
        self.visit_all([node.value])
        self.returns.append(self.state)
        self.state = None

    def on_Raise(self, node: ast.Raise) -> None:
        self.visit_all([node.exc, node.cause])
        self.state = None

    def on_Break(self, node: ast.Break) -> None:
        if self._loops:
            self._loops[-1][0].append(self.state)
        self.state = None

    def on_Continue(self, node: ast.Continue) -> None:
        if self._loops:
            self._loops[-1][1].append(self.state)
        self.state = None

    def on_For(self, node: Any) -> None:
        self.visit(node.iter)
        self._loop([node.target, *node.body], node.orelse, may_run_never=True)

    on_AsyncFor = on_For

    def on_While(self, node: ast.While) -> None:
        self.visit(node.test)
        is_endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self._loop(node.body, node.orelse, may_run_never=not is_endless)

    def _loop(self, body: list[Any], otherwise: list[Any], may_run_never: bool) -> None:
        before = None if self.state is None else dict(self.state)
        breaks: list[State] = []
        again: list[State] = []
        started = len(self.events)
        self._loops.append((breaks, again))
        self.visit_all(body)
        self._loops.pop()
        self.state = merged([before, self.state, *again]) if may_run_never else None
        self.visit_all(otherwise)
        # It may be a later round that breaks: by then all of the body has run.
        events = self.events[started:]
        self.state = merged([self.state, *(self.weakened(end, events) for end in breaks if end is not None)])

    def on_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self.fork([node.msg], ())

    def on_With(self, node: Any) -> None:
        before, started = dict(self.state or {}), len(self.events)
        for item in node.items:
            self.visit_all([item.context_expr, item.optional_vars])
        self.visit_all(node.body)
        if any(_last_name(item.context_expr) in _SWALLOWING for item in node.items):
            self.state = merged([self.state, self.weakened(before, self.events[started:])])

    on_AsyncWith = on_With

    def on_Try(self, node: Any) -> None:
        before, started = dict(self.state or {}), len(self.events)
        self.visit_all(node.body)
        self.visit_all(node.orelse)
        ends = [self.state]
        reached = self.weakened(before, self.events[started:])
        for handler in node.handlers:
            self.state = dict(reached)
            self._handle(handler)
            ends.append(self.state)
        self.state = end = merged(ends)
        if node.finalbody:
            self.state = self.weakened(before, self.events[started:])
            finally_from = len(self.events)
            self.visit_all(node.finalbody)
            bound = dict.fromkeys(self.events[finally_from:], True)
            self.state = None if end is None or self.state is None else {**end, **bound}

    on_TryStar = on_Try

    def _handle(self, handler: ast.ExceptHandler) -> None:
        self.visit_all([handler.type])
        if handler.name is not None:
            self.bind(handler.name)
        self.visit_all(handler.body)

    def on_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before, ends = dict(self.state or {}), []
        is_complete = False
        for case in node.cases:
            self.state = dict(before)
            self.visit(case.pattern)
            self.visit_all([case.guard, *case.body])
            ends.append(self.state)
            is_complete = is_complete or (case.guard is None and _takes_all(case.pattern))
        self.state = merged(ends if is_complete else [before, *ends])

    def on_MatchAs(self, node: Any) -> None:
        self.visit_all(ast.iter_child_nodes(node))
        for name in names_bound(node):
            self.bind(name)

    on_MatchStar = on_MatchMapping = on_MatchAs


def _takes_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def _last_name(node: ast.expr) -> str:
    """`lru_cache` of `functools.lru_cache(maxsize=3)`."""
    while isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
