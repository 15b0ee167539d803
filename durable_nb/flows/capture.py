"""From a live function to what is stored: its source, and everything that source needs, followed by name.

The walk is breadth first. Each global of a namespace is taken once; when it cannot be taken, all that was begun for it
is undone and a Gap stands in its place.
"""

import ast
import builtins
import copyreg
import dis
import enum
import gc
import importlib.metadata
import inspect
import io
import linecache
import os
import site
import sys
import sysconfig
import typing
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
    UnionType,
)
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import msgspec

from durable_nb.codec.values import Encoded, encode
from durable_nb.errors import DurableError, Uncapturable
from durable_nb.flows.code import (
    FORMAT,
    Absent,
    Cell,
    Class,
    Code,
    Document,
    Function,
    Gap,
    Import,
    Items,
    Json,
    Made,
    Member,
    Missing,
    Module,
    Packed,
    Pairs,
    Place,
    Refer,
    Reference,
    Space,
    Thing,
    class_files,
    digest,
    parse,
    write,
)
from durable_nb.flows.restore import compile_class, compile_function

LIMIT: Final = 1 << 20
"""Largest value, encoded, that travels with code; more belongs in a step's arguments or in a file."""

PARTS: Final = 20_000
"""Most objects one global may consist of when they have to be stored one by one."""

_FUTURE: Final = 0x1000000  # CO_FUTURE_ANNOTATIONS


def capture(function: Callable[..., Any], refer: Refer) -> Code:
    """The function as source; `refer` says of any object whether it is a flow or step, and which."""
    return capture_watched(function, refer)[0]


def capture_watched(function: Callable[..., Any], refer: Refer) -> tuple[Code, "Watched"]:
    """The function as source, and what to look at to know whether a new capture would say the same."""
    _check(function)
    walk = _Walk(refer)
    try:
        walk.function(function)  # type: ignore[arg-type]
    except _Left as left:
        raise Uncapturable(f"`{function.__qualname__}` cannot travel as source: {left}") from left
    walk.follow()
    things, spaces = walk.stored()
    mark = digest(things, spaces)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    document = write(Document(FORMAT, mark, python, things, spaces))
    return Code(function.__qualname__, mark, document, tuple(walk.missing)), walk.watched


def _check(function: object) -> None:
    if not isinstance(function, FunctionType):
        raise Uncapturable(f"{function!r} is not a plain function; define it with def in a cell or a file.")
    name, flags = function.__qualname__, function.__code__.co_flags
    if function.__code__.co_name == "<lambda>":
        raise Uncapturable("A lambda has no name to be found by; define it with def in a cell or a file.")
    if flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        raise Uncapturable(f"`{name}` is a generator; define it with def or async def, and return its result.")


class _Left(Exception):
    """This object cannot be taken along; the text says why."""


# Finding the text


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


def _find_function(function: FunctionType) -> _Found:
    code = function.__code__
    index = _index(code.co_filename, function.__globals__)
    nodes = index.functions.get((code.co_firstlineno, code.co_name), []) if index else []
    if index is None or not nodes:
        raise _Left(f"its source is not to be found in {code.co_filename}; define it in a cell or a file")
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
            return _Found(source, code.co_filename, node.lineno, bool(code.co_flags & _FUTURE))
    raise _Left(f"{code.co_filename} was changed after it was loaded; reload it, so that code and source agree")


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


def _find_class(cls: type, without: set[str]) -> tuple[_Found, ast.ClassDef]:
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
        raise _Left(f"the source of class {cls.__qualname__} was not found; define it in a cell or a file")
    index, node, file = found
    return _cut_class(cls, index, node, file, without), node


def _cut_class(cls: type, index: _Index, node: ast.ClassDef, file: str, without: set[str]) -> _Found:
    dropped = [statement for statement in node.body if set(_bound_by(statement)) & without]
    first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    are_text = class_files[cls][1] if cls in class_files else index.annotations_are_text
    return _Found(index.cut(node, first, dropped), file, first, are_text)


def _files_of(cls: type) -> Iterator[str]:
    if cls in class_files:
        yield class_files[cls][0]
    for function in _own_functions(cls):
        yield function.__code__.co_filename
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file:
        yield file
    if cls.__module__ == "__main__" or file is None:
        # Cells have no file and no time in linecache.
        yield from [name for name, entry in reversed(linecache.cache.items()) if len(entry) == 4 and entry[1] is None]


def _own_functions(cls: type) -> Iterator[FunctionType]:
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


def _bound_by(statement: ast.stmt) -> list[str]:
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
        for name in _bound_by(statement)
    )


# Names


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


def _attributes_of(code: CodeType) -> set[str]:
    """Names the code may use as attributes: more than it does, which is harmless."""
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            names |= _attributes_of(const)
    return names


# Installed or first-party

_CACHED: Final = type(lru_cache(len))


def _folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {site.getusersitepackages()}
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


_FOLDERS: Final = _folders()


def is_installed(module: str) -> bool:
    """Whether a module comes with Python or a package, so that importing it elsewhere gives the same."""
    if module in ("__main__", "__mp_main__"):
        return False
    if module.partition(".")[0] in ("durable_nb", *sys.builtin_module_names):
        return True
    found = sys.modules.get(module)
    return found is not None and _is_installed_at(module, _file_of(found))


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return file
    folders = list(getattr(module, "__path__", None) or ())
    if folders:
        return os.path.join(folders[0], "")
    return getattr(getattr(module, "__spec__", None), "origin", None)


@lru_cache(maxsize=4096)
def _is_installed_at(module: str, file: str | None) -> bool:
    if file is None:
        return False
    if file in ("built-in", "frozen") or not file.endswith((".py", ".pyc", os.sep)):
        return True  # an extension has no source to take
    parts = file.replace("\\", "/").split("/")
    return "site-packages" in parts or "dist-packages" in parts or os.path.realpath(file).startswith(_FOLDERS)


@lru_cache(maxsize=1024)
def _version(package: str) -> str:
    if package in sys.stdlib_module_names:
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = getattr(sys.modules.get(package), "__version__", "")
        return version if isinstance(version, str) else ""


def _import(module: str, path: str = "") -> Import:
    return Import(module, path, _version(module.partition(".")[0]))


def _imported_as(obj: Any) -> Import | None:
    """How to import this very object, if some installed module has it."""
    if isinstance(obj, type | FunctionType | BuiltinFunctionType | _CACHED):
        module, path = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
        if isinstance(module, str) and isinstance(path, str) and is_installed(module):
            found: Any = sys.modules.get(module)
            for part in path.split("."):
                found = getattr(found, part, None)
            if found is obj:
                return _import(module, path)
    home = type(obj).__module__
    if not is_installed(home):
        return None
    # Builtin types without a builtin name, such as NoneType, stand in types.
    homes = ("builtins", "types") if home == "builtins" else (home, home.partition(".")[0])
    for module in dict.fromkeys(homes):
        for name, value in list(vars(sys.modules[module]).items()):
            if value is obj and name != "_":  # the interactive prompt keeps its last result in builtins._
                return _import(module, name)
    return None


# Walking

_NOTHING: Final = object()
_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
_ALIAS: Final = (type(typing.List[int]), type(typing.Union[int, str]), type(Callable[[int], str]))  # noqa: UP006, UP007
_WEAK: Final = (WeakKeyDictionary, WeakValueDictionary, WeakSet)
_BY_PARTS: Final = frozenset(
    {partial, deque, defaultdict, OrderedDict, Counter, SimpleNamespace, MethodType, BuiltinFunctionType, _CACHED}
    | {GenericAlias, UnionType, typing.TypeVar, typing.NewType, MappingProxyType, *_ALIAS, *_WEAK}
)
"""Types of Python that may hold the user's functions and classes; any other installed type is a value for the codec."""

_FIXED: Final = frozenset({tuple, frozenset, *_ATOMS})


class _OpenSpace:
    """One module namespace while it is being walked."""

    def __init__(self, number: int, names: dict[str, Any]) -> None:
        self.number = number
        self.globals = names
        self.module = str(names.get("__name__", "__main__"))
        real = sys.modules.get(self.module)
        self.is_imported = real is not None and vars(real) is names and is_installed(self.module)
        self.taken: dict[str, Place] = {}

    def value(self, name: str) -> Any:
        """The object of that name; builtins that every Python has are not taken along."""
        if name in self.globals:
            return self.globals[name]
        value = getattr(builtins, name, _NOTHING)
        home = getattr(value, "__module__", None) or type(value).__module__
        return _NOTHING if home in _PLAIN_BUILTINS else value

    def stored(self) -> Space:
        file = self.globals.get("__file__")
        return Space(self.module, file if isinstance(file, str) else "", self.is_imported, self.taken)


_PLAIN_BUILTINS: Final = frozenset({"builtins", "io", "_io", "_sitebuiltins", "site"})


class _Walk:
    """One capture."""

    def __init__(self, refer: Refer) -> None:
        self.missing: list[Missing] = []
        self.watched = Watched()
        self._refer = refer
        self._things: list[Thing] = []
        self._begun = 0
        self._places: dict[int, Place] = {}
        self._kept: list[object] = []  # an id is good only while its object lives
        self._spaces: dict[int, _OpenSpace] = {}
        self._queue: list[Callable[[], None]] = []
        self._mentions: set[tuple[int, str, frozenset[str]]] = set()

    def follow(self) -> None:
        """Take what the things taken so far need, until nothing is left."""
        for task in self._queue:
            task()

    def stored(self) -> tuple[list[Thing], list[Space]]:
        return self._things, [space.stored() for space in self._spaces.values()]

    # Bookkeeping

    def _add(self, thing: Thing, obj: object = _NOTHING) -> Place:
        if len(self._things) - self._begun > PARTS:
            raise _Left(f"it has more than {PARTS:,} parts")
        self._things.append(thing)
        place = len(self._things) - 1
        if obj is not _NOTHING:
            self._places[id(obj)] = place
            self._kept.append(obj)
        return place

    def _take(self, obj: Any, name: str) -> Place:
        """The place of an object, or of a gap of that name; what was begun for a gap is undone."""
        self._begun = len(self._things)
        things, tasks, gaps = len(self._things), len(self._queue), len(self.missing)
        try:
            return self._place(obj)
        except _Left as left:
            why = str(left)
        except RecursionError:
            why = "it is nested too deeply"
        del self._things[things:], self._queue[tasks:], self.missing[gaps:]
        self._places = {key: place for key, place in self._places.items() if place < things}
        self.missing.append(Missing(name, why))
        return self._add(Gap(name, why))

    def _space(self, names: dict[str, Any]) -> _OpenSpace:
        if id(names) not in self._spaces:
            self._kept.append(names)
            self._spaces[id(names)] = _OpenSpace(len(self._spaces), names)
        return self._spaces[id(names)]

    def _read(self, space: _OpenSpace, names: set[str], mentions: frozenset[str]) -> tuple[str, ...]:
        if space.is_imported:
            return ()
        for name in sorted(names):
            self._queue.append(partial(self._global, space, name, mentions))
        return tuple(sorted(name for name in names if space.value(name) is not _NOTHING))

    def _global(self, space: _OpenSpace, name: str, mentions: frozenset[str]) -> None:
        if (space.number, name, mentions) in self._mentions:
            return
        self._mentions.add((space.number, name, mentions))
        value = space.value(name)
        if name not in space.taken:
            self.watched.names.append((space.globals, name, space.globals.get(name, _NOTHING)))
            if value is _NOTHING:
                return
            is_main = space.module in ("__main__", "__mp_main__")
            space.taken[name] = self._take(value, name if is_main else f"{space.module}.{name}")
        if isinstance(value, ModuleType):
            self._mentioned(value, self._things[space.taken[name]], space.taken[name], mentions)

    def _mentioned(self, module: ModuleType, thing: Thing, place: Place, mentions: frozenset[str]) -> None:
        """Take the attributes of a first-party module, the submodules of an installed one, that the code mentions."""
        if isinstance(thing, Module):
            self._read(self._space(vars(module)), {*mentions} & {*vars(module)}, mentions)
        elif isinstance(thing, Import):
            loaded = {*thing.submodules, *_submodules(module.__name__, mentions)}
            self._things[place] = msgspec.structs.replace(thing, submodules=tuple(sorted(loaded)))

    # Things

    def _place(self, obj: Any) -> Place:
        kind = type(obj)
        if kind in _ATOMS:
            return self._value(obj)
        if id(obj) in self._places:
            return self._places[id(obj)]
        reference = self._refer(obj)
        if reference is not None:
            return self._add(Reference(*reference), obj)
        if kind is Absent:
            raise _Left(vars(obj)["_why"])
        if isinstance(obj, ModuleType):
            installed = is_installed(obj.__name__)
            return self._add(_import(obj.__name__) if installed else Module(self._space(vars(obj)).number), obj)
        if kind in _CONTAINERS:
            return self._value(obj) if self._is_plain(obj, set(), [0]) else self._container(obj)
        imported = _imported_as(obj)
        if imported is not None:
            return self._add(imported, obj)
        if isinstance(obj, FunctionType):
            return self.function(obj)
        if isinstance(obj, type):
            return self._class(obj)
        if kind in _BY_PARTS or not is_installed(kind.__module__):
            return self._made(obj)
        return self._value(obj)

    def _places_of(self, objects: Iterable[Any]) -> tuple[Place, ...]:
        return tuple(self._place(obj) for obj in objects)

    def _is_plain(self, obj: Any, seen: set[int], count: list[int]) -> bool:
        """Whether a container is a tree of plain values; refuses it as soon as it must be too large."""
        count[0] += len(obj)
        if count[0] > LIMIT // 2:
            raise _Left(_too_large("at least", count[0]))
        if id(obj) in seen and type(obj) not in _FIXED:
            return False  # shared or cyclic: taken by parts, which keeps that
        seen.add(id(obj))
        for item in (*obj, *obj.values()) if isinstance(obj, dict) else obj:
            kind = type(item)
            if kind in _ATOMS:
                count[0] += len(item) if kind is str or kind is bytes else 0
            elif kind in _CONTAINERS:
                if not self._is_plain(item, seen, count):
                    return False
            elif (
                isinstance(item, type | FunctionType | ModuleType | Absent | io.IOBase)
                or kind in _BY_PARTS
                or not is_installed(kind.__module__)
                or self._refer(item) is not None
            ):
                return False
            else:
                count[0] += _weight(item)
        return True

    def _value(self, obj: Any) -> Place:
        kind = type(obj)
        _check_weight(obj)
        try:
            encoded = encode(obj, "it")
        except DurableError as error:
            raise _Left(str(error)) from error
        if len(encoded.data) > LIMIT:
            raise _Left(_too_large("encoded", len(encoded.data)))
        if encoded.codec == "pickle" and _holds_code(encoded.data):
            return self._made(obj)
        if kind not in _FIXED:
            self.watched.values.append((obj, encoded))
        thing = Json(msgspec.Raw(encoded.data)) if encoded.codec == "json" else Packed(*encoded)
        return self._add(thing, _NOTHING if kind in _FIXED else obj)

    def _container(self, obj: Any) -> Place:
        self.watched.parts.append((obj, _parts(obj)))
        if isinstance(obj, tuple | frozenset):
            items = self._places_of(_ordered(obj))
            return self._add(Items(type(obj).__name__, items), obj)
        place = self._add(Pairs(()), obj)
        if isinstance(obj, dict):
            self._things[place] = Pairs(tuple((self._place(key), self._place(value)) for key, value in obj.items()))
        else:
            self._things[place] = Items(type(obj).__name__, self._places_of(_ordered(obj)))
        return place

    def _made(self, obj: Any) -> Place:
        """An object by its parts, as it would pickle itself."""
        if _weight(obj) > LIMIT:
            raise _Left(_too_large("in memory", _weight(obj)))
        if isinstance(obj, enum.Enum) and type(obj).__members__.get(obj.name) is obj:
            return self._add(Member(self._place(type(obj)), obj.name), obj)
        if isinstance(obj, _CACHED):
            cache = self._add(Made(self._place(lru_cache), (), self._named(dict(obj.cache_parameters()))))
            return self._add(Made(cache, (self._place(obj.__wrapped__),)), obj)
        if isinstance(obj, typing.TypeVar):
            keywords = {"bound": obj.__bound__, "covariant": obj.__covariant__, "contravariant": obj.__contravariant__}
            return self._called(obj, typing.TypeVar, (obj.__name__, *obj.__constraints__), keywords)
        if isinstance(obj, typing.NewType):
            return self._called(obj, typing.NewType, (obj.__name__, obj.__supertype__), {})
        if isinstance(obj, enum.Enum):  # a combination of flags
            return self._called(obj, type(obj), (obj.value,), {})
        if isinstance(obj, MappingProxyType):
            return self._called(obj, MappingProxyType, tuple(gc.get_referents(obj)), {})
        if isinstance(obj, _WEAK):
            return self._called(obj, type(obj), (), {})  # a cache: what it holds weakly is not the code's to keep
        reduced = _reduced(obj)
        place = self._add(Gap("", ""), obj)
        self.watched.parts.append((obj, _parts(obj)))
        call, arguments, state, items, pairs = reduced
        self._things[place] = Made(
            self._place(call),
            self._places_of(arguments),
            {},
            None if state is None else self._place(state),
            self._places_of(items),
            tuple((self._place(key), self._place(value)) for key, value in pairs),
        )
        return place

    def _called(self, obj: Any, call: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Place:
        return self._add(Made(self._place(call), self._places_of(arguments), self._named(keywords)), obj)

    def _named(self, objects: dict[str, Any]) -> dict[str, Place]:
        return {name: self._place(obj) for name, obj in objects.items()}

    # Functions

    def function(self, function: FunctionType) -> Place:
        code = function.__code__
        found = _find_function(function)
        place = self._add(Gap("", ""), function)
        self.watched.functions.append(_function_state(function))
        space = self._space(function.__globals__)
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        defaults = function.__defaults__ or ()
        parameters = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        self._things[place] = Function(
            name=function.__name__,
            qualname=function.__qualname__,
            path=code.co_qualname,
            source=found.source,
            file=found.file,
            line=found.line,
            space=space.number,
            annotations_are_text=found.annotations_are_text,
            reads=self._read(space, names_read(code), frozenset(_attributes_of(code))),
            cells={name: self._cell(cell, name) for name, cell in cells},
            defaults=tuple(
                self._take(value, f"{function.__qualname__}({name}=)")
                for name, value in zip(parameters, defaults, strict=True)
            ),
            keyword_defaults={
                name: self._take(value, f"{function.__qualname__}({name}=)")
                for name, value in (function.__kwdefaults__ or {}).items()
            },
            annotations=self._annotations(function),
            attributes={
                name: self._take(value, f"{function.__qualname__}.{name}") for name, value in vars(function).items()
            },
        )
        return place

    def _annotations(self, function: FunctionType) -> dict[str, Place]:
        """Those that can be taken: the others are left out, no code runs worse without them."""
        taken: dict[str, Place] = {}
        for name, value in function.__annotations__.items():
            gaps = len(self.missing)
            place = self._take(value, name)
            if len(self.missing) == gaps:
                taken[name] = place
            else:
                del self.missing[gaps:], self._things[place:]
        return taken

    def _cell(self, cell: CellType, name: str) -> Place:
        if id(cell) in self._places:
            return self._places[id(cell)]
        place = self._add(Cell(), cell)
        self._queue.append(partial(self._content, cell, place, name))
        return place

    def _content(self, cell: CellType, place: Place, name: str) -> None:
        value = _content_of(cell)
        self.watched.cells.append((cell, value))
        if value is not _NOTHING:
            self._things[place] = Cell(self._take(value, name))

    # Classes

    def _class(self, cls: type) -> Place:
        outer = _outer_of(cls)
        if outer is not None:
            return self._add(Member(self._place(outer), cls.__name__), cls)
        if cls.__bases__ == (tuple,) and hasattr(cls, "_fields") and not hasattr(cls, "__orig_bases__"):
            return self._namedtuple(cls)
        references = {name: value for name, value in vars(cls).items() if self._refer(value) is not None}
        try:
            found, node = _find_class(cls, set(references))
        except _Left:
            if issubclass(cls, enum.Enum):
                return self._enum(cls)
            raise
        place = self._add(Gap("", ""), cls)
        self.watched.classes.append((cls, _own_names(cls)))
        code = compile_class(found.source, "", (), _FUTURE if found.annotations_are_text else 0)
        space = self._space(_globals_of(cls))
        reads, needs = names_read(code), names_read(code, now=True)
        cells = self._cells_of(cls, space, reads, needs)
        attributes = {**references, **_set_beside(cls, node)}
        self._things[place] = Class(
            name=node.name,
            qualname=cls.__qualname__,
            source=found.source,
            file=found.file,
            line=found.line,
            space=space.number,
            annotations_are_text=found.annotations_are_text,
            reads=self._read(space, reads - {*cells}, frozenset(_attributes_of(code))),
            needs=tuple(sorted(needs - {*cells})),
            cells=cells,
            attributes={name: self._take(attributes[name], f"{cls.__name__}.{name}") for name in sorted(attributes)},
        )
        return place

    def _cells_of(self, cls: type, space: _OpenSpace, reads: set[str], needs: set[str]) -> dict[str, Place]:
        """The variables of the function a class was defined in: those of its methods' closures, and its bases."""
        cells: dict[str, Place] = {}
        for function in _own_functions(cls):
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                if name in reads and name not in cells:
                    cells[name] = self._cell(cell, name)
        bases = {base.__name__: base for base in cls.__bases__}
        for name in sorted(needs - {*cells}):
            if space.value(name) is not _NOTHING or hasattr(builtins, name):
                continue
            if name not in bases:
                raise _Left(f"the statement of class {cls.__qualname__} uses {name!r}, which is gone")
            cells[name] = self._add(Cell(self._place(bases[name])))
        return cells

    def _namedtuple(self, cls: Any) -> Place:
        keywords = {"defaults": list(cls._field_defaults.values()), "module": cls.__module__}
        return self._called(cls, namedtuple, (cls.__name__, list(cls._fields)), keywords)

    def _enum(self, cls: type[enum.Enum]) -> Place:
        """An enum made by a call."""
        members = [(name, member.value) for name, member in cls.__members__.items()]
        return self._called(cls, cls.__bases__[-1], (cls.__name__, members), {"module": cls.__module__})


def _set_beside(cls: type, node: ast.ClassDef) -> dict[str, Any]:
    """Attributes that differ from what the class statement gives: set or replaced after it ran."""
    if isinstance(cls, enum.EnumMeta):
        return {}
    written = {name: statement for statement in node.body for name in _bound_by(statement)}
    beside: dict[str, Any] = {}
    for name, value in vars(cls).items():
        statement = written.get(name)
        if isinstance(value, FunctionType):
            home = str(value.__globals__.get("__name__"))
            own = value.__code__.co_qualname.startswith(cls.__qualname__ + ".") or is_installed(home)
            decorators = getattr(statement or node, "decorator_list", None)
            if not own and not decorators:
                beside[name] = value
        elif name.startswith("__") and name.endswith("__"):
            continue
        elif type(value) in _ATOMS | _CONTAINERS and not _says(statement, value):
            beside[name] = value
    return beside


def _says(statement: ast.stmt | None, value: object) -> bool:
    """Whether an assignment is a literal of this value."""
    written = getattr(statement, "value", None)
    try:
        return written is not None and repr(ast.literal_eval(written)) == repr(value)
    except (ValueError, TypeError, SyntaxError):
        return False


def _outer_of(cls: type) -> type | None:
    """The class a class stands in, if it can be reached by name."""
    names = cls.__qualname__.split(".")
    if len(names) < 2 or "<locals>" in names:
        return None
    found: Any = sys.modules.get(cls.__module__)
    for name in names[:-1]:
        found = getattr(found, name, None)
    return found if isinstance(found, type) and vars(found).get(names[-1]) is cls else None


def _globals_of(cls: type) -> dict[str, Any]:
    for function in _own_functions(cls):
        return function.__globals__
    module = sys.modules.get(cls.__module__)
    if module is None:
        raise _Left(f"the module {cls.__module__} of class {cls.__qualname__} is not loaded")
    return vars(module)


def _submodules(module: str, mentions: frozenset[str]) -> Iterator[str]:
    for name in mentions:
        if f"{module}.{name}" in sys.modules:
            yield f"{module}.{name}"
            yield from _submodules(f"{module}.{name}", mentions)


def _ordered(obj: Any) -> list[Any]:
    """The items, those of a set in an order that does not depend on hashes."""
    if not isinstance(obj, set | frozenset):
        return list(obj)
    return sorted(obj, key=lambda item: (type(item).__name__, getattr(item, "__qualname__", ""), ascii(item)))


def _content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _NOTHING


def _weight(obj: Any) -> int:
    """Roughly how many bytes an object takes, without copying or encoding it."""
    # Asked of the type: __getattr__ of an object may do anything.
    size = getattr(obj, "nbytes", None) if hasattr(type(obj), "nbytes") else None
    if size is None and type(obj).__module__.partition(".")[0] == "pandas" and hasattr(obj, "memory_usage"):
        size = obj.memory_usage().sum()
    try:
        return int(sys.getsizeof(obj) if size is None else size)
    except (TypeError, ValueError):
        return 0


def _check_weight(obj: Any) -> None:
    """Refuse what holds something large before it is encoded, which would copy it."""
    seen = {id(obj)}
    queue = [obj]
    for item in queue:
        weight = _weight(item)
        if weight > LIMIT:
            raise _Left(_too_large("in memory", weight))
        for part in gc.get_referents(item) if len(queue) < _LOOKED_AT else ():
            if id(part) not in seen and not isinstance(part, type | ModuleType | FunctionType):
                seen.add(id(part))
                queue.append(part)


_LOOKED_AT: Final = 2000


def _too_large(how: str, size: int) -> str:
    return f"it is too large to travel with code ({size / LIMIT:,.1f} MiB {how}, the limit is 1 MiB)"


def _holds_code(data: bytes) -> bool:
    """Whether a pickle holds functions or classes by value, which cloudpickle writes as bytecode of this Python."""
    return b"cloudpickle" in data and any(
        name in data for name in (b"_make_function", b"_make_skeleton", b"_builtin_type")
    )


def _reduced(obj: Any) -> tuple[Any, tuple[Any, ...], Any, list[Any], list[tuple[Any, Any]]]:
    """(call, arguments, state, items, pairs) of an object."""
    if isinstance(obj, BaseException):  # its own way calls __init__, which may want other arguments than `args`
        return copyreg.__newobj__, (type(obj), *obj.args), dict(vars(obj)) or None, [], []  # type: ignore[attr-defined]
    try:
        registered = copyreg.dispatch_table.get(type(obj))
        reduced: Any = obj.__reduce_ex__(4) if registered is None else registered(obj)
    except Exception as error:  # a reducer is any code; whatever it raises, the object does not travel
        raise _Left(f"it cannot be stored: {error}") from error
    if isinstance(reduced, str) or len(reduced) > 5:
        raise _Left(f"it cannot be stored: a {type(obj).__qualname__} is pickled by name only")
    whole: list[Any] = [*reduced, None, None, None]
    call, arguments, state, items, pairs = whole[:5]
    return call, arguments, state, list(items or ()), list(pairs or ())


# Watching


def _parts(obj: Any) -> tuple[Any, ...]:
    """The objects an object directly consists of."""
    if isinstance(obj, dict) and type(obj) is dict:
        return (*obj, *obj.values())
    if type(obj) in _CONTAINERS:
        return tuple(obj)
    call, arguments, state, items, pairs = _reduced(obj)
    states = state if isinstance(state, tuple) else (state,)
    flat = [part for one in states for part in ((*one, *one.values()) if isinstance(one, dict) else (one,))]
    return (call, *arguments, *flat, *items, *(part for pair in pairs for part in pair))


def _are_same(before: Iterable[Any], now: Iterable[Any]) -> bool:
    return all(_is_same_part(*pair) for pair in zip(before, now, strict=True))


def _is_same_part(before: Any, now: Any) -> bool:
    if before is now:
        return True
    kind = type(before)
    if kind is not type(now):
        return False
    # A reducer makes new containers at every call: those are compared by what they hold.
    return bool(before == now) if kind in _ATOMS else kind in _CONTAINERS and _are_same(_parts(before), _parts(now))


def _function_state(function: FunctionType) -> tuple[Any, ...]:
    keywords = (function.__kwdefaults__ or {}).items()
    return function, function.__code__, function.__defaults__, dict(keywords), dict(vars(function))


def _own_names(cls: type) -> dict[str, Any]:
    """What a class holds, without what Python itself adds later: copyreg writes __slotnames__, for one."""
    return {name: value for name, value in vars(cls).items() if name not in _ADDED_LATER}


_ADDED_LATER: Final = frozenset({"__slotnames__", "__annotations__", "__doc__", "__abstractmethods__"})


def _has(names: dict[str, Any], expected: dict[str, Any]) -> bool:
    return len(names) == len(expected) and all(names.get(name, _NOTHING) is expected[name] for name in expected)


class Watched:
    """What a capture depended on. Asking costs microseconds, so a flow is captured again only after a change."""

    __slots__ = ("cells", "classes", "functions", "names", "parts", "values")

    def __init__(self) -> None:
        self.names: list[tuple[dict[str, Any], str, Any]] = []
        self.cells: list[tuple[CellType, Any]] = []
        self.functions: list[tuple[Any, ...]] = []
        self.classes: list[tuple[type, dict[str, Any]]] = []
        self.parts: list[tuple[Any, tuple[Any, ...]]] = []
        self.values: list[tuple[Any, Encoded]] = []

    def is_current(self) -> bool:
        """Whether every name, cell, function and class still is the same object, and every mutable value equal."""
        return (
            all(names.get(name, _NOTHING) is value for names, name, value in self.names)
            and all(_content_of(cell) is value for cell, value in self.cells)
            and all(self._is_unchanged(*state) for state in self.functions)
            and all(_has(_own_names(cls), expected) for cls, expected in self.classes)
            and self._are_values_equal()
        )

    @staticmethod
    def _is_unchanged(function: Any, code: Any, defaults: Any, keywords: Any, attributes: Any) -> bool:
        return (
            function.__code__ is code
            and function.__defaults__ is defaults
            and _has(function.__kwdefaults__ or {}, keywords)
            and _has(vars(function), attributes)
        )

    def _are_values_equal(self) -> bool:
        try:
            for obj, before in self.parts:
                if not _are_same(before, _parts(obj)):
                    return False
            return all(encode(obj, "it") == encoded for obj, encoded in self.values)
        except (DurableError, _Left, ValueError, RuntimeError):
            return False  # not what it was, or just being changed
