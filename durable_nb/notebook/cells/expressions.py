"""The expressions of a cell, walked in the order in which they run: which names are read, bound by then or not."""

import ast
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from durable_nb.notebook.cells import magics
from durable_nb.notebook.cells.scopes import (
    FunctionNode,
    Pending,
    Scope,
    comprehension_scope,
    function_scope,
)

State = dict[str, bool] | None
"""What the cell has decided about a name so far: True on every way here, False on some; None: no way leads here."""

SURELY: Final = "surely"
PERHAPS: Final = "perhaps"
LATER: Final = "later"
"""Read by a function that runs nobody knows when: from outside unless the cell binds it somewhere."""
LOOSE: Final = "loose"
"""Read after something that binds unseen names: perhaps from there, unless the cell binds the name itself."""

_DYNAMIC: Final = frozenset({"exec", "eval", "globals", "locals", "get_ipython"})
_OPENING: Final = _DYNAMIC - {"eval"}
_QUERIES: Final = frozenset({"query", "eval"})
_AT: Final = re.compile(r"@([A-Za-z_]\w*)")

_INITIALISERS: Final = frozenset({"__init__", "__new__", "__post_init__"})


def merged(states: Iterable[State]) -> State:
    """What holds where several ways meet."""
    alive = [state for state in states if state is not None]
    if len(alive) < 2:
        return alive[0] if alive else None
    names = {name for state in alive for name in state}
    return {name: all(state.get(name, False) for state in alive) for name in names}


class Expressions:
    """What the statements build on: reading, binding, calls."""

    def __init__(self, transform: magics.Transform) -> None:
        self.transform = transform
        self.state: State = {}
        self.how: dict[str, set[str]] = {}
        self.bound: dict[str, None] = {}
        self.deleted: dict[str, None] = {}
        self.gone: set[str] = set()  # deleted, and not bound since
        self.opaque: dict[str, None] = {}
        self.events: list[str] = []  # every binding, in order: what a try may have reached
        self.scopes: tuple[Scope, ...] = ()
        self.functions: dict[str, list[Pending]] = {}
        self.returns: list[State] = []
        self.is_deferred = False
        self.is_open = False  # something bound names that nobody sees
        self._rules: dict[type, Callable[[Any], None] | None] = {}
        self._active: set[int] = set()

    def visit(self, node: Any) -> None:
        """Walk one node; nothing happens where no way leads."""
        if self.state is None:
            return
        kind = type(node)
        if kind not in self._rules:
            self._rules[kind] = getattr(self, f"on_{kind.__name__}", None)
        rule = self._rules[kind]
        if rule is not None:
            rule(node)
        else:
            for child in ast.iter_child_nodes(node):
                self.visit(child)

    def visit_all(self, nodes: Iterable[Any]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    # names

    def home(self, name: str) -> Scope | None:
        """The scope a name belongs to, None when it is the notebook's."""
        for depth, scope in enumerate(reversed(self.scopes)):
            if name in scope.outside:
                return next((one for one in reversed(self.scopes[: -depth - 1]) if name in one.names), None)
            if name in scope.names and (depth == 0 or not scope.is_class):
                return scope
        return None

    def read(self, name: str) -> None:
        if self.home(name) is not None:
            return
        known = (self.state or {}).get(name)
        if known:
            return
        if known is False:
            how = PERHAPS
        elif self.is_deferred:
            how = LATER
        else:
            how = LOOSE if self.is_open else SURELY
        self.how.setdefault(name, set()).add(how)

    def bind(self, name: str) -> None:
        scope = next((one for one in reversed(self.scopes) if not one.is_comprehension), None)
        if scope is not None and name not in scope.outside:
            if scope.is_class:
                scope.names.add(name)
            return
        if scope is not None and any(name in one.names and not one.is_class for one in self.scopes):
            return  # nonlocal
        self.bound[name] = None
        self.gone.discard(name)
        self.decide(name)

    def decide(self, name: str) -> None:
        if self.state is not None:
            self.state[name] = True
            self.events.append(name)

    def pending(self, name: str) -> list[Pending]:
        home = self.home(name)
        return (self.functions if home is None else home.functions).get(name, [])

    def weakened(self, before: dict[str, bool], events: list[str]) -> dict[str, bool]:
        """The state where perhaps some of these bindings have happened."""
        return {**dict.fromkeys(events, False), **before}

    def on_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            home = self.home(node.id)
            if home is None or not home.is_comprehension:
                self.bind(node.id)
            return
        self.read(node.id)
        for one in self.pending(node.id):
            self.call(one, is_deferred=True)

    def on_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind(node.target.id)

    # ways that part and meet

    def fork(self, *ways: Iterable[Any]) -> None:
        """Walk each way from here; then they meet."""
        before, ends = self.state, []
        for nodes in ways:
            self.state = None if before is None else dict(before)
            self.visit_all(nodes)
            ends.append(self.state)
        self.state = merged(ends)

    def on_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self.fork(node.values[1:], ())

    def on_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.fork([node.body], [node.orelse])

    def on_ListComp(self, node: Any) -> None:
        self._comprehension(node.generators, [node.elt])

    on_SetComp = on_GeneratorExp = on_ListComp

    def on_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, [node.key, node.value])

    def _comprehension(self, generators: list[ast.comprehension], results: list[ast.expr]) -> None:
        self.visit(generators[0].iter)
        outer, before = self.scopes, None if self.state is None else dict(self.state)
        self.scopes = (*outer, comprehension_scope(generators))
        for number, generator in enumerate(generators):
            if number:
                self.visit(generator.iter)
            self.visit(generator.target)
            self.visit_all(generator.ifs)
        self.visit_all(results)
        self.scopes = outer
        self.state = merged([before, self.state])  # it may have run for no item at all

    # functions

    def on_Lambda(self, node: ast.Lambda) -> None:
        self.call(self.lambda_of(node), is_deferred=True)

    def lambda_of(self, node: ast.Lambda) -> Pending:
        self.visit_all([*node.args.defaults, *node.args.kw_defaults])
        return Pending(node, self.outer_scopes())

    def outer_scopes(self) -> tuple[Scope, ...]:
        """What a function defined here sees: not the names of a class body."""
        return tuple(scope for scope in self.scopes if not scope.is_class)

    def on_Call(self, node: ast.Call) -> None:
        magic = magics.magic_call(node)
        if magic is not None:
            self._magic(magic)
            return
        called: list[Pending] = []
        match node.func:
            case ast.Name(id=name):
                self.read(name)
                called = self.pending(name)
                self._dynamic(name, node)
            case ast.Lambda():
                called = [self.lambda_of(node.func)]
            case _:
                self.visit(node.func)
        self.visit_all([*node.args, *node.keywords])
        self._queried(node)
        for one in called:
            self.call(one, is_deferred=not one.runs_when_called)

    def on_Await(self, node: ast.Await) -> None:
        self.visit(node.value)
        match node.value:
            case ast.Call(func=ast.Name(id=name)):
                for one in self.pending(name):
                    self.call(one, is_deferred=one.is_generator)
            case _:
                pass

    def call(self, one: Pending, is_deferred: bool) -> None:
        """Look at the body of a function: it runs now, or (`is_deferred`) at a time nobody knows."""
        if id(one) in self._active or one.was_called or (is_deferred and one.was_mentioned):
            return
        if is_deferred:
            one.was_mentioned = True
        else:
            one.was_called = True
        self._active.add(id(one))
        if one.node is None:
            for method in one.methods:
                name = getattr(method.node, "name", "")
                self.call(method, is_deferred or name not in _INITIALISERS)
        else:
            self._run(one.node, one.scopes, is_deferred)
        self._active.discard(id(one))

    def _run(self, node: FunctionNode, scopes: tuple[Scope, ...], is_deferred: bool) -> None:
        saved = self.scopes, self.returns, self.is_deferred
        before, started = dict(self.state or {}), len(self.events)
        self.scopes, self.returns = (*scopes, function_scope(node)), []
        self.is_deferred = self.is_deferred or is_deferred
        self.visit_all([node.body] if isinstance(node, ast.Lambda) else node.body)
        ends = [*self.returns, self.state]
        self.scopes, self.returns, self.is_deferred = saved
        end = None if self.is_deferred or is_deferred else merged(ends)
        self.state = self.weakened(before, self.events[started:]) if end is None else end

    # what cannot be seen

    def _dynamic(self, name: str, node: ast.Call) -> None:
        if self.home(name) is not None or (self.state or {}).get(name):
            return
        if name in _DYNAMIC or (name == "vars" and not node.args):
            self.opaque[f"{name}()"] = None
            self.is_open = self.is_open or name in _OPENING or name == "vars"

    def _queried(self, node: ast.Call) -> None:
        """The names in df.query("a > @limit")."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in _QUERIES:
            for part in (inner for argument in node.args for inner in ast.walk(argument)):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    for name in _AT.findall(part.value):
                        self.read(name)

    def _magic(self, magic: magics.MagicCall) -> None:
        if magic.opaque is not None:
            self.opaque[magic.opaque] = None
        self.is_open = self.is_open or magic.name in magics.BINDING
        for text in magic.expanded():
            try:
                self.visit(ast.parse(text, mode="eval").body)
            except (SyntaxError, ValueError):
                continue
        trees = magics.pieces_of(magic, self.transform)
        if magic.name in magics.TIMED:
            body: list[ast.stmt] = [statement for tree in trees for statement in tree.body]
            function = ast.parse("def timed(): pass").body[0]
            assert isinstance(function, ast.FunctionDef)
            function.body = body or function.body
            self.call(Pending(function, self.scopes), is_deferred=False)
        else:
            for tree in trees:
                self.visit_all(tree.body)
