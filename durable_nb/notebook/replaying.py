"""Showing stored outputs again, as if the cell had run, and the badge that says it has not."""

import sys
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from durable_nb.notebook.outputs import BADGE, Output
from durable_nb.notebook.streams import flush

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_STYLE = (
    "color: var(--jp-ui-font-color2, inherit); font-family: var(--jp-ui-font-family, inherit); "
    "font-size: var(--jp-ui-font-size1, 0.85em); border-left: 2px solid var(--jp-border-color1, currentColor); "
    "padding-left: 0.6em; margin: 0.2em 0"
)


def replay(shell: "InteractiveShell", outputs: Sequence[Output]) -> None:
    """Show the outputs in the present cell, in their order: displays under their ids, the result as Out[n] of now."""
    written = ""
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            if written and written != output["name"]:
                getattr(sys, written).flush()  # each stream is sent for itself, and later than it is written
            written = output["name"]
            getattr(sys, written).write(output["text"])
            continue
        if kind == "execute_result":
            _show_result(shell, output)
        elif kind == "error":
            flush()
            _show_error(shell, output)
        else:
            shell.display_pub.publish(
                data=output["data"],
                metadata=output["metadata"],
                transient=output.get("transient"),
                update=kind == "update_display_data",
            )
        written = ""


def badge(text: str, plain: str = "restored") -> Output:
    """A quiet line below the outputs. `plain` stands in its place where text is compared: no date, no duration."""
    mark = f'<div role="note" style="{_STYLE}"><span aria-hidden="true">↺ </span>{escape(text)}</div>'
    return {
        "output_type": "display_data",
        "data": {"text/plain": plain, "text/html": mark},
        "metadata": {BADGE: {"badge": True, "text": text}},
    }


def _show_result(shell: "InteractiveShell", output: Output) -> None:
    hook = shell.displayhook
    if sys.displayhook is not hook:  # `%%capture` stands above the cell
        shell.display_pub.publish(data=output["data"], metadata=output["metadata"])
        return
    hook.start_displayhook()
    hook.write_output_prompt()
    hook.write_format_data(output["data"], output["metadata"])
    hook.finish_displayhook()


def _show_error(shell: "InteractiveShell", output: Output) -> None:
    kind: Any = type(output["ename"], (Exception,), {})
    shell._showtraceback(kind, kind(output["evalue"]), output["traceback"])
