"""A notebook as a run: `durable run report.ipynb --id nightly -p day=2026-11-20 --out done.ipynb`.

From Python: `notebook["nightly"]("report.ipynb", {"day": "2026-11-20"}, "done.ipynb")`, `notebook.schedule("0 6 * * *",
"report.ipynb")`. The log is `report.durable.db` beside the notebook (`--log`, DURABLE_NB_LOG: another one), and the same
one that the notebook has in JupyterLab: what ran there comes back here, and the other way round.

Durable cells come back from the log, whoever ran them; plain cells run each time, so put what is slow or must happen once
into `%%durable`. A killed kernel is replaced by itself; after anything else (the machine is switched off, a cell
fails and is mended) the same command goes on at the first durable cell that was not finished. What is to be done
anew each day has to depend on something that changes with the day, best a parameter.
"""

import os
import sys
from pathlib import Path
from typing import Any

from durable_nb.errors import BadOption, KernelDied
from durable_nb.flows.flow import flow
from durable_nb.flows.host import current_host
from durable_nb.flows.policy import Retry
from durable_nb.flows.primitives import current_step
from durable_nb.flows.step import step
from durable_nb.runtime.options import CRASHES

_KERNELS = Retry(max_attempts=CRASHES, first=0.2, retry_on=KernelDied)


@step(name="notebook cells", retry=_KERNELS)
def execute_notebook(path: str, parameters: dict[str, Any], out: str | None) -> dict[str, Any]:
    """Execute the notebook in a kernel of its own; how many cells it had, and where it was written."""
    return execute(path, parameters, out)


@flow(name="notebook")
def notebook(path: str, parameters: dict[str, Any] | None = None, out: str | None = None) -> dict[str, Any]:
    """Run a whole notebook with these parameters, and write it with its outputs to `out`.

    Relative paths are seen from the folder of the log.
    """
    done: dict[str, Any] = execute_notebook.spawn(path, parameters or {}, out).result()
    return done


def execute(path: str, parameters: dict[str, Any], out: str | None) -> dict[str, Any]:
    """The body of the step: in the log that is open here, with its progress told to everybody."""
    log = log_path(current_host().url)
    folder = os.path.dirname(log)
    me = current_step()

    def begins(cell: str) -> None:
        me.heartbeat(cell)
        _tell(f"{cell} …")

    target = Path(os.path.join(folder, out)) if out is not None else None
    execution = execution_class()(log, Path(os.path.join(folder, path)), target, begins, _tell, lambda: me.cancelled)
    return {"cells": execution.run(parameters), "out": out}


def _tell(line: str) -> None:
    """To whoever looks at the terminal, and into the output of the run."""
    print(line, file=sys.stderr)


def log_path(url: str) -> str:
    """The log as other processes find it; BadOption for one that they cannot."""
    path = url.removeprefix("sqlite:///")
    if path == ":memory:":
        raise BadOption("a notebook has a kernel of its own, which cannot see a log in memory; open one in a file")
    return url if "://" in path else os.path.abspath(path)


def execution_class() -> Any:
    """What needs the extra; BadOption that names it."""
    try:
        from durable_nb.notebook.execution import Execution  # noqa: PLC0415 - nbclient comes with [notebook]
    except ImportError as error:
        raise BadOption(f"{error}; notebooks run with the extra: pip install 'durable_nb[notebook]'") from error
    return Execution
