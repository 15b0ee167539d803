"""The definitions this process knows, by name. The newest of a name wins; two places may not share one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from durable_nb.errors import BadOption


class Definition(Protocol):
    """A flow or a step: its public name and the function it was made of."""

    name: str
    function: Any


_known: dict[tuple[str, str], Definition] = {}
_listeners: list[Callable[[], None]] = []


_quiet: ContextVar[bool] = ContextVar("durable_nb_quiet", default=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Restored code must not take the place of newer code: what it defines is not registered.

    The definitions of a package that it imports are, as by any import, where their names are free.
    """
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def register(kind: str, definition: Definition) -> None:
    """Make the definition the one of its name. A cell may be run again; another module may not take the name."""
    before = _known.get((kind, definition.name))
    if _quiet.get() and (before is not None or _is_restored(definition)):
        return
    if before is not None and _module(before) != _module(definition):
        raise BadOption(
            f"two {kind}s are called `{definition.name}`: one in {_module(before)}, one in {_module(definition)}; "
            f"give one of them another name, @{kind}(name=…)"
        )
    _known[kind, definition.name] = definition
    for listener in list(_listeners):
        listener()


def listen(listener: Callable[[], None]) -> None:
    """Call this whenever a definition was registered, within the user's import or cell: it may not block nor raise."""
    _listeners.append(listener)


def ignore(listener: Callable[[], None]) -> None:
    """Call this no more."""
    if listener in _listeners:
        _listeners.remove(listener)


def lookup(kind: str, name: str) -> Definition | None:
    """The definition of that name, if this process has one."""
    return _known.get((kind, name))


def names(kind: str) -> list[str]:
    return sorted(name for known, name in _known if known == kind)


def forget(kind: str, name: str) -> None:
    """Drop a definition (tests)."""
    _known.pop((kind, name), None)


def _is_restored(definition: Definition) -> bool:
    """Whether its code comes from a log: no file has it."""
    code = getattr(definition.function, "__code__", None)
    return code is None or code.co_filename.startswith("<")


def _module(definition: Definition) -> str:
    return str(getattr(definition.function, "__module__", None))


def public_name(function: Any) -> str:
    """A function's name as it goes to the log: its qualified name without the functions it is nested in."""
    return str(function.__qualname__).rsplit("<locals>.", 1)[-1]
