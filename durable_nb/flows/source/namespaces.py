"""The modules restored functions have as globals, and the imports they need."""

import builtins
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

from durable_nb.errors import DurableError, UnknownCode
from durable_nb.flows.code import Import

one_at_a_time = threading.RLock()
"""Held while code is restored: a class must not be made twice, and modules stand in sys.modules for a moment."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    try:
        yield
    except DurableError:
        raise
    except Exception as error:  # stored code and classes of libraries run here
        raise UnknownCode(f"{what} cannot be made again here: {error!r}") from error


@contextmanager
def findable(module: ModuleType) -> Iterator[None]:
    """dataclass and typing look a class's module up in sys.modules; a first-party one may be unknown here."""
    with one_at_a_time:
        added = sys.modules.setdefault(module.__name__, module) is module
        try:
            yield
        finally:
            if added and isinstance(module, Namespace):
                del sys.modules[module.__name__]


def module_named(name: str, file: str, is_imported: bool) -> ModuleType:
    if is_imported:
        return cast(ModuleType, imported(Import(name)))
    module = Namespace(name)
    module.__package__ = name.rpartition(".")[0]
    module.__dict__["__builtins__"] = builtins
    if file:
        module.__file__ = file
    return module


def imported(thing: Import) -> Any:
    wanted = f"{thing.module} {thing.version}".strip()
    try:
        found: Any = importlib.import_module(thing.module)
        for name in thing.submodules:
            importlib.import_module(name)
        for part in filter(None, thing.path.split(".")):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        name = f"{thing.path} of {wanted}" if isinstance(error, AttributeError) else wanted
        raise UnknownCode(f"The code needs {name}, which is not installed here: {error}") from error
    return found


def refill(container: Any, content: Any) -> None:
    container.clear()
    (container.extend if isinstance(container, list) else container.update)(content)


def set_state(made: Any, state: Any) -> None:
    """As pickle does it."""
    if state is None:
        return
    own = getattr(made, "__setstate__", None)
    if own is not None:
        own(state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        vars(made).update(attributes)
    for name, value in (slots or {}).items():
        setattr(made, name, value)


class Namespace(ModuleType):
    """The globals of restored functions; also stands for the first-party module itself."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"module {self.__name__!r} came along with the names the code mentions, and {name!r} is not one of them",
            name=name,
            obj=self,
        )
