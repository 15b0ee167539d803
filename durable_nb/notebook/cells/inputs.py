"""The inputs of a cell: what it reads, and what the functions and classes it reads are reading in turn.

Functions and classes are followed by name through the namespace, so that `K`, which only `f` reads, is an input of its
own and a sentence can say so. Not seen, and said in the documents: names computed by `getattr` or `globals()`, files,
the network, the clock, attributes of modules that were set from elsewhere.
"""

import builtins
import re
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, Final, NamedTuple

from durable_nb.flows.source.packages import is_installed, version_of
from durable_nb.notebook.cells.definitions import kind_of, reads_of
from durable_nb.notebook.cells.digests import Digest, digest_of
from durable_nb.notebook.cells.modules import Modules
from durable_nb.notebook.cells.names import Names

ABSENT: Final = "absent"
_SHELL: Final = re.compile(r"get_ipython|exit|quit|_dh|_[io]h|_i+|_i\d+|__\w+__")
_RESULT: Final = re.compile(r"_{1,3}|_\d+")
_HISTORY: Final = frozenset({"In", "Out", "_oh", "_ih"})


class Input(NamedTuple):
    """One name a cell reads, directly or through the names in `used_by`."""

    kind: str
    """data, function, class, module, flow, step, or absent."""
    digest: str | None
    reason: str = ""
    """Why it has no digest."""
    used_by: tuple[str, ...] = ()
    note: str = ""
    """For the reader alone: the version of a package, a file that was changed and not reloaded."""

    def to_json(self) -> list[Any]:
        """A note is of its day: it is not written."""
        return [self.kind, self.digest, list(self.used_by), *([self.reason] if self.reason else [])]

    @classmethod
    def from_json(cls, plain: list[Any]) -> "Input":
        kind, digest, used_by, *reason = plain
        return cls(kind, digest, reason[0] if reason else "", tuple(used_by))


class Inputs(NamedTuple):
    """All inputs, in the order in which they were met, and the price of looking at them."""

    found: dict[str, Input]
    maybe: frozenset[str] = frozenset()
    """Names of `found` that the cell perhaps binds before it reads them; the run will tell."""
    size: int = 0
    """Bytes that were hashed."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, list[Any]]:
        return {name: one.to_json() for name, one in self.found.items()}


def inputs_from_json(plain: Mapping[str, list[Any]]) -> dict[str, Input]:
    return {name: Input.from_json(one) for name, one in plain.items()}


def is_the_shells(name: str) -> bool:
    """Whether IPython keeps this name in the namespace for itself."""
    return name in _HISTORY or _SHELL.fullmatch(name) is not None


def is_a_result(name: str) -> bool:
    """Whether IPython binds this name to results by itself; a cell may read it, and may bind it too."""
    return _RESULT.fullmatch(name) is not None


def inputs_of(
    names: Names, namespace: Mapping[str, Any], modules: Modules, only: Iterable[str] | None = None
) -> Inputs:
    """What the cell reads in this namespace; `only` narrows it to the names given (`--in`), and what they use."""
    return _Following(names, namespace, modules).follow(only)


class _Following:
    """One look at everything a cell reads."""

    def __init__(self, names: Names, namespace: Mapping[str, Any], modules: Modules) -> None:
        self._names = names
        self._namespace = namespace
        self._modules = modules
        self._found: dict[str, Input] = {}
        self._direct: set[str] = set()
        self._maybe: set[str] = set()
        self._queue: list[tuple[str, str]] = []
        self._size = 0
        self._seconds = 0.0

    def follow(self, only: Iterable[str] | None) -> Inputs:
        reads = (*self._names.reads, *self._names.maybe) if only is None else tuple(only)
        self._direct = {*reads}
        self._maybe = {*self._names.maybe} & self._direct
        self._queue = [(name, "") for name in reads]
        for name, user in self._queue:
            self._take(name, user)
        for name in self._names.may_bind if only is None else ():
            self._keep(name)
        self._maybe &= self._found.keys()
        return Inputs(self._found, frozenset(self._maybe), self._size, self._seconds)

    def _take(self, name: str, user: str) -> None:
        if name in self._found:
            self._used(name, user)
            return
        if name not in self._namespace:
            if not hasattr(builtins, name) and not is_the_shells(name):
                self._add(name, Input(ABSENT, ABSENT), user)
            return
        if name in _HISTORY:
            self._add(name, Input("data", None, "it changes with every cell"), user)
            return
        if is_the_shells(name):
            return
        value = self._namespace[name]
        if isinstance(value, ModuleType):
            self._module(name, value, user)
            return
        digest = self._digest(name)
        kind = kind_of(value)
        self._add(name, Input(kind, digest.hex, digest.reason, note="" if kind == "data" else _version(value)), user)
        self._reach(name, digest)

    def _keep(self, name: str) -> None:
        """A name that some way through the cell binds: on the others it stays what it is, which is what comes of it."""
        if name in self._found or name not in self._namespace or isinstance(self._namespace[name], ModuleType):
            return
        digest = self._digest(name)
        if digest.hex is not None:
            self._maybe.add(name)
            self._add(name, Input(kind_of(self._namespace[name]), digest.hex), "")

    def _digest(self, name: str) -> Digest:
        digest = digest_of(self._namespace[name])
        self._size += digest.size
        self._seconds += digest.seconds
        return digest

    def _reach(self, name: str, digest: Digest) -> None:
        """Go on with what the code in a value reads."""
        for thing in digest.code:
            if isinstance(thing, ModuleType):
                self._module(thing.__name__, thing, name)
            else:
                self._queue.extend((read, name) for read in reads_of(thing) if read != name)

    def _module(self, name: str, module: ModuleType, user: str) -> None:
        """A module: of a first-party one its source, of another its name."""
        if is_installed(module.__name__):
            self._add(name, Input("module", module.__name__, note=_version(module)), user)
            return
        key = name if self._namespace.get(name) is module else f"module {name}"
        if key in self._found:
            self._used(key, user)
            return
        hex = self._modules.digest(module)
        note = f"{_file(module)} changed on disk but is not reloaded" if self._modules.is_edited(module) else ""
        # Without a file there is nothing of it to compare but its name.
        self._add(key, Input("module", hex or module.__name__, note=note), user)
        for other in self._modules.held(module):
            self._module(other.__name__, other, key)

    def _add(self, name: str, one: Input, user: str) -> None:
        self._found[name] = one._replace(used_by=(user,) if user else ())
        if user and (name in self._names.binds or name in self._names.may_bind):
            self._maybe.add(name)

    def _used(self, name: str, user: str) -> None:
        one = self._found[name]
        if user and name not in self._direct and user not in one.used_by:
            self._found[name] = one._replace(used_by=(*one.used_by, user))


def _version(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    package = str(name).partition(".")[0]
    if not isinstance(name, str) or package in ("builtins", "__main__") or not is_installed(name):
        return ""
    version = version_of(package)
    return f"{package} {version}" if version else ""


def _file(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or module.__name__).replace("\\", "/").rpartition("/")[2]
