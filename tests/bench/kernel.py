"""A kernel in a process of its own, driven as a front end drives it; every cell tells how long it took.

Only jupyter_client is imported here, because a peer runs this file in a virtual environment of its own.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from jupyter_client.manager import KernelManager

PATIENCE = 240.0  # seconds a cell may take
_END = 30.0  # seconds a kernel may take to close its log in order


class CellFailed(Exception):
    """A cell of a measurement has raised an error."""


class Kernel:
    """One kernel process and its client."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        environ = {**os.environ, "IPYTHONDIR": str(folder / "ipython"), "JPY_SESSION_NAME": "", **environ}
        self._manager = KernelManager(kernel_name="python3", shutdown_wait_time=_END)
        self._manager.start_kernel(env=environ, cwd=str(folder), extra_arguments=["--log-level=ERROR"])
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)

    def close(self) -> None:
        """End it in order, so that what it holds open is closed."""
        self._client.stop_channels()
        self._manager.shutdown_kernel()

    def run(self, code: str) -> float:
        """Milliseconds from sending a cell until the kernel is idle again."""
        return self._run(code)[0]

    def run_silently(self, code: str) -> float:
        """The same for a cell that is no cell of the notebook: no hook of the shell hears of it."""
        return self._run(code, silent=True)[0]

    def text(self, code: str) -> str:
        """What a cell writes to standard output, or shows as text."""
        return self._run(code)[1]

    def _run(self, code: str, silent: bool = False) -> tuple[float, str]:
        began = time.perf_counter()
        request, told = self._client.execute(code, silent=silent, allow_stdin=False), ""
        while True:
            message = self._client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            content: dict[str, Any] = message["content"]
            if message["msg_type"] == "error":
                raise CellFailed(f"{content['ename']}: {content['evalue']}, in {code.splitlines()[0]}")
            told += content.get("text", "") or content.get("data", {}).get("text/plain", "")
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
        taken = (time.perf_counter() - began) * 1000
        self._client.get_shell_msg(timeout=PATIENCE)
        return taken, told


@contextmanager
def kernel(folder: Path, environ: Mapping[str, str]) -> Iterator[Kernel]:
    """A kernel that is gone afterwards."""
    one = Kernel(folder, environ)
    try:
        yield one
    finally:
        one.close()


def over_plain(one: Kernel, plain: Iterable[str], cells: Iterable[str]) -> float:
    """By how many milliseconds the median of the cells is above that of plain cells, which take turns with them."""
    taken = [(one.run(ordinary), one.run(cell)) for ordinary, cell in zip(plain, cells, strict=True)]
    ordinary, durable = (median(column) for column in zip(*taken, strict=True))
    return max(0.001, float(durable - ordinary))


def drift(one: Kernel, cells: Iterable[str]) -> float:
    """How many times as long the median of the last tenth of the cells took as that of the first."""
    taken = [one.run(cell) for cell in cells]
    tenth = max(1, len(taken) // 10)
    return float(median(taken[-tenth:]) / median(taken[:tenth]))


def size_mb(folder: Path, is_kept: Callable[[str], bool]) -> float:
    """Megabytes of the files of these names."""
    return sum(one.stat().st_size for one in folder.iterdir() if is_kept(one.name)) / 1e6
