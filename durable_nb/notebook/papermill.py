"""The papermill engine `durable`: `papermill report.ipynb done.ipynb --engine durable -p day 7`.

Durable cells are kept in `report.durable.db` beside the input notebook (DURABLE_NB_LOG: elsewhere), where JupyterLab and
`durable run` keep them too: after a failure or a kill the same command goes on at the first one that was not finished.
"""

from typing import Any


class DurableEngine:
    """What papermill looks up under the name. It does so while it is imported itself, so nothing of it is needed here."""

    @classmethod
    def execute_notebook(cls, *given: Any, **named: Any) -> Any:
        return _engine().execute_notebook(*given, **named)

    @classmethod
    def nb_kernel_name(cls, *given: Any, **named: Any) -> Any:
        return _engine().nb_kernel_name(*given, **named)

    @classmethod
    def nb_language(cls, *given: Any, **named: Any) -> Any:
        return _engine().nb_language(*given, **named)


def _engine() -> Any:
    from durable_nb.notebook.papermill_engine import Engine  # noqa: PLC0415 - papermill is being imported

    return Engine
