"""A module namespace while it is being walked."""

import builtins
import sys
from collections.abc import Iterator
from typing import Any, Final

from durable_nb.flows.code import Place, Space
from durable_nb.flows.source.packages import is_installed
from durable_nb.flows.source.parts import NOTHING


class OpenSpace:
    """One module namespace while it is being walked."""

    def __init__(self, number: int, names: dict[str, Any]) -> None:
        self.number = number
        self.globals = names
        self.module = str(names.get("__name__", "__main__"))
        real = sys.modules.get(self.module)
        self.is_imported = real is not None and vars(real) is names and is_installed(self.module)
        self.taken: dict[str, Place] = {}

    def value(self, name: str) -> Any:
        """The object of that name; builtins that every Python has are not taken along."""
        if name in self.globals:
            return self.globals[name]
        value = getattr(builtins, name, NOTHING)
        home = getattr(value, "__module__", None) or type(value).__module__
        return NOTHING if home in _PLAIN_BUILTINS else value

    def stored(self) -> Space:
        file = self.globals.get("__file__")
        return Space(self.module, file if isinstance(file, str) else "", self.is_imported, self.taken)


_PLAIN_BUILTINS: Final = frozenset({"builtins", "io", "_io", "_sitebuiltins", "site"})


def submodules(module: str, mentions: frozenset[str]) -> Iterator[str]:
    for name in mentions:
        if f"{module}.{name}" in sys.modules:
            yield f"{module}.{name}"
            yield from submodules(f"{module}.{name}", mentions)
