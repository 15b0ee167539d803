"""What a run of a cell has changed in the namespace: bound, deleted, changed in place, and what is not an input at all.

Names are compared by identity, before and after, so exec, star imports, `f = !cmd` and globals of called functions are
seen. Inputs are digested again: one that differs was changed in place.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, NamedTuple

from durable_nb.notebook.cells.digests import digest_of
from durable_nb.notebook.cells.inputs import ABSENT, Input, Inputs, is_a_result, is_the_shells
from durable_nb.notebook.cells.names import Names
from durable_nb.notebook.cells.partners import partners_of

_FIXED: Final = frozenset({int, float, str, bytes, bool, complex, type(None), type(len), range})


class Changes(NamedTuple):
    """What came of one run."""

    bound: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Inputs that were changed in place, and are still there under their names."""
    partners: tuple[str, ...] = ()
    """Other names that share something with what was changed: they belong into the same store."""
    without: tuple[str, ...] = ()
    """Inputs that are none: the cell bound them itself before it read them."""
    size: int = 0
    seconds: float = 0.0

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names to store, together."""
        return tuple(dict.fromkeys([*self.bound, *self.changed, *self.partners]))

    def to_json(self) -> dict[str, Any]:
        """What the log needs to know besides the values."""
        return {name: list(getattr(self, name)) for name in _LISTS if getattr(self, name)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Changes":
        bound, deleted, changed, partners, without = (tuple(plain.get(name, ())) for name in _LISTS)
        return cls(bound, deleted, changed, partners, without)


_LISTS: Final = ("bound", "deleted", "changed", "partners", "without")


def before(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The namespace as it is, to be compared with afterwards; keeps its objects, so that no address is used twice."""
    return dict(namespace)


def changes_of(was: Mapping[str, Any], namespace: Mapping[str, Any], names: Names, inputs: Inputs) -> Changes:
    """What the run did: `was` is what `before` gave, `inputs` what was looked at before it."""
    anew = {name for name, value in namespace.items() if name not in was or was[name] is not value}
    own = {*names.binds, *names.may_bind}
    bound = [
        name
        for name in namespace
        if (name in anew or name in names.binds) and not is_the_shells(name) and (name in own or not is_a_result(name))
    ]
    deleted = [name for name in was if name not in namespace and not is_the_shells(name)]
    touched = anew | {*deleted} | {*names.binds}
    without = [name for name, one in inputs.found.items() if name in touched and _is_none(name, one, inputs)]
    without += [name for name in names.may_bind if name not in inputs.found and (name not in was or name in touched)]
    changed, size, seconds = _changed(was, inputs)
    partners: tuple[str, ...] = ()
    if changed:
        met = partners_of([was[name] for name in changed], namespace)
        partners = tuple(name for name in met if name not in changed and name not in bound)
    still = tuple(name for name in changed if name in namespace and name not in bound)
    return Changes(tuple(bound), tuple(deleted), still, partners, tuple(without), size, seconds)


def _is_none(name: str, one: Input, inputs: Inputs) -> bool:
    """Whether a name that the run bound was not read from outside: absent before, or perhaps bound by then.

    The same code with the same other inputs takes the same way again. Counted, it would make the cell stale by its own
    output.
    """
    return one.kind == ABSENT or name in inputs.maybe


def _changed(was: Mapping[str, Any], inputs: Inputs) -> tuple[list[str], int, float]:
    changed: list[str] = []
    size, seconds = 0, 0.0
    for name, one in inputs.found.items():
        if name not in was or one.digest is None or one.kind == "module":
            continue
        if type(was[name]) in _FIXED or isinstance(was[name], ModuleType):
            continue
        digest = digest_of(was[name])
        size, seconds = size + digest.size, seconds + digest.seconds
        if digest.hex != one.digest:
            changed.append(name)
    return changed, size, seconds
