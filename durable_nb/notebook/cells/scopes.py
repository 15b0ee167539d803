"""Which names belong to a function, a class body or a comprehension, and not to the notebook."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_YIELDS = (ast.Yield, ast.YieldFrom)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(slots=True)
class Pending:
    """A function or class that the cell defines: its body is looked at where its name is called or first mentioned."""

    node: FunctionNode | None
    scopes: "tuple[Scope, ...]"
    methods: "tuple[Pending, ...]" = ()
    was_called: bool = False
    was_mentioned: bool = False

    @property
    def runs_when_called(self) -> bool:
        """Not so coroutines, which run when they are awaited, and generators, which run when they are consumed."""
        return not isinstance(self.node, ast.AsyncFunctionDef) and not self.is_generator

    @property
    def is_generator(self) -> bool:
        if self.node is None or isinstance(self.node, ast.Lambda):
            return False
        return any(isinstance(part, _YIELDS) for part in own_parts(self.node.body))


@dataclass(slots=True)
class Scope:
    """The names that are not the notebook's inside one piece of code, and the functions defined there."""

    names: set[str]
    outside: frozenset[str] = frozenset()
    is_class: bool = False
    is_comprehension: bool = False
    functions: dict[str, list[Pending]] = field(default_factory=dict)


def function_scope(node: FunctionNode) -> Scope:
    """The scope of a call of the function."""
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    bound, outside = bound_in(body)
    arguments = node.args
    everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = bound | {argument.arg for argument in everything if argument} | type_parameters(node)
    return Scope(names - outside, frozenset(outside))


def type_parameters(node: ast.AST) -> set[str]:
    """The names in the brackets of `def f[T]`, `class C[T]`, `type A[T]`."""
    return {parameter.name for parameter in getattr(node, "type_params", ())}


def comprehension_scope(generators: list[ast.comprehension]) -> Scope:
    """The scope of a comprehension: what its `for` parts bind."""
    names = {
        part.id
        for generator in generators
        for part in ast.walk(generator.target)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }
    return Scope(names, is_comprehension=True)


def bound_in(body: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """The names that code binds in its own scope, and those it declares global or nonlocal."""
    bound: set[str] = set()
    outside: set[str] = set()
    for node in own_parts(body):
        if isinstance(node, ast.Global | ast.Nonlocal):
            outside.update(node.names)
        else:
            bound.update(names_bound(node))
    return bound, outside


def names_bound(node: ast.AST) -> Iterable[str]:
    """The names one node binds by itself, without its parts."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return (name,)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return (name,)
        case ast.MatchMapping(rest=str(name)):
            return (name,)
        case ast.Import() | ast.ImportFrom():
            return [name for name in map(bound_by_import, node.names) if name != "*"]
        case _:
            return ()


def bound_by_import(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def own_parts(body: Iterable[ast.AST]) -> Iterable[ast.AST]:
    """All nodes that run in this scope: not the bodies of functions and classes, not what is local to comprehensions."""
    stack: list[Any] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, _COMPREHENSIONS):
            stack.extend(part.target for part in ast.walk(node) if isinstance(part, ast.NamedExpr))
            stack.append(node.generators[0].iter)
            continue
        yield node
        if isinstance(node, _FUNCTIONS):
            stack.extend(filter(None, [*node.args.defaults, *node.args.kw_defaults]))
            stack.extend(getattr(node, "decorator_list", ()))
        elif isinstance(node, ast.ClassDef):
            stack.extend([*node.decorator_list, *node.bases, *node.keywords])
        else:
            stack.extend(ast.iter_child_nodes(node))
