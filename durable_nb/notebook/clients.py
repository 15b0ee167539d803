"""nbclient over a kernel that keeps durable cells: what headless runs and papermill's engine have in common.

Any other user of nbclient (nbconvert, jupyter execute, nbval) needs one environment variable and `%load_ext durable_nb`
in the notebook: `DURABLE_NB_LOG=/data/report.durable.db jupyter execute report.ipynb` restores what is in the log.
"""

import ast
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nbclient import NotebookClient

from durable_nb.errors import BadOption
from durable_nb.notebook.outputs import BADGE
from durable_nb.notebook.where import LOG

QUIET = "--log-level=40"  # of the kernel: what it warns of at its start is for somebody who configures it
_INSIDE = "__import__('durable_nb.notebook.inside', fromlist=['inside'])"
_SHOWN = ("display_data", "update_display_data")


def environment(log: str, notebook: Path) -> dict[str, str]:
    """The environment of a kernel whose durable cells are in this log."""
    return {**os.environ, LOG: log, "JPY_SESSION_NAME": str(notebook)}


class DurableClient(NotebookClient):
    """Loads the extension before the first cell. What it says below cells goes to `told`, not into the notebook."""

    told: Callable[[str], None] | None = None

    async def begin(self, notebook: Any = None) -> None:
        """A hook for `on_notebook_start`."""
        reply = await self._ask(f"{_INSIDE}.begin()", {})
        if reply.get("status") != "ok":
            why = f"{reply.get('ename', 'it')}: {reply.get('evalue', 'does not answer')}"
            raise BadOption(
                f"kernel `{self.kernel_name}` cannot use durable_nb, {why}; install durable_nb[notebook] there"
            )

    async def restored(self) -> str:
        """What the kernel has restored, in one line."""
        reply = await self._ask("", {"restored": f"{_INSIDE}.restored()"})
        found = reply.get("user_expressions", {}).get("restored", {})
        return str(ast.literal_eval(found["data"]["text/plain"])) if found.get("status") == "ok" else ""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        content = msg["content"]
        if msg["msg_type"] in _SHOWN and BADGE in (content.get("metadata") or {}):
            text = _text(content)
            if text and self.told is not None:
                self.told(text)
            return None
        return super().process_message(msg, cell, cell_index)

    async def _ask(self, code: str, expressions: Mapping[str, str]) -> dict[str, Any]:
        """Run code that leaves no trace: no number, no output."""
        assert self.kc is not None
        request = self.kc.execute(code, silent=True, store_history=False, user_expressions=dict(expressions))
        message = await self.async_wait_for_reply(request)
        return message["content"] if message is not None else {}


def _text(content: Mapping[str, Any]) -> str:
    mark = content["metadata"][BADGE]
    return str(mark.get("text") or content["data"].get("text/plain", ""))
