"""A pytest plugin that lets nbval run notebooks whose kernel dies: `pytest -p tests.notebooks.tags --nbval …`.

Tags of a code cell:
    kills-kernel    the cell must end its own kernel process; the next cell runs in a new one
    restart-kernel  the kernel is killed before the cell, which runs in a new one
    once            only in a new log the cell does this, and shows what is stored with it

`--again` is for a second run over the same log. Cells tagged `once` are run and not compared; from all others our own
lines are left out on both sides, and every durable cell must have been restored.
"""

import time
from typing import Any

import pytest
from nbval.plugin import IPyNbCell

PATIENCE = 60  # seconds for a kernel to die, or to begin
BADGE = "durable_nb"  # metadata of what the extension shows about a cell
SIDE_DOORS = ("--plan", "--crash-test", "--reuse never")  # durable cells with these are never restored


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--again", action="store_true", help="The notebooks have run over this log before.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Around one cell: the deaths that its tags ask for."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    tags, is_again = set(item.cell.metadata.get("tags", ())), item.config.getoption("--again")
    item.compare_outputs = _comparing(item, is_again)
    if is_again and "once" in tags:
        item.options["check"] = False
    if "restart-kernel" in tags:
        _renew(item.parent.kernel)
    if "kills-kernel" in tags and not (is_again and "once" in tags):
        item.runtest = lambda: _die(item)
    return (yield)


def _comparing(item: IPyNbCell, is_again: bool) -> Any:
    """nbval's comparison, without the lines of ours that say nothing lasting."""
    compare = item.compare_outputs

    def compared(shown: list[Any], stored: list[Any]) -> bool:
        if is_again and _is_restorable(item.cell.source):
            last = [_badge(one).get("text", "") for one in shown if _badge(one)]
            if not any(text.startswith("restored") for text in last):
                item.comparison_traceback = [f"the cell was not restored; it said {last}"]
                return False
        return bool(compare(_kept(shown, is_again), _kept(stored, is_again)))

    return compared


def _is_restorable(source: str) -> bool:
    first = source.partition("\n")[0]
    return first.startswith("%%durable") and not any(door in first for door in SIDE_DOORS)


def _kept(outputs: list[Any], is_again: bool) -> list[Any]:
    """All but what was shown for a while only; and at a second run all but our own lines."""
    return [one for one in outputs if not _badge(one) or (_badge(one)["text"] and not is_again)]


def _badge(output: Any) -> Any:
    return output.get("metadata", {}).get(BADGE)


def _die(item: IPyNbCell) -> None:
    """Run the cell; its process must be gone after it. Then there is a new kernel."""
    kernel, source = item.parent.kernel, item.cell.source
    began = time.monotonic()
    kernel.execute_cell_input(source, allow_stdin=False)
    while kernel.is_alive():
        assert time.monotonic() - began < PATIENCE, f"the kernel did not die of this cell:\n{source}"
        time.sleep(0.02)
    _renew(kernel)


def _renew(kernel: Any) -> None:
    """A new process behind the same manager; the old one, if it lives, is killed as a power cut would."""
    kernel.kc.stop_channels()
    if kernel.km.is_alive():
        kernel.km.restart_kernel(now=True)
    else:
        kernel.km.cleanup_resources(restart=True)
        kernel.km.start_kernel(**kernel.km._launch_args)
    kernel.kc = kernel.km.client()
    kernel.kc.start_channels()
    kernel.kc.wait_for_ready(timeout=PATIENCE)
    kernel._ensure_iopub_up()
