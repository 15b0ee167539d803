"""A function that gives several objects, so that they travel in one document and keep what they share."""

import linecache
from collections.abc import Callable
from types import FunctionType
from typing import Any

from durable_nb.flows.code import BUNDLE


def bundle(name: str, module: str, **content: Any) -> Callable[[], Any]:
    """A function of that name that returns the content, in the order given; one object alone, several as a tuple."""
    source = f"def {name}():\n    return {', '.join(content)}\n"
    file = f"{BUNDLE}{', '.join(content)}>"
    # A time of None survives linecache.checkcache(), which every traceback runs.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {**content, "__name__": module}
    exec(compile(source, file, "exec"), space)
    made: FunctionType = space[name]
    return made
