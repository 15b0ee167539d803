"""From a live function to what is stored of it: its source, and everything that source needs."""

import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from durable_nb.errors import Uncapturable
from durable_nb.flows.code import FORMAT, Code, Document, Import, Refer, Space, Thing, write
from durable_nb.flows.source import fingerprint, known
from durable_nb.flows.source.texts import Left
from durable_nb.flows.source.walk import Walk
from durable_nb.flows.source.watched import Watched


def capture(function: Callable[..., Any], refer: Refer) -> Code:
    """The function as source; `refer` says of any object whether it is a flow or step, and which."""
    return capture_watched(function, refer)[0]


def capture_watched(function: Callable[..., Any], refer: Refer) -> tuple[Code, Watched]:
    """The function as source, and what to look at to know whether a new capture would say the same."""
    _check(function)
    walk = Walk(refer)
    try:
        walk.function(function)  # type: ignore[arg-type]
    except Left as left:
        raise Uncapturable(f"`{function.__qualname__}` cannot travel as source: {left}") from left
    walk.follow()
    things, spaces = walk.stored()
    mark = fingerprint.digest(things, spaces)
    _introduce(walk, things, spaces)
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


def _introduce(walk: Walk, things: list[Thing], spaces: list[Space]) -> None:
    """Make the classes known that no module has under their names: values of them may be in the log already."""
    for cls, place in walk.classes():
        is_live = known.live(cls.__module__, cls.__qualname__) is cls
        if not is_live and not isinstance(things[place], Import):
            known.ordinal(fingerprint.key(cls.__module__, cls.__qualname__, things, spaces, place), cls)
