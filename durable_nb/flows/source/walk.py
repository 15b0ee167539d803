"""The walk from a live function to its source and everything that source needs, followed by name.

It is breadth first. Each global of a namespace is taken once; when it cannot be taken, all that was begun for it is
undone and a Gap stands in its place.
"""

import enum
import gc
import typing
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from types import (
    CellType,
    FunctionType,
    MappingProxyType,
    ModuleType,
)
from typing import Any

import msgspec

from durable_nb.codec.digest import digest as digest_of_value
from durable_nb.codec.values import encode
from durable_nb.errors import DurableError
from durable_nb.flows.code import (
    Absent,
    Cell,
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
)
from durable_nb.flows.source.classes import take_class
from durable_nb.flows.source.compiling import attributes_of, names_read
from durable_nb.flows.source.packages import CACHED, import_of, imported_as, is_installed
from durable_nb.flows.source.parts import (
    ATOMS,
    BY_PARTS,
    CONTAINERS,
    FIXED,
    LIMIT,
    NOTHING,
    PARTS,
    WEAK,
    check_weight,
    holds_code,
    is_plain,
    ordered,
    reduced_of,
    too_large,
    weight,
)
from durable_nb.flows.source.spaces import OpenSpace, submodules
from durable_nb.flows.source.texts import Left, find_function
from durable_nb.flows.source.watched import Watched, content_of, function_state, parts_of


class Walk:
    """One capture."""

    def __init__(self, refer: Refer) -> None:
        self.missing: list[Missing] = []
        self.watched = Watched()
        self.refer = refer
        self.things: list[Thing] = []
        self._begun = 0
        self._places: dict[int, Place] = {}
        self._kept: list[object] = []  # an id is good only while its object lives
        self._spaces: dict[int, OpenSpace] = {}
        self._queue: list[Callable[[], None]] = []
        self._mentions: set[tuple[int, str, frozenset[str]]] = set()

    def follow(self) -> None:
        """Take what the things taken so far need, until nothing is left."""
        for task in self._queue:
            task()

    def stored(self) -> tuple[list[Thing], list[Space]]:
        return self.things, [space.stored() for space in self._spaces.values()]

    def classes(self) -> list[tuple[type, Place]]:
        """Every class on the way, and its place."""
        met = [(obj, self._places.get(id(obj))) for obj in self._kept if isinstance(obj, type)]
        return [(cls, place) for cls, place in met if place is not None]

    def add(self, thing: Thing, obj: object = NOTHING) -> Place:
        if len(self.things) - self._begun > PARTS:
            raise Left(f"it has more than {PARTS:,} parts")
        self.things.append(thing)
        place = len(self.things) - 1
        if obj is not NOTHING:
            self._places[id(obj)] = place
            self._kept.append(obj)
        return place

    def take(self, obj: Any, name: str) -> Place:
        """The place of an object, or of a gap of that name; what was begun for a gap is undone."""
        self._begun = len(self.things)
        things, tasks, gaps = len(self.things), len(self._queue), len(self.missing)
        try:
            return self.place(obj)
        except Left as left:
            why = str(left)
        except RecursionError:
            why = "it is nested too deeply"
        del self.things[things:], self._queue[tasks:], self.missing[gaps:]
        self._places = {key: place for key, place in self._places.items() if place < things}
        self.missing.append(Missing(name, why))
        return self.add(Gap(name, why))

    def space(self, names: dict[str, Any]) -> OpenSpace:
        if id(names) not in self._spaces:
            self._kept.append(names)
            self._spaces[id(names)] = OpenSpace(len(self._spaces), names)
        return self._spaces[id(names)]

    def read(self, space: OpenSpace, names: set[str], mentions: frozenset[str]) -> tuple[str, ...]:
        if space.is_imported:
            return ()
        for name in sorted(names):
            self._queue.append(partial(self._global, space, name, mentions))
        return tuple(sorted(name for name in names if space.value(name) is not NOTHING))

    def _global(self, space: OpenSpace, name: str, mentions: frozenset[str]) -> None:
        if (space.number, name, mentions) in self._mentions:
            return
        self._mentions.add((space.number, name, mentions))
        value = space.value(name)
        if name not in space.taken:
            self.watched.names.append((space.globals, name, space.globals.get(name, NOTHING)))
            if value is NOTHING:
                return
            is_main = space.module in ("__main__", "__mp_main__")
            space.taken[name] = self.take(value, name if is_main else f"{space.module}.{name}")
        if isinstance(value, ModuleType):
            self._mentioned(value, self.things[space.taken[name]], space.taken[name], mentions)

    def _mentioned(self, module: ModuleType, thing: Thing, place: Place, mentions: frozenset[str]) -> None:
        """Take the attributes of a first-party module, the submodules of an installed one, that the code mentions."""
        if isinstance(thing, Module):
            self.read(self.space(vars(module)), {*mentions} & {*vars(module)}, mentions)
        elif isinstance(thing, Import):
            loaded = {*thing.submodules, *submodules(module.__name__, mentions)}
            self.things[place] = msgspec.structs.replace(thing, submodules=tuple(sorted(loaded)))

    def place(self, obj: Any) -> Place:
        kind = type(obj)
        if kind in ATOMS:
            return self._value(obj)
        if id(obj) in self._places:
            return self._places[id(obj)]
        reference = self.refer(obj)
        if reference is not None:
            return self.add(Reference(*reference), obj)
        if kind is Absent:
            raise Left(vars(obj)["_why"])
        if isinstance(obj, ModuleType):
            installed = is_installed(obj.__name__)
            return self.add(import_of(obj.__name__) if installed else Module(self.space(vars(obj)).number), obj)
        if kind in CONTAINERS:
            return self._value(obj) if is_plain(obj, self.refer, set(), [0]) else self._container(obj)
        imported = imported_as(obj)
        if imported is not None:
            return self.add(imported, obj)
        if isinstance(obj, FunctionType):
            return self.function(obj)
        if isinstance(obj, type):
            return take_class(self, obj)
        if kind in BY_PARTS or not is_installed(kind.__module__):
            return self._made(obj)
        return self._value(obj)

    def places_of(self, objects: Iterable[Any]) -> tuple[Place, ...]:
        return tuple(self.place(obj) for obj in objects)

    def _value(self, obj: Any) -> Place:
        kind = type(obj)
        check_weight(obj)
        try:
            encoded = encode(obj, "it")
        except DurableError as error:
            raise Left(str(error)) from error
        if len(encoded.data) > LIMIT:
            raise Left(too_large("encoded", len(encoded.data)))
        if encoded.codec == "pickle" and holds_code(encoded.data):
            return self._made(obj)
        if kind not in FIXED:
            self.watched.values.append((obj, encoded))
        if encoded.codec == "json":
            thing: Thing = Json(msgspec.Raw(encoded.data))
        else:
            thing = Packed(*encoded, (digest_of_value(obj) or "") if encoded.codec == "pickle" else "")
        return self.add(thing, NOTHING if kind in FIXED else obj)

    def _container(self, obj: Any) -> Place:
        self.watched.parts.append((obj, parts_of(obj)))
        if isinstance(obj, tuple | frozenset):
            items = self.places_of(ordered(obj))
            return self.add(Items(type(obj).__name__, items), obj)
        place = self.add(Pairs(()), obj)
        if isinstance(obj, dict):
            self.things[place] = Pairs(tuple((self.place(key), self.place(value)) for key, value in obj.items()))
        else:
            self.things[place] = Items(type(obj).__name__, self.places_of(ordered(obj)))
        return place

    def _made(self, obj: Any) -> Place:
        """An object by its parts, as it would pickle itself."""
        if weight(obj) > LIMIT:
            raise Left(too_large("in memory", weight(obj)))
        if isinstance(obj, enum.Enum) and type(obj).__members__.get(obj.name) is obj:
            return self.add(Member(self.place(type(obj)), obj.name), obj)
        if isinstance(obj, CACHED):
            cache = self.add(Made(self.place(lru_cache), (), self.named(dict(obj.cache_parameters()))))
            return self.add(Made(cache, (self.place(obj.__wrapped__),)), obj)
        if isinstance(obj, typing.TypeVar):
            keywords = {"bound": obj.__bound__, "covariant": obj.__covariant__, "contravariant": obj.__contravariant__}
            return self.called(obj, typing.TypeVar, (obj.__name__, *obj.__constraints__), keywords)
        if isinstance(obj, typing.NewType):
            return self.called(obj, typing.NewType, (obj.__name__, obj.__supertype__), {})
        if isinstance(obj, enum.Enum):  # a combination of flags
            return self.called(obj, type(obj), (obj.value,), {})
        if isinstance(obj, MappingProxyType):
            return self.called(obj, MappingProxyType, tuple(gc.get_referents(obj)), {})
        if isinstance(obj, WEAK):
            return self.called(obj, type(obj), (), {})  # a cache: what it holds weakly is not the code's to keep
        reduced = reduced_of(obj)
        place = self.add(Gap("", ""), obj)
        self.watched.parts.append((obj, parts_of(obj)))
        call, arguments, state, items, pairs = reduced
        self.things[place] = Made(
            self.place(call),
            self.places_of(arguments),
            {},
            None if state is None else self.place(state),
            self.places_of(items),
            tuple((self.place(key), self.place(value)) for key, value in pairs),
        )
        return place

    def called(self, obj: Any, call: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Place:
        return self.add(Made(self.place(call), self.places_of(arguments), self.named(keywords)), obj)

    def named(self, objects: dict[str, Any]) -> dict[str, Place]:
        return {name: self.place(obj) for name, obj in objects.items()}

    def function(self, function: FunctionType) -> Place:
        code = function.__code__
        found = find_function(function)
        place = self.add(Gap("", ""), function)
        self.watched.functions.append(function_state(function))
        space = self.space(function.__globals__)
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        defaults = function.__defaults__ or ()
        parameters = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        self.things[place] = Function(
            name=function.__name__,
            qualname=function.__qualname__,
            path=code.co_qualname,
            source=found.source,
            file=found.file,
            line=found.line,
            space=space.number,
            annotations_are_text=found.annotations_are_text,
            reads=self.read(space, names_read(code), frozenset(attributes_of(code))),
            cells={name: self.cell(cell, name) for name, cell in cells},
            defaults=tuple(
                self.take(value, f"{function.__qualname__}({name}=)")
                for name, value in zip(parameters, defaults, strict=True)
            ),
            keyword_defaults={
                name: self.take(value, f"{function.__qualname__}({name}=)")
                for name, value in (function.__kwdefaults__ or {}).items()
            },
            annotations=self._annotations(function),
            attributes={
                name: self.take(value, f"{function.__qualname__}.{name}") for name, value in vars(function).items()
            },
        )
        return place

    def _annotations(self, function: FunctionType) -> dict[str, Place]:
        """Those that can be taken: the others are left out, no code runs worse without them."""
        taken: dict[str, Place] = {}
        for name, value in function.__annotations__.items():
            gaps = len(self.missing)
            place = self.take(value, name)
            if len(self.missing) == gaps:
                taken[name] = place
            else:
                del self.missing[gaps:], self.things[place:]
        return taken

    def cell(self, cell: CellType, name: str) -> Place:
        if id(cell) in self._places:
            return self._places[id(cell)]
        place = self.add(Cell(), cell)
        self._queue.append(partial(self._content, cell, place, name))
        return place

    def _content(self, cell: CellType, place: Place, name: str) -> None:
        value = content_of(cell)
        self.watched.cells.append((cell, value))
        if value is not NOTHING:
            self.things[place] = Cell(self.take(value, name))
