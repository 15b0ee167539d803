"""Quiet lines of ours below a cell: they are shown and never taken for output of the cell."""

import time
from html import escape
from typing import TYPE_CHECKING, Any

from durable_nb.chance import token
from durable_nb.notebook.replaying import badge

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

LOOK = 0.05  # seconds between two looks of who waits
_QUIET = 1.0  # seconds after which a wait says what it waits for


def say(shell: "InteractiveShell", text: str, plain: str) -> None:
    """One line. `plain` stands in its place where outputs are compared: no date, no duration. A terminal has the text."""
    is_kernel = getattr(shell, "kernel", None) is not None
    output = badge(text, plain if is_kernel else text)
    shell.display_pub.publish(data=output["data"], metadata=output["metadata"])


class Notice:
    """What a cell waits for, shown when it has waited for a second and gone when it goes on. Waiting can be interrupted."""

    def __init__(self, shell: "InteractiveShell") -> None:
        self._shell = shell
        self._since = time.monotonic()
        self._id = f"durable-{token(6).hex()}"
        self._shown = ""

    def wait(self, sentence: str, more: str = "") -> None:
        """Wait a moment; `more` is shown below the sentence as code to copy."""
        if self._shown or time.monotonic() - self._since >= _QUIET:
            self.show(sentence, more)
        time.sleep(LOOK)

    def show(self, sentence: str, more: str = "") -> None:
        """Say it now."""
        if self._shown != sentence:
            self._show(sentence, more, update=bool(self._shown))
            self._shown = sentence

    def __enter__(self) -> "Notice":
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._publish({"text/plain": "", "text/html": ""}, update=True)

    def _show(self, sentence: str, more: str, update: bool) -> None:
        output = badge(sentence, sentence)
        if more:
            output["data"]["text/html"] += f"<pre>{escape(more)}</pre>"
            output["data"]["text/plain"] += f"\n{more}"
        self._publish(output["data"], update)

    def _publish(self, data: dict[str, Any], update: bool) -> None:
        self._shell.display_pub.publish(
            data=data, metadata=badge("")["metadata"], transient={"display_id": self._id}, update=update
        )


class Progress:
    """One line that says how far something has come, and goes when it is done."""

    def __init__(self, shell: "InteractiveShell") -> None:
        self._notice = Notice(shell)

    def tell(self, sentence: str) -> None:
        self._notice.show(sentence)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._notice.__exit__(*error)
