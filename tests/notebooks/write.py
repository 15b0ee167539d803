"""Write the stored outputs of the notebooks anew: `make notebooks`, or `python -m tests.notebooks.write 00_tour …`.

What differs only in times, sizes or ids stays as it was, so that running it twice changes nothing.
"""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbval.plugin import coalesce_streams, get_sanitize_patterns

from tests.notebooks.shelf import NAMES, SANITISE, SHELF, environment, laid_out
from tests.notebooks.tags import BADGE

PATTERNS = get_sanitize_patterns(SANITISE.read_text())
SKIPPED = ("execution_count", "metadata")  # of an output


class Client(NotebookClient):
    """Runs a notebook whose kernel dies where its tags say so."""

    shutdown_kernel = "immediate"

    async def async_execute_cell(self, cell: Any, cell_index: int, *given: Any, **named: Any) -> Any:
        tags = cell.metadata.get("tags", ())
        if "restart-kernel" in tags:
            await self._renew()
        try:
            return await super().async_execute_cell(cell, cell_index, *given, **named)
        except DeadKernelError:
            if "kills-kernel" not in tags:
                raise
            await self._renew()
            return cell

    async def _renew(self) -> None:
        await self._async_cleanup_kernel()
        self.create_kernel_manager()
        await self.async_start_new_kernel()
        await self.async_start_new_kernel_client()


def write(name: str) -> None:
    """Run the notebook in a new log, and store what it shows."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        os.environ.update(environment(name, Path(folder)))
        before = nbformat.read(SHELF / f"{name}.ipynb", 4)
        after = nbformat.read(laid_out(name, Path(folder)), 4)
        Client(
            after, timeout=120, kernel_name="python3", record_timing=False, resources={"metadata": {"path": folder}}
        ).execute()
    after.metadata = before.metadata
    count = 0
    for old, new in zip(before.cells, after.cells, strict=True):
        if new.cell_type == "code":
            count += 1
            new.execution_count = None if "kills-kernel" in new.metadata.get("tags", ()) else count
            outputs = [
                one for one in new.outputs if BADGE not in one.get("metadata", {}) or one.metadata[BADGE]["text"]
            ]
            outputs = coalesce_streams(outputs)
            new.outputs = old.outputs if _lasting(old.outputs) == _lasting(outputs) else outputs
    nbformat.write(after, SHELF / f"{name}.ipynb")


def _lasting(output: Any) -> Any:
    """What is compared of outputs."""
    if isinstance(output, dict):
        return {key: _lasting(value) for key, value in output.items() if key not in SKIPPED}
    if isinstance(output, list):
        return [_lasting(one) for one in output]
    for pattern, replacement in PATTERNS:
        output = re.sub(pattern, replacement, output)
    return output


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NAMES:
        print(chosen, flush=True)
        write(chosen)
