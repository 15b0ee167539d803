"""The source text of live functions and classes, and the text of restored ones for tracebacks."""

import ast
import dis
import inspect
import linecache
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import (
    CodeType,
    FunctionType,
)
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from durable_nb.flows.code import Absent
from durable_nb.flows.source.compiling import FUTURE, compile_function, parse


def remember(name: str, text: str) -> str:
    """Make tracebacks show the text of a file that does not exist; another text of that name gets another name."""
    lines = text.splitlines(keepends=True)
    for number in range(1, 1000):
        file = f"<durable {name}>" if number == 1 else f"<durable {name} {number}>"
        known = linecache.cache.get(file)
        if known is None or (len(known) == 4 and known[2] == lines):
            break
    # A time of None survives linecache.checkcache(), which every traceback runs.
    linecache.cache[file] = (len(text), None, lines, file)
    return file


class_files: WeakKeyDictionary[type, tuple[str, bool]] = WeakKeyDictionary()
"""Of every restored class: where its text is, and whether its annotations are text."""


class Left(Exception):
    """This object cannot be taken along; the text says why."""


class _Found(NamedTuple):
    source: str
    file: str
    line: int
    annotations_are_text: bool


class _Index:
    """Where the functions and classes of one file or cell are."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.functions: dict[tuple[int, str], list[Any]] = {}
        self.classes: dict[str, list[ast.ClassDef]] = {}
        tree = parse(text)
        self.annotations_are_text = any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__" and _names_annotations(node)
            for node in tree.body
        )
        self._walk(tree, "")

    def _walk(self, node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([child.lineno, *(item.lineno for item in child.decorator_list)])
                self.functions.setdefault((first, child.name), []).append(child)
                inner = f"{prefix}{child.name}.<locals>."
            elif isinstance(child, ast.Lambda):
                self.functions.setdefault((child.lineno, "<lambda>"), []).append(child)
            elif isinstance(child, ast.ClassDef):
                self.classes.setdefault(prefix + child.name, []).append(child)
                inner = f"{prefix}{child.name}."
            self._walk(child, inner)

    def cut(self, node: Any, first: int, without: Iterable[ast.stmt] = ()) -> str:
        """The lines of a node without its indentation, but never inside a text that spans lines."""
        inside: set[int] = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Constant | ast.JoinedStr) and part.end_lineno != part.lineno:
                inside.update(range(part.lineno + 1, (part.end_lineno or 0) + 1))
        lines = dict(enumerate(self.lines[first - 1 : node.end_lineno], first))
        for statement in without:
            start = min([statement.lineno, *(item.lineno for item in getattr(statement, "decorator_list", ()))])
            for number in range(start + 1, (statement.end_lineno or start) + 1):
                lines.pop(number, None)
            lines[start] = " " * statement.col_offset + "pass"
        indent = node.col_offset
        return "".join(
            (line if number in inside else line[min(indent, len(line) - len(line.lstrip())) :]) + "\n"
            for number, line in lines.items()
        )

    def cut_lambda(self, node: ast.Lambda) -> str:
        lines = [line.encode() for line in self.lines[node.lineno - 1 : node.end_lineno]]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        text = b"\n".join(lines).decode()
        return f"({text})\n" if "\n" in text else f"{text}\n"


def _names_annotations(node: ast.ImportFrom) -> bool:
    return any(name.name == "annotations" for name in node.names)


@lru_cache(maxsize=256)
def _indexed(text: str) -> _Index | None:
    try:
        return _Index(text)
    except (SyntaxError, ValueError):
        return None


def _index(file: str, names: dict[str, Any] | None = None) -> _Index | None:
    lines = linecache.getlines(file, names)
    return _indexed("".join(lines)) if lines else None


def find_function(function: FunctionType) -> _Found:
    code = function.__code__
    index = _index(code.co_filename, function.__globals__)
    nodes = index.functions.get((code.co_firstlineno, code.co_name), []) if index else []
    if index is None or not nodes:
        raise Left(f"its source is not to be found in {code.co_filename}; define it in a cell or a file")
    is_lambda = code.co_name == "<lambda>"
    if is_lambda and len(nodes) > 1:
        spans = {position for position in code.co_positions() if None not in position}
        nodes = [node for node in nodes if _span(node.body) in spans] or nodes
    for node in nodes:
        source = index.cut_lambda(node) if is_lambda else index.cut(node, node.lineno)
        try:
            compiled = compile_function(source, "", code.co_qualname, code.co_freevars, code.co_flags)
        except SyntaxError:
            continue
        if _is_same(compiled, code):
            return _Found(source, code.co_filename, node.lineno, bool(code.co_flags & FUTURE))
    raise Left(f"{code.co_filename} was changed after it was loaded; reload it, so that code and source agree")


def _span(node: ast.expr) -> tuple[int, int | None, int, int | None]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _is_same(compiled: CodeType, live: CodeType) -> bool:
    """Whether the text is that of the running code: a file may be newer than what was imported from it."""
    if any(name.startswith("@py") for name in live.co_names + live.co_varnames):
        return True  # pytest rewrote its asserts
    if compiled.co_names != live.co_names or compiled.co_varnames != live.co_varnames:
        return False
    if not live.co_flags & inspect.CO_OPTIMIZED:
        return True  # a class body: its line is one of its constants
    if _shape(compiled) != _shape(live):
        return False
    pairs = list(zip(compiled.co_consts, live.co_consts, strict=False))
    return len(compiled.co_consts) == len(live.co_consts) and all(
        _is_same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else _is_same_constant(a, b)
        for a, b in pairs
    )


def _shape(code: CodeType) -> list[tuple[int, int]]:
    """The instructions, without what depends on the imports above the function: calls of an imported module's names."""
    raw = code.co_code
    pairs = zip(raw[::2], raw[1::2], strict=True)
    return [(op, value if op in _TELLING else 0) for op, value in pairs if op not in _VARYING]


_TELLING: Final = frozenset(
    {*dis.haslocal, *dis.hasconst, *(dis.opmap[name] for name in ("BINARY_OP", "COMPARE_OP", "IS_OP", "CONTAINS_OP"))}
)
_VARYING: Final = frozenset(
    dis.opmap.get(name, 0) for name in ("CACHE", "PUSH_NULL", "EXTENDED_ARG", "LOAD_ATTR", "LOAD_METHOD", "NOP")
)


def _is_same_constant(a: object, b: object) -> bool:
    if isinstance(a, str) and isinstance(b, str) and "<locals>" in a + b:
        return True  # the qualname of a class in the function
    return type(a) is type(b) and a == b


def find_class(cls: type, without: set[str]) -> tuple[_Found, ast.ClassDef]:
    """The text of a class, found through its methods, its module's file, or the cells, newest first."""
    found: tuple[_Index, ast.ClassDef, str] | None = None
    for file in dict.fromkeys(_files_of(cls)):
        index = _index(file)
        if index is None:
            continue
        nodes = index.classes.get(cls.__qualname__) or index.classes.get(cls.__name__, [])
        for node in reversed(nodes):
            found = found or (index, node, file)
            if _declares(node, cls):
                return _cut_class(cls, index, node, file, without), node
    if found is None:
        raise Left(f"the source of class {cls.__qualname__} was not found; define it in a cell or a file")
    index, node, file = found
    return _cut_class(cls, index, node, file, without), node


def _cut_class(cls: type, index: _Index, node: ast.ClassDef, file: str, without: set[str]) -> _Found:
    dropped = [statement for statement in node.body if set(bound_by(statement)) & without]
    first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    are_text = class_files[cls][1] if cls in class_files else index.annotations_are_text
    return _Found(index.cut(node, first, dropped), file, first, are_text)


def _files_of(cls: type) -> Iterator[str]:
    if cls in class_files:
        yield class_files[cls][0]
    for function in own_functions(cls):
        yield function.__code__.co_filename
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file:
        yield file
    if cls.__module__ == "__main__" or file is None:
        # Cells have no file and no time in linecache.
        yield from [name for name, entry in reversed(linecache.cache.items()) if len(entry) == 4 and entry[1] is None]


def own_functions(cls: type) -> Iterator[FunctionType]:
    """The functions whose def stands in the class statement, out of their wrappings."""
    for value in list(vars(cls).values()):
        if type(value) is Absent:
            continue
        for part in (
            value,
            getattr(value, "fget", None),
            getattr(value, "__func__", None),
            getattr(value, "func", None),
        ):
            function = inspect.unwrap(part) if callable(part) else part
            if isinstance(function, FunctionType) and function.__code__.co_qualname.startswith(cls.__qualname__ + "."):
                yield function


def bound_by(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [statement.name]
        case ast.Assign():
            return [target.id for target in statement.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []


def _declares(node: ast.ClassDef, cls: type) -> bool:
    """Whether this statement can have made the class: every name it binds is there."""
    names = {*vars(cls), *vars(cls).get("__annotations__", ()), *getattr(cls, "__members__", ())}
    mangled = f"_{cls.__name__.lstrip('_')}"
    return all(
        name in names or mangled + name in names or name.startswith("_")
        for statement in node.body
        for name in bound_by(statement)
    )
