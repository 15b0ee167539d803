"""Code that travels as source: what is stored of a flow or step, and what can be read from it without running anything.

A document is a graph. `things` are the objects (functions, classes, values, imports …) and name each other by their
place in that list; `spaces` are the module namespaces the functions had as their globals. Nothing in it is bytecode.
"""

import ast
import linecache
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple, NoReturn, assert_never
from weakref import WeakKeyDictionary

import msgspec

from durable_nb.errors import Corrupt, UnknownCode

Refer = Callable[[object], tuple[str, str] | None]
Resolve = Callable[[str, str], object]
Place = Annotated[int, msgspec.Meta(ge=0)]

FORMAT: Final = 1


class Missing(NamedTuple):
    """A name the code uses that could not be taken along."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Code:
    """A function with everything it needs, as source."""

    name: str
    digest: str
    document: bytes
    missing: tuple[Missing, ...]


# What is stored. Field names and tags are read by every later version: add, never rename.


class _Thing(msgspec.Struct, frozen=True, tag_field="is", omit_defaults=True):
    """One object of the graph."""


class Json(_Thing, frozen=True, tag="json"):
    """A value of the codec "json", readable in the document."""

    value: msgspec.Raw


class Packed(_Thing, frozen=True, tag="packed"):
    """A value of any other codec."""

    codec: str
    data: bytes


class Import(_Thing, frozen=True, tag="import"):
    """A module, or what stands under `path` in it."""

    module: str
    path: str = ""
    version: str = ""
    submodules: tuple[str, ...] = ()


class Reference(_Thing, frozen=True, tag="reference"):
    """A flow or step, looked up by name whenever the code is restored."""

    kind: str
    name: str


class Function(_Thing, frozen=True, tag="function"):
    """A function: the text of its def or lambda, and the objects it held."""

    name: str
    qualname: str
    path: str
    """The qualname of its code, which functools.wraps does not change."""
    source: str
    file: str
    line: int
    space: int
    annotations_are_text: bool = False
    reads: tuple[str, ...] = ()
    cells: dict[str, Place] = {}
    defaults: tuple[Place, ...] = ()
    keyword_defaults: dict[str, Place] = {}
    annotations: dict[str, Place] = {}
    attributes: dict[str, Place] = {}


class Class(_Thing, frozen=True, tag="class"):
    """A class: the text of its statement; `attributes` were set or referred to beside that text."""

    name: str
    qualname: str
    source: str
    file: str
    line: int
    space: int
    annotations_are_text: bool = False
    reads: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Those of `reads` that must be there when the statement runs."""
    cells: dict[str, Place] = {}
    attributes: dict[str, Place] = {}


class Cell(_Thing, frozen=True, tag="cell"):
    """A closure's variable, shared by all functions that close over it."""

    content: Place | None = None


class Items(_Thing, frozen=True, tag="items"):
    """A list, tuple, set or frozenset that holds more than plain values."""

    kind: str
    items: tuple[Place, ...]


class Pairs(_Thing, frozen=True, tag="pairs"):
    """A dict that holds more than plain values."""

    pairs: tuple[tuple[Place, Place], ...]


class Made(_Thing, frozen=True, tag="made"):
    """An object as its own __reduce_ex__ describes it: a call, then the state, items and pairs."""

    call: Place
    arguments: tuple[Place, ...] = ()
    keywords: dict[str, Place] = {}
    state: Place | None = None
    items: tuple[Place, ...] = ()
    pairs: tuple[tuple[Place, Place], ...] = ()


class Member(_Thing, frozen=True, tag="member"):
    """What stands under a name in a class or object of this document."""

    owner: Place
    name: str


class Module(_Thing, frozen=True, tag="module"):
    """A first-party module: the names of its namespace that the code uses."""

    space: int


class Gap(_Thing, frozen=True, tag="gap"):
    """A name that could not be taken along."""

    name: str
    why: str


Thing = Json | Packed | Import | Reference | Function | Class | Cell | Items | Pairs | Made | Member | Module | Gap


class Space(msgspec.Struct, frozen=True, omit_defaults=True):
    """The globals of one module: imported on restore, or made of the names listed here."""

    module: str
    file: str = ""
    is_imported: bool = False
    names: dict[str, Place] = {}


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything; the root function is things[0]."""

    format: int
    digest: str
    python: str
    things: list[Thing]
    spaces: list[Space]


_decode = msgspec.json.Decoder(Document).decode
write: Final = msgspec.json.Encoder().encode


def read(document: bytes) -> Document:
    """The stored form of a document; nothing in it is executed."""
    try:
        stored = _decode(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Corrupt(f"The stored code cannot be read: {error}") from error
    if stored.format != FORMAT:
        raise UnknownCode(f"The code was stored in format {stored.format} by a newer durable_nb; upgrade this one.")
    if not stored.things or not isinstance(stored.things[0], Function):
        raise Corrupt("The stored code names no function.")
    for thing in stored.things:
        if isinstance(thing, Function | Class | Module) and thing.space >= len(stored.spaces):
            raise Corrupt(f"The stored code is damaged: it has no namespace {thing.space}.")
    return stored


def references(document: bytes) -> list[tuple[str, str]]:
    """(kind, name) of every flow and step the code names, each once."""
    things = read(document).things
    return list(dict.fromkeys((thing.kind, thing.name) for thing in things if isinstance(thing, Reference)))


def root(document: bytes) -> Function:
    """The stored form of the function itself."""
    thing = read(document).things[0]
    assert isinstance(thing, Function)
    return thing


def source(document: bytes) -> str:
    """The text of the function, from its `def` on."""
    return root(document).source


def first_line(document: bytes) -> int:
    """The line its `def` had in the original file or cell."""
    return root(document).line


def where(document: bytes) -> str:
    """The original file or cell and line, for messages."""
    function = root(document)
    return f"{function.file}:{function.line}"


# Gaps


class Absent:
    """Stands where something could not be taken along; every use raises NameError with the reason."""

    def __init__(self, name: str, why: str) -> None:
        vars(self).update({"_name": name, "_why": why})

    def __repr__(self) -> str:
        return f"<{self._name} was not taken along>"

    def __getattr__(self, name: str) -> NoReturn:
        _used(self)


def _used(absent: Absent, *arguments: object, **keywords: object) -> NoReturn:
    name, why = vars(absent)["_name"], vars(absent)["_why"]
    raise NameError(f"{name!r} is not here: {why}. Make it inside a step, or pass it as an argument.", name=name)


_VERBS = (
    "call enter exit aenter aexit iter next aiter anext await len bool contains getitem setitem delitem setattr "
    "delattr eq ne lt le gt ge hash str format int float complex index bytes fspath neg pos abs invert round "
    "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift divmod radd rsub rmul rtruediv rfloordiv "
    "rmod rpow rmatmul rand ror rxor iadd isub imul itruediv ifloordiv imod iand ior ixor reduce_ex"
)
for _verb in _VERBS.split():
    setattr(Absent, f"__{_verb}__", _used)


# Text


def parse(text: str) -> ast.Module:
    """The tree of a text, without its warnings: they were given when the original was compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


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


# Digest


def digest(things: list[Thing], spaces: list[Space]) -> str:
    """32 hex digits over normalised source and values: not over files, lines, comments, formatting, versions.

    Things are numbered in the order in which they are met from the root, so neither their places in the document nor
    what only an annotation names has a part in it.
    """
    numbers: dict[Place, int] = {0: 0}
    hashed = blake2b(digest_size=16)
    queue: list[Place] = [0]

    def number(place: Place) -> int:
        if place not in numbers:
            numbers[place] = len(numbers)
            queue.append(place)
        return numbers[place]

    for place in queue:
        hashed.update(write(_outline(things[place], things[0], spaces, number)) + b"\n")
    return hashed.hexdigest()


def _outline(thing: Thing, root: Thing, spaces: list[Space], number: Callable[[Place], int]) -> list[Any]:
    def numbered(places: Iterable[Place]) -> list[int]:
        return [number(place) for place in places]

    def named(places: dict[str, Place]) -> list[Any]:
        return [[name, number(places[name])] for name in sorted(places)]

    def read_names(piece: Function | Class) -> list[Any]:
        names = spaces[piece.space].names
        return named({name: names[name] for name in piece.reads if name in names})

    match thing:
        case Json():
            return ["value", _SORTED(msgspec.json.decode(thing.value)).decode()]
        case Packed():
            return ["value", thing.codec, thing.data]
        case Import():
            return ["import", thing.module, thing.path]
        case Reference():
            return ["reference", thing.kind, thing.name]
        case Function():
            space = spaces[thing.space]
            # What an installed package wrapped round a function changes with its version: only its name counts.
            text = [space.module, thing.path] if space.is_imported and thing is not root else _tree(thing.source)
            held = [named(thing.cells), numbered(thing.defaults), named(thing.keyword_defaults)]
            return ["function", text, *held, named(thing.attributes), read_names(thing)]
        case Class():
            return ["class", _tree(thing.source), named(thing.cells), named(thing.attributes), read_names(thing)]
        case Cell():
            return ["cell"] if thing.content is None else ["cell", number(thing.content)]
        case Items():
            return ["items", thing.kind, numbered(thing.items)]
        case Pairs():
            return ["pairs", [numbered(pair) for pair in thing.pairs]]
        case Made():
            made = [number(thing.call), numbered(thing.arguments), named(thing.keywords), numbered(thing.items)]
            state = None if thing.state is None else number(thing.state)
            return ["made", *made, state, [numbered(pair) for pair in thing.pairs]]
        case Member():
            return ["member", number(thing.owner), thing.name]
        case Module():
            return ["module", named(spaces[thing.space].names)]
        case Gap():
            return ["gap", thing.name]
        case _:
            assert_never(thing)


_SORTED = msgspec.json.Encoder(order="sorted").encode


@lru_cache(maxsize=4096)
def _tree(text: str) -> Any:
    return _node(parse(text))


def _node(node: object) -> Any:
    """A dump of a tree that is the same on every Python: ast.dump and ast.unparse are not."""
    if isinstance(node, list):
        return [_node(item) for item in node]
    if isinstance(node, ast.Constant):
        constant = node.value
        return ["Constant", type(constant).__name__, hex(constant) if type(constant) is int else ascii(constant)]
    if not isinstance(node, ast.AST):
        return node
    fields: list[Any] = [type(node).__name__]
    for name in node._fields:
        value: Any = getattr(node, name, None)
        if name in _SILENT or value is None or value == []:
            continue
        if name == "body" and isinstance(value, list) and isinstance(node, _DOCUMENTED):
            value = value[1:] if _is_text(value[0]) else value
        if isinstance(node, ast.JoinedStr):
            value = _joined(value)
        fields.append([name, _node(value)])
    return fields


_SILENT = frozenset({"kind", "type_comment", "ctx", "type_ignores"})
_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _joined(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts as one: Pythons cut them differently."""
    whole: list[ast.expr] = []
    for part in parts:
        last = whole[-1] if whole else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            whole[-1] = ast.Constant(last.value + part.value)  # type: ignore[operator]
        elif not (isinstance(part, ast.Constant) and part.value == ""):
            whole.append(part)
    return whole
