"""Whether a class that is to be restored is there already, and a class or function as a document of its own."""

import dis
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from durable_nb.errors import DurableError
from durable_nb.flows.code import Class, Document, Gap, read
from durable_nb.flows.flow import Flow
from durable_nb.flows.source import fingerprint, known
from durable_nb.flows.source.bundle import bundle
from durable_nb.flows.source.capture import capture
from durable_nb.flows.source.known import Key
from durable_nb.flows.source.parts import ATOMS
from durable_nb.flows.source.watched import content_of
from durable_nb.flows.step import Step


def refer(thing: object) -> tuple[str, str] | None:
    """Flows and steps travel by name."""
    if isinstance(thing, Step):
        return "step", thing.name
    if isinstance(thing, Flow):
        return "flow", thing.name
    return None


@dataclass(frozen=True, slots=True)
class Portable:
    """A class or function as source."""

    key: Key
    document: bytes


def same_class(key: Key) -> type | None:
    """The class of that key in this process: of its module as that is loaded, else one restored before."""
    live = known.live(key.module, key.qualname)
    if isinstance(live, type) and live.__module__ == key.module:
        portable = portable_class(live)
        if portable is not None and portable.key == key:
            return live
    return known.known(key)


def portable_class(cls: type) -> Portable | None:
    """The class as source, None when its source is gone. Asked again only after the class was changed."""
    state = tuple((name, id(value)) for name, value in vars(cls).items())
    before = _captured.get(cls)
    if before is not None and before[0] == state:
        return before[1]
    _captured[cls] = state, None  # to a walk that comes back to it
    portable = _portable(cls)
    _captured[cls] = tuple((name, id(value)) for name, value in vars(cls).items()), portable
    return portable


def portable_function(function: FunctionType) -> Portable | None:
    """The function as source, None when that would change what it does."""
    if not _is_alone(function):
        return None
    return _portable(function)


_captured: WeakKeyDictionary[type, tuple[tuple[tuple[str, int], ...], Portable | None]] = WeakKeyDictionary()


def _portable(thing: Any) -> Portable | None:
    try:
        code = capture(bundle("bundle", thing.__module__, content=thing), refer)
    except DurableError:
        return None
    document = read(code.document)
    place = document.spaces[0].names["content"]
    if isinstance(document.things[place], Gap) or not _is_whole(document):
        return None
    if isinstance(thing, FunctionType) and code.missing:
        return None
    key = fingerprint.key(thing.__module__, thing.__qualname__, document.things, document.spaces, place)
    return Portable(key, code.document)


def _is_whole(document: Document) -> bool:
    """Whether every class statement finds what it needs; its methods may lack something until they are called."""
    for thing in document.things:
        if isinstance(thing, Class):
            names = document.spaces[thing.space].names
            if any(name in names and isinstance(document.things[names[name]], Gap) for name in thing.needs):
                return False
    return True


def _is_alone(function: FunctionType, seen: frozenset[int] = frozenset()) -> bool:
    """Whether what the function closes over cannot change: a copy of it is as good then."""
    if id(function) in seen:
        return True
    code, seen = function.__code__, seen | {id(function)}
    written = {one.argval for one in dis.get_instructions(code) if one.opname == "STORE_DEREF"}
    cells = function.__closure__ or ()
    return written.isdisjoint(code.co_freevars) and all(_is_fixed(content_of(cell), seen) for cell in cells)


def _is_fixed(value: object, seen: frozenset[int]) -> bool:
    if type(value) in (tuple, frozenset):
        return all(_is_fixed(item, seen) for item in value)  # type: ignore[attr-defined]
    if isinstance(value, FunctionType):
        return _is_alone(value, seen)
    return isinstance(value, type | ModuleType) or type(value) in ATOMS
