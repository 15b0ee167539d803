"""What the tests of cells share: cells that run in a namespace as a kernel runs them."""

import linecache
from itertools import count
from typing import Any

from durable_nb.notebook.cells.changes import Changes, before, changes_of
from durable_nb.notebook.cells.inputs import Inputs, inputs_of
from durable_nb.notebook.cells.modules import Modules
from durable_nb.notebook.cells.names import names_of

_numbers = count(1)


class Session:
    """A namespace, and cells run in it; their source is where tracebacks and durable_nb look for it."""

    def __init__(self, *cells: str) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.modules = Modules()
        for source in cells:
            self.run(source)

    def run(self, source: str) -> None:
        file = f"<cell {next(_numbers)} of a test>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        exec(compile(source, file, "exec"), self.namespace)

    def inputs(self, source: str) -> Inputs:
        return inputs_of(names_of(source), self.namespace, self.modules)

    def durable(self, source: str) -> tuple[Inputs, Changes]:
        """Run a cell as a durable one does: look, run, look again."""
        names = names_of(source)
        inputs, was = inputs_of(names, self.namespace, self.modules), before(self.namespace)
        self.run(source)
        return inputs, changes_of(was, self.namespace, names, inputs)
