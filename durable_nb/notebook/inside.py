"""What whoever runs a notebook without a page asks of its kernel."""

from typing import Any

from IPython.core.getipython import get_ipython

from durable_nb.notebook.magics import load


def begin() -> None:
    """Load the extension, if the notebook has not; its own `%load_ext durable_nb` finds it loaded and says nothing."""
    shell = get_ipython()
    assert shell is not None
    load(shell)


def restored() -> str:
    """'restored 9 cells in 0.3 s · saved 41 min'; empty when none was."""
    shell: Any = get_ipython()
    magics = shell.magics_manager.registry.get("DurableMagics")
    sentence: str = magics.session.restored.sentence if magics is not None else ""
    return sentence
