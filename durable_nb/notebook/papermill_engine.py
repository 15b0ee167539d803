"""What the engine `durable` does: papermill's own way, over a kernel that keeps durable cells."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.iorw import papermill_io
from papermill.log import logger

from durable_nb.errors import BadOption
from durable_nb.notebook.clients import QUIET, DurableClient, environment
from durable_nb.notebook.where import LOG, log_beside


class _Client(DurableClient, PapermillNotebookClient):  # type: ignore[misc]
    """Papermill's client, over a kernel that keeps durable cells."""


class Engine(NBClientEngine):  # type: ignore[misc]
    """Papermill's own engine in everything but the log."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        input_path: object = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        timeout: int | None = None,
        startup_timeout: int | None = None,
        **options: Any,
    ) -> Any:
        path = file_of(input_path)
        client = _Client(
            nb_man,
            kernel_name=kernel_name,
            log=logger,
            timeout=execution_timeout or timeout,
            startup_timeout=startup_timeout or start_timeout,
            extra_arguments=[QUIET],
            **options,
        )
        client.told = logger.info
        client.on_notebook_start = client.begin
        return client.execute(env=environment(log_of(path, os.environ), path or Path()))


def file_of(given: object) -> Path | None:
    """The file that was read, as papermill found it: it may have gone to another folder since (`--cwd`)."""
    if not isinstance(given, str) or "://" in given or not given.endswith(".ipynb"):
        return None
    files = papermill_io.get_handler("local")
    folder = files.cwd(None)
    files.cwd(folder)
    return Path(folder or "", given).resolve()


def log_of(notebook: Path | None, environ: Mapping[str, str]) -> str:
    if environ.get(LOG):
        return environ[LOG] if "://" in environ[LOG] else os.path.abspath(environ[LOG])
    if notebook is None:
        raise BadOption(f"the notebook is no file here, so nothing says where its log is; set {LOG}=work.durable.db")
    return str(log_beside(notebook))
