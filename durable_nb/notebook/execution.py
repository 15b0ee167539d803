"""One execution of a notebook: a kernel, its cells one after another, and the notebook written after each."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_async
from nbclient.exceptions import CellExecutionError, DeadKernelError

from durable_nb.durations import spoken
from durable_nb.errors import BadOption, CellFailed, KernelDied
from durable_nb.notebook.clients import QUIET, DurableClient, environment
from durable_nb.notebook.parameters import inject

_LOOK = 0.1  # seconds between looks whether the kernel lives and the run is wanted
_START = 600  # seconds a kernel may take to come up, on however busy a machine
_LAST_WORDS = 2.0  # seconds a cell that is interrupted may clean up
_END = 2.0  # seconds a kernel that is told to end may take; together less than an app waits for its steps
_TITLE = 40  # characters of a cell's first line
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_PLACE = re.compile(r"Cell In\[(\d+)\], line (\d+)")


class Execution:
    """`begins` gets 'cell 5/12 features', `tell` what else there is to say, and `is_unwanted` says when to leave."""

    def __init__(
        self,
        log: str,
        path: Path,
        out: Path | None,
        begins: Callable[[str], None],
        tell: Callable[[str], None],
        is_unwanted: Callable[[], bool],
    ) -> None:
        self._log = log
        self._path = path
        self._out = out
        self._begins = begins
        self._tell = tell
        self._is_unwanted = is_unwanted
        self._where = "before its first cell"

    def run(self, parameters: Mapping[str, Any]) -> int:
        """Execute it all; how many cells there were. CellFailed, or KernelDied; CancelledError when it is unwanted."""
        self._notebook = read(self._path)
        for name in inject(self._notebook, parameters):
            self._tell(f"parameter `{name}` is not in the cell tagged `parameters`")
        if self._out is not None and not self._out.parent.is_dir():
            raise BadOption(f"there is no folder {self._out.parent} to write {self._out.name} into")
        return asyncio.run(self._run())

    async def _run(self) -> int:
        self._client = DurableClient(self._notebook, startup_timeout=_START, extra_arguments=[QUIET])
        self._client.told = lambda text: self._tell(f"  {text}")
        self._client.on_notebook_start = self._client.begin
        manager = self._client.create_kernel_manager()
        assert isinstance(manager, AsyncKernelManager)
        if manager.kernel_name not in manager.kernel_spec_manager.find_kernel_specs():
            raise BadOption(f"{self._path.name} wants kernel `{manager.kernel_name}`, which is not installed here")
        self._manager = manager
        began, cells = time.monotonic(), self._cells()
        try:
            await self._begin_kernel()
            for number, (index, cell) in enumerate(cells, 1):
                await self._run_cell(cell, index, number, len(cells))
            restored = await self._watched(self._client.restored())
        except DeadKernelError:
            raise KernelDied(f"the kernel died {self._where}{await self._cause()}") from None
        finally:
            await self._end_kernel()
        noun = "cell" if len(cells) == 1 else "cells"
        told = f"{len(cells)} {noun} in {spoken(time.monotonic() - began)}"
        self._tell(f"{told} · {restored}" if restored else told)
        return len(cells)

    def _cells(self) -> list[tuple[int, Any]]:
        """What will be executed; nothing is left of what was shown before."""
        found = []
        for index, cell in enumerate(self._notebook.cells):
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                if cell.source.strip() and self._client.skip_cells_with_tag not in cell.metadata.get("tags", ()):
                    found.append((index, cell))
        return found

    async def _begin_kernel(self) -> None:
        environ = environment(self._log, self._path)
        await self._client.async_start_new_kernel(cwd=str(self._path.parent), env=environ)
        await self._watched(self._client.async_start_new_kernel_client())
        assert self._client.kc is not None
        info = await self._client.async_wait_for_reply(self._client.kc.kernel_info())
        if info is not None:
            self._notebook.metadata["language_info"] = info["content"]["language_info"]

    async def _run_cell(self, cell: Any, index: int, number: int, count: int) -> None:
        title = title_of(cell.source)
        self._where = f"in cell {number} `{title}`"
        self._begins(f"cell {number}/{count} {title}")
        try:
            await self._watched(self._client.async_execute_cell(cell, index, execution_count=number))
        except CellExecutionError as error:
            cell.execution_count = number
            where = failing_place(cell, number)
            raise CellFailed(f"cell {number} `{title}`: {error.ename}: {error.evalue}{where}") from None
        finally:
            self._write()

    async def _watched(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do it, while the kernel lives and the run is wanted."""
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait({task}, timeout=_LOOK))[0]:
            if self._is_unwanted():
                await self._manager.interrupt_kernel()
                await self._left(task, _LAST_WORDS)
                raise CancelledError
            if not await self._manager.is_alive():
                await self._left(task, 0)
                raise DeadKernelError
        return task.result()

    async def _left(self, task: "asyncio.Future[Any]", patience: float) -> None:
        """Wait no more for what nobody wants; how it ends says nothing."""
        await asyncio.wait({task}, timeout=patience)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _cause(self) -> str:
        """How its process ended."""
        code = await self._manager.provisioner.poll() if self._manager.provisioner is not None else None
        if code is None:
            return ""
        if code < 0:
            name = signal.Signals(-code).name
            return f" (killed by {name}{', as when memory is short' if name == 'SIGKILL' else ''})"
        return f" (its process ended with exit code {code})"

    async def _end_kernel(self) -> None:
        """Nothing is left of it, whatever has happened."""
        manager = self._manager
        if self._client.kc is not None:
            self._client.kc.stop_channels()
        try:
            if manager.has_kernel:
                manager.shutdown_wait_time = _END
                await manager.shutdown_kernel(now=not await manager.is_alive())
        finally:
            await ensure_async(manager.cleanup_resources())

    def _write(self) -> None:
        """The notebook as it is now, whole or not at all."""
        if self._out is None:
            return
        self._client.set_widgets_metadata()
        new = self._out.with_name(f".{self._out.name}.{os.getpid()}.new")
        nbformat.write(self._notebook, new)  # type: ignore[no-untyped-call]
        os.replace(new, self._out)


def read(path: Path) -> Any:
    """The notebook; BadOption when there is none."""
    try:
        return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        raise BadOption(f"there is no notebook {path}") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise BadOption(f"{path} is no notebook: {str(error).splitlines()[0]}") from error


def title_of(source: str) -> str:
    """What a cell is called: the name of a durable cell, else its first line of code."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    if lines and lines[0].startswith("%%durable"):
        words = lines[0].split()[1:]
        if words and not words[0].startswith("-"):
            return words[0]
    found = next((line for line in lines if not line.startswith(("#", "%%durable"))), lines[0] if lines else "")
    return found if len(found) <= _TITLE else f"{found[: _TITLE - 1]}…"


def failing_place(cell: Any, number: int) -> str:
    """' (Cell In[4], line 3: `z / 0`)': the innermost line of this cell that its error has passed."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    text = _COLOURS.sub("", "\n".join(errors[-1].traceback)) if errors else ""
    lines = [int(line) for where, line in _PLACE.findall(text) if int(where) == number]
    source = cell.source.splitlines()
    if not lines or lines[-1] > len(source):
        return ""
    return f" (Cell In[{number}], line {lines[-1]}: `{source[lines[-1] - 1].strip()}`)"
