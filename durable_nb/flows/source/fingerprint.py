"""The digest of code: over normalised source and values, the same on every Python."""

import ast
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, assert_never

import msgspec

from durable_nb.flows.code import (
    Cell,
    Class,
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
    Space,
    Thing,
    write,
)
from durable_nb.flows.source.compiling import parse
from durable_nb.flows.source.known import Key


def digest(things: list[Thing], spaces: list[Space], root: Place = 0) -> str:
    """32 hex digits over normalised source and values: not over files, lines, comments, formatting, versions.

    Things are numbered in the order in which they are met from the root, so neither their places in the document nor
    what only an annotation names has a part in it.
    """
    numbers: dict[Place, int] = {root: 0}
    hashed = blake2b(digest_size=16)
    queue: list[Place] = [root]

    def number(place: Place) -> int:
        if place not in numbers:
            numbers[place] = len(numbers)
            queue.append(place)
        return numbers[place]

    for place in queue:
        hashed.update(write(_outline(things[place], things[root], spaces, number)) + b"\n")
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
            # Bytes of a pickle say nothing about equality: they depend on which parts happen to be one object.
            return ["value", thing.codec, thing.digest or thing.data]
        case Import():
            return ["import", thing.module, thing.path]
        case Reference():
            return ["reference", thing.kind, thing.name]
        case Function():
            space = spaces[thing.space]
            # What an installed package wrapped round a function changes with its version: only its name counts.
            text = [space.module, thing.path] if space.is_imported and thing is not root else tree(thing.source)
            held = [named(thing.cells), numbered(thing.defaults), named(thing.keyword_defaults)]
            return ["function", text, *held, named(thing.attributes), read_names(thing)]
        case Class():
            return ["class", tree(thing.source), named(thing.cells), named(thing.attributes), read_names(thing)]
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


def key(module: str, qualname: str, things: list[Thing], spaces: list[Space], place: Place) -> Key:
    """What a class, or a function, of the document is known by."""
    text = write([module, qualname, _identity(things, spaces, place)])
    return Key(module, qualname, blake2b(text, digest_size=16).hexdigest())


def _identity(things: list[Thing], spaces: list[Space], place: Place) -> Any:
    """Of a class its statement alone.

    Of one that a function made, or that a call makes, all it consists of: the same text makes several there.
    """
    thing = things[place]
    if isinstance(thing, Member):
        return [_identity(things, spaces, thing.owner), thing.name]
    if isinstance(thing, Class) and not thing.cells and ("<locals>" not in thing.qualname or not thing.attributes):
        return tree(thing.source)
    return digest(things, spaces, place)


_SORTED = msgspec.json.Encoder(order="sorted").encode


@lru_cache(maxsize=4096)
def tree(text: str) -> Any:
    """The outline of a text."""
    return outline(parse(text))


def outline(node: object) -> Any:
    """A dump of a tree that is the same on every Python: ast.dump and ast.unparse are not."""
    if isinstance(node, list):
        return [outline(item) for item in node]
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
        fields.append([name, outline(value)])
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
