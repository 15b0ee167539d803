"""Code that travels as source: what is stored of a flow or step, and what can be read from it without running anything.

A document is a graph. `things` are the objects (functions, classes, values, imports …) and name each other by their
place in that list; `spaces` are the module namespaces the functions had as their globals. Nothing in it is bytecode.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple, NoReturn

import msgspec

from durable_nb.errors import Corrupt, UnknownCode

Refer = Callable[[object], tuple[str, str] | None]
Resolve = Callable[[str, str], object]
Place = Annotated[int, msgspec.Meta(ge=0)]

FORMAT: Final = 1
BUNDLE: Final = "<durable bundle of "
"""How the file of a function begins that only gives others (flows/bundle.py)."""


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
    digest: str = ""
    """Of the value, where it has one: its bytes may differ from process to process."""


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


def is_bundle(document: bytes) -> bool:
    """Whether the document's function only gives others, which came together."""
    thing = read(document).things[0]
    return isinstance(thing, Function) and thing.file.startswith(BUNDLE)


def root(document: bytes) -> Function:
    """The stored form of the function itself."""
    stored = read(document)
    thing = stored.things[0]
    if isinstance(thing, Function) and thing.file.startswith(BUNDLE):
        place = stored.spaces[thing.space].names.get("function", 0)
        thing = stored.things[place] if place < len(stored.things) else thing
    if not isinstance(thing, Function):
        raise Corrupt("The stored code names no function.")
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
