"""A piece of source text to its code object, and the names a code object reads."""

import ast
import dis
import inspect
import threading
import warnings
from collections.abc import Iterable
from types import CodeType
from typing import Any, Final, cast

FUTURE: Final = 0x1000000  # CO_FUTURE_ANNOTATIONS
_OUTSIDE: Final = "_outside"
MAKE: Final = "_make"
_PARSING: Final = threading.Lock()  # filters of warnings are of the process, and so is a counter of the parser
_PATIENCE: Final = 20


def parse(text: str) -> ast.Module:
    """The tree of a text, without its warnings: they were given when the original was compiled.

    Up to Python 3.11.7 and 3.12.1 two threads that parse spoil each other's count of depth. Ours wait for each other;
    when it was one of the user's, it is done again.
    """
    tries = 0
    while True:
        with _PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ast.parse(text)
            except SystemError:
                tries += 1
                if tries == _PATIENCE:
                    raise


def compile_function(source: str, file: str, path: str, free: Iterable[str], flags: int = 0) -> CodeType:
    """The code object of a def or lambda whose qualname is `path` and whose free names are `free`."""
    statement = parse(source).body[0]
    node: Any = statement.value if isinstance(statement, ast.Expr) else statement
    _strip(node)
    owner = _owner(path)
    body: list[ast.stmt] = [statement]
    names = [name for name in free if not (owner and name == "__class__")]
    if names:
        body = [_def_named(_OUTSIDE, names, body)]
    # Inside a class of that name, so that __private names and super() mean what they meant; outermost, so that the
    # name itself stays a global.
    if owner:
        body = [_class_named(owner, body)]
    code = _compile(body, file, flags)
    for _ in range(1 + bool(names) + bool(owner)):
        code = next(const for const in code.co_consts if isinstance(const, CodeType))
    return _renamed(code, code.co_qualname, path)


def compile_class(source: str, file: str, free: Iterable[str], flags: int = 0) -> CodeType:
    """The code that runs a class statement: a module, or a function that returns the class when names are free."""
    statement = parse(source).body[0]
    names = list(free)
    if not names or not isinstance(statement, ast.ClassDef):
        return _compile([statement], file, flags)
    result = ast.Return(ast.Name(statement.name, ast.Load()))
    made = _def_named(MAKE, [], [statement, result])
    outside = _compile([_def_named(_OUTSIDE, names, [made])], file, flags)
    for name in (_OUTSIDE, MAKE):
        outside = next(c for c in outside.co_consts if isinstance(c, CodeType) and c.co_name == name)
    return outside


def _strip(node: Any) -> None:
    """Drop what is evaluated outside the body: the stored objects take its place."""
    arguments = node.args
    arguments.defaults = [ast.Constant(None) for _ in arguments.defaults]
    arguments.kw_defaults = [item and ast.Constant(None) for item in arguments.kw_defaults]
    everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for argument in filter(None, everything):
        argument.annotation = None
    if not isinstance(node, ast.Lambda):
        node.decorator_list, node.returns = [], None
        if getattr(node, "type_params", None):
            node.type_params = []


def _owner(path: str) -> str:
    """The innermost class of a qualname, "" outside classes."""
    parts = path.split(".")
    pairs = zip(parts[-2::-1], parts[:0:-1], strict=True)
    return next((name for name, inner in pairs if "<locals>" not in (name, inner)), "")


def _def_named(name: str, parameters: list[str], body: list[ast.stmt]) -> ast.stmt:
    definition = cast(ast.FunctionDef, parse(f"def {name}({', '.join(parameters)}): pass").body[0])
    definition.body = body
    return definition


def _class_named(name: str, body: list[ast.stmt]) -> ast.stmt:
    definition = cast(ast.ClassDef, parse(f"class {name}: pass").body[0])
    definition.body = body
    return definition


def _compile(body: list[ast.stmt], file: str, flags: int) -> CodeType:
    tree = ast.fix_missing_locations(ast.Module(body, []))
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(tree, file, "exec", flags=flags & FUTURE, dont_inherit=True)
    return cast(CodeType, code)


def _renamed(code: CodeType, old: str, new: str) -> CodeType:
    """The code and all code in it with qualnames as they were before the text was wrapped."""
    if old == new or not code.co_qualname.startswith(old):
        return code
    inner = tuple(_renamed(const, old, new) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.replace(co_qualname=new + code.co_qualname[len(old) :], co_consts=inner)


def names_read(code: CodeType, now: bool = False) -> set[str]:
    """The globals a code object reads, nested code included; `now`: only those read when a class statement runs.

    Never co_names: it holds attributes too.
    """
    found: set[str] = set()
    bound: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in _READS and instruction.argval not in bound:
            found.add(instruction.argval)
        elif instruction.opname == "STORE_NAME":
            bound.add(instruction.argval)  # a class body that reads its own name further down
    for const in code.co_consts:
        is_body = isinstance(const, CodeType) and not const.co_flags & inspect.CO_OPTIMIZED
        if isinstance(const, CodeType) and (not now or is_body or _runs_at_once(const)):
            found |= names_read(const, now)
    return found - _OF_MODULES


_READS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_OF_MODULES: Final = frozenset(
    {"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__loader__", "__package__", "__annotations__"}
    | {"__module__", "__qualname__", "__classcell__", "__static_attributes__", "__firstlineno__", "__debug__"}
)


def _runs_at_once(code: CodeType) -> bool:
    """Comprehensions and the scopes of type parameters, not functions."""
    return code.co_name.startswith("<") and code.co_name != "<lambda>"


def attributes_of(code: CodeType) -> set[str]:
    """Names the code may use as attributes: more than it does, which is harmless."""
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            names |= attributes_of(const)
    return names
