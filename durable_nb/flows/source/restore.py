"""From what is stored to a live function: compile the text, dig out its code object, give it its globals and cells.

A def is never executed: its code object is taken out of the compiled text, so decorators, defaults and annotations do
not run again. A class statement is executed, in the order in which such statements need each other.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from types import CellType, CodeType, FunctionType
from typing import Any, Final, assert_never, cast

from durable_nb.codec.values import decode
from durable_nb.errors import Corrupt, UnknownCode
from durable_nb.flows.code import (
    Absent,
    Cell,
    Class,
    Document,
    Function,
    Gap,
    Import,
    Items,
    Json,
    Made,
    Member,
    Module,
    Packed,
    Pairs,
    Place,
    Reference,
    Resolve,
    Thing,
    read,
)
from durable_nb.flows.source import fingerprint, known
from durable_nb.flows.source.compiling import FUTURE, MAKE, compile_class, compile_function
from durable_nb.flows.source.identity import same_class
from durable_nb.flows.source.known import Key
from durable_nb.flows.source.namespaces import (
    explained,
    findable,
    imported,
    module_named,
    one_at_a_time,
    refill,
    set_state,
)
from durable_nb.flows.source.texts import class_files, remember


def restore(document: bytes, resolve: Resolve) -> Callable[..., Any]:
    """The function of a document; `resolve` is asked for every flow and step it names. This executes stored code."""
    stored = read(document)
    try:
        with one_at_a_time:
            return _Restoration(stored, resolve).root()
    except SyntaxError as error:
        raise UnknownCode(
            f"The code was written for Python {stored.python} and has syntax unknown to "
            f"{sys.version_info.major}.{sys.version_info.minor}: {error}"
        ) from error
    except _NotYet as error:
        raise UnknownCode("A class of the stored code needs itself before it is there.") from error


# Restoring


class _NotYet(Exception):
    """A class is asked for while its own statement runs."""


class _Restoration:
    """One document becoming live. Cycles are closed late: what cannot be filled yet waits in `_late`."""

    def __init__(self, document: Document, resolve: Resolve) -> None:
        self._document = document
        self._things = document.things
        self._resolve = resolve
        self._built: dict[Place, Any] = {}
        self._settled: set[Place] = set()
        self._under_way: set[Place] = set()
        self._late: list[Callable[[], None]] = []
        self._runs_classes = any(isinstance(thing, Class) for thing in document.things)
        self._modules = [module_named(space.module, space.file, space.is_imported) for space in document.spaces]

    def root(self) -> Callable[..., Any]:
        function = self._build(0)
        for module, space in zip(self._modules, self._document.spaces, strict=True):
            for name, place in space.names.items():
                vars(module)[name] = self._build(place)
        while self._late:
            self._late.pop(0)()
        return cast(Callable[..., Any], function)

    def _build(self, place: Place) -> Any:
        if place not in self._built:
            if place in self._under_way:
                raise _NotYet
            if place >= len(self._things):
                raise Corrupt(f"The stored code is damaged: it has no thing {place}.")
            self._built[place] = self._make(place, self._things[place])
        return self._built[place]

    def _build_all(self, places: Iterable[Place]) -> list[Any]:
        return [self._build(place) for place in places]

    def _build_named(self, places: dict[str, Place]) -> dict[str, Any]:
        return {name: self._build(place) for name, place in places.items()}

    def _fill(self, fill: Callable[[], None]) -> None:
        """Fill now, or at the end when a class whose statement is running is among the parts."""
        try:
            fill()
        except _NotYet:
            self._late.append(fill)

    def _fill_again(self, fill: Callable[[], None]) -> None:
        """Fill now and at the end: class statements and their decorators may change what was filled."""
        try:
            fill()
        except _NotYet:
            pass  # the end comes
        self._late.append(fill)

    def _value(self, codec: str, data: bytes) -> Any:
        value = decode(codec, data)
        if self._runs_classes and isinstance(value, list | dict | set):
            self._late.append(lambda: refill(value, decode(codec, data)))
        return value

    def _make(self, place: Place, thing: Thing) -> Any:
        match thing:
            case Json():
                return self._value("json", bytes(thing.value))
            case Packed():
                return self._value(thing.codec, thing.data)
            case Import():
                return imported(thing)
            case Reference():
                return self._resolve(thing.kind, thing.name)
            case Function():
                return self._function(place, thing)
            case Class():
                return self._class(place, thing)
            case Cell():
                return self._cell(thing)
            case Items() | Pairs():
                return self._container(place, thing)
            case Made():
                return self._made(place, thing)
            case Member():
                return getattr(self._build(thing.owner), thing.name)
            case Module():
                return self._modules[thing.space]
            case Gap():
                return Absent(thing.name, thing.why)
        assert_never(thing)

    def _function(self, place: Place, thing: Function) -> FunctionType:
        mark = self._document.digest if place == 0 else blake2b(thing.source.encode(), digest_size=4).hexdigest()
        file = remember(f"{thing.name} {mark[:8]}", thing.source)
        flags = FUTURE if thing.annotations_are_text else 0
        code = compile_function(thing.source, file, thing.path, thing.cells, flags)
        closure = self._closure(code, thing.cells)
        function = FunctionType(code, vars(self._modules[thing.space]), thing.name, None, closure)
        function.__qualname__ = thing.qualname
        self._built[place] = function

        def fill() -> None:
            function.__defaults__ = tuple(self._build_all(thing.defaults)) or None
            function.__kwdefaults__ = self._build_named(thing.keyword_defaults)
            vars(function).update(self._build_named(thing.attributes))
            function.__annotations__ = dict(self._annotations(thing))

        self._fill(fill)
        return function

    def _closure(self, code: CodeType, cells: dict[str, Place]) -> tuple[CellType, ...]:
        if not set(code.co_freevars) <= {*cells}:
            raise Corrupt(f"The stored code is damaged: {code.co_name} lacks some of {code.co_freevars}.")
        return tuple(self._build(cells[name]) for name in code.co_freevars)

    def _annotations(self, thing: Function) -> Iterator[tuple[str, Any]]:
        for name, place in thing.annotations.items():
            try:
                yield name, self._build(place)
            except UnknownCode:
                continue  # an import that only an annotation needs is no reason to refuse the code

    def _cell(self, thing: Cell) -> CellType:
        cell, content = CellType(), thing.content
        if content is not None:
            self._late.append(lambda: setattr(cell, "cell_contents", self._build(content)))
        return cell

    def _container(self, place: Place, thing: Items | Pairs) -> Any:
        if isinstance(thing, Items) and thing.kind in _FROZEN:
            return _FROZEN[thing.kind](self._build_all(thing.items))
        made: Any = {} if isinstance(thing, Pairs) else _OPEN[thing.kind]()
        self._built[place] = made

        def fill() -> None:
            if isinstance(thing, Pairs):
                refill(made, [self._build_all(pair) for pair in thing.pairs])
            else:
                refill(made, self._build_all(thing.items))

        self._fill_again(fill)
        return made

    def _made(self, place: Place, thing: Made) -> Any:
        call = self._build(thing.call)
        arguments, keywords = self._build_all(thing.arguments), self._build_named(thing.keywords)
        with explained(f"An object made by {call!r}"):
            made = call(*arguments, **keywords)
        if isinstance(made, type):  # a namedtuple, an enum made by a call
            key = self._key(made.__module__, made.__qualname__, place)
            there = same_class(key)
            return known.first(key, made) if there is None else there
        self._built[place] = made

        def fill() -> None:
            state = None if thing.state is None else self._build(thing.state)
            items, pairs = self._build_all(thing.items), [self._build_all(pair) for pair in thing.pairs]
            with explained(f"The state of a {type(made).__qualname__}"):
                set_state(made, state)
            for item in items:
                made.append(item)
            for key, value in pairs:
                made[key] = value

        self._fill(fill)
        return made

    def _class(self, place: Place, thing: Class) -> type:
        key = self._key(self._document.spaces[thing.space].module, thing.qualname, place)
        there = same_class(key)
        if there is not None:
            return there
        self._under_way.add(place)
        try:
            made = self._run_class(thing)
        finally:
            self._under_way.discard(place)
        there = known.first(key, made)
        if there is not made:
            return there  # a step this class refers to was restored meanwhile, and needed it
        self._built[place] = made

        def fill() -> None:
            for name, value in self._build_named(thing.attributes).items():
                setattr(made, name, value)

        self._fill_again(fill)
        return made

    def _run_class(self, thing: Class) -> type:
        module = self._modules[thing.space]
        for name in thing.needs:
            self._give(thing.space, name)
        for place in thing.cells.values():
            self._settle(place)
        mark = blake2b(thing.source.encode(), digest_size=4).hexdigest()
        file = remember(f"{thing.name} {mark}", thing.source)
        code = compile_class(thing.source, file, thing.cells, FUTURE if thing.annotations_are_text else 0)
        cells = self._closure(code, thing.cells)
        names: dict[str, Any] = {}
        with findable(module), explained(f"The class {thing.qualname}"):
            if thing.cells:
                names[thing.name] = FunctionType(code, vars(module), MAKE, None, cells)()
            else:
                exec(code, vars(module), names)
        made: type = names[thing.name]
        made.__qualname__ = thing.qualname
        class_files[made] = file, thing.annotations_are_text
        return made

    def _key(self, module: str, qualname: str, place: Place) -> Key:
        return fingerprint.key(module, qualname, self._things, self._document.spaces, place)

    def _give(self, space: int, name: str) -> None:
        """Put a global in its place, ready to be called."""
        place = self._document.spaces[space].names.get(name)
        if place is None or place in self._under_way:
            return
        self._settle(place)
        try:
            vars(self._modules[space])[name] = self._build(place)
        except _NotYet:
            return  # root() gives it when that class is there

    def _settle(self, place: Place) -> None:
        """Make what hangs on a thing usable, because a class statement may call it now."""
        if place in self._settled or place in self._under_way:
            return
        self._settled.add(place)
        thing = self._things[place]
        parts: list[Place] = []
        match thing:
            case Function() | Class():
                parts = [*thing.cells.values(), *thing.attributes.values()]
                for name in thing.reads:
                    self._give(thing.space, name)
            case Cell(content=int() as content):
                self._settle(content)
                try:
                    self._build(place).cell_contents = self._build(content)
                except _NotYet:
                    pass  # its late filling still stands
            case Items():
                parts = list(thing.items)
            case Pairs():
                parts = [part for pair in thing.pairs for part in pair]
            case Made():
                parts = [thing.call, *thing.arguments, *thing.items, *([] if thing.state is None else [thing.state])]
            case Module():
                for name in self._document.spaces[thing.space].names:
                    self._give(thing.space, name)
            case _:
                pass
        for part in parts:
            self._settle(part)


_FROZEN: Final[dict[str, Callable[[list[Any]], Any]]] = {"tuple": tuple, "frozenset": frozenset}
_OPEN: Final[dict[str, Callable[[], Any]]] = {"list": list, "set": set}
