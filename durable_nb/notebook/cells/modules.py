"""First-party modules as they were when they were first seen: their files may be newer than what was imported."""

import os
import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b
from importlib.util import decode_source
from types import ModuleType
from typing import Any, NamedTuple

from durable_nb.flows.code import write
from durable_nb.flows.source import fingerprint
from durable_nb.flows.source.packages import is_installed

_HERE = ("__main__", "__mp_main__")


class _Seen(NamedTuple):
    """A file as it was when the module was first seen after its import.

    A reload makes a new spec; `%autoreload` patches functions in place instead, where it can, and notes the text.
    """

    spec: Any
    text: str | None
    file: str
    state: tuple[int, int] | None
    hex: str | None


class Modules:
    """The first-party modules of this process. Ask `look` after every cell, so that none is seen too late.

    `patched` gives the text of a module that `%autoreload` watches.
    """

    def __init__(self, patched: Callable[[str], str | None] = lambda name: None) -> None:
        self._patched = patched
        self._seen: dict[str, _Seen] = {}
        self._known: set[str] = set()
        self._edited: dict[str, tuple[tuple[int, int] | None, bool]] = {}

    def look(self) -> None:
        """Take the digests of the modules imported since."""
        new = sys.modules.keys() - self._known
        self._known |= new
        for name in new:
            module = sys.modules.get(name)
            if isinstance(module, ModuleType) and name not in _HERE and not is_installed(name):
                self._see(module)

    def digest(self, module: ModuleType) -> str | None:
        """Of its normalised source as it was loaded; None when it has no file to read."""
        return self._see(module).hex

    def is_edited(self, module: ModuleType) -> bool:
        """Whether its file says something else now, and it was not reloaded."""
        seen = self._see(module)
        state = _state(seen.file)
        if state == seen.state:
            return False
        if self._edited.get(module.__name__, (None, False))[0] != state:
            self._edited[module.__name__] = state, _digest(seen.file) != seen.hex
        return self._edited[module.__name__][1]

    def held(self, module: ModuleType) -> Iterator[ModuleType]:
        """The first-party modules it uses: those it holds, and those of the functions and classes it holds."""
        found: dict[str, ModuleType] = {}
        for value in list(vars(module).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if not isinstance(name, str) or name in found or name in _HERE or name == module.__name__:
                continue
            other = sys.modules.get(name)
            if isinstance(other, ModuleType) and not is_installed(name):
                found[name] = other
        yield from (found[name] for name in sorted(found))

    def _see(self, module: ModuleType) -> _Seen:
        seen = self._seen.get(module.__name__)
        spec = getattr(module, "__spec__", None) or module
        text = self._patched(module.__name__)
        if seen is None or seen.spec is not spec or seen.text is not text:
            file = str(getattr(module, "__file__", None) or "")
            was_seen = seen is not None and seen.spec is spec
            hex = _digest(file) if text is None or not was_seen else _digest_of(text)
            seen = self._seen[module.__name__] = _Seen(spec, text, file, _state(file), hex)
            self._edited.pop(module.__name__, None)
        return seen


def _state(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _digest(file: str) -> str | None:
    try:
        with open(file, "rb") as opened:
            return _digest_of(decode_source(opened.read()))
    except (OSError, SyntaxError, ValueError):
        return None


def _digest_of(text: str) -> str | None:
    try:
        return blake2b(write(fingerprint.tree(text)), digest_size=16).hexdigest()
    except (SyntaxError, ValueError):
        return None
