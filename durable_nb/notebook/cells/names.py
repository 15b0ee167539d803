"""Which names a cell reads from outside, binds and deletes, found without running it.

What a cell reads is told in two answers. `reads` come from outside whatever happens. `maybe` are bound by the cell on
some ways (a branch, a loop that may run for no item): only the run can tell, and `changes` says so afterwards.
"""

from typing import Any, NamedTuple

from durable_nb.notebook.cells.expressions import LATER, LOOSE, SURELY
from durable_nb.notebook.cells.magics import Transform, as_python, tree_of
from durable_nb.notebook.cells.statements import Statements


class Names(NamedTuple):
    """The names of a cell, each in the order in which it is first met."""

    reads: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    """Bound on every way to the end."""
    may_bind: tuple[str, ...] = ()
    """Bound on some way only."""
    deletes: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    """Why not all reads can be seen: `exec()`, `a shell line`, …"""

    @property
    def is_opaque(self) -> bool:
        return bool(self.opaque)

    def to_json(self) -> dict[str, list[str]]:
        return {name: list(value) for name, value in self._asdict().items() if value}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Names":
        return cls(**{name: tuple(plain.get(name, ())) for name in cls._fields})


def names_of(source: str, transform: Transform = as_python) -> Names:
    """The names of a cell; `transform` is how IPython makes Python of it (`shell.transform_cell`). May be a SyntaxError."""
    walk = Statements(transform)
    walk.visit_all(tree_of(source, transform).body)
    surely = [name for name, how in walk.how.items() if _is_sure(name, how, walk)]
    end = walk.state or {}
    binds = [name for name in walk.bound if end.get(name) and name not in walk.gone]
    return Names(
        reads=tuple(surely),
        maybe=tuple(name for name in walk.how if name not in surely),
        binds=tuple(binds),
        may_bind=tuple(name for name in walk.bound if name not in binds and name not in walk.gone),
        deletes=tuple(walk.deleted),
        opaque=tuple(walk.opaque),
    )


def _is_sure(name: str, how: set[str], walk: Statements) -> bool:
    if SURELY in how:
        return True
    is_bound = name in walk.bound
    return (LATER in how and not is_bound and not walk.is_open) or (LOOSE in how and is_bound)
