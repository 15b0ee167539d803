"""What runs of the background show goes to the output table of the log, never into whichever cell runs just now."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from durable_nb.notebook.streams import kernel_streams
from durable_nb.notebook.tap import leave, listen
from durable_nb.runtime.output import Sink, Writer, writer

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_DISPLAYS = frozenset({"display_data", "update_display_data", "execute_result"})
_OURS = "durable-nb:"  # how the ids of requests begin that no front end has made

_sinks: WeakValueDictionary[int, Sink] = WeakValueDictionary()  # those with text under way, by their own ids


def install(shell: "InteractiveShell") -> None:
    """From now on in this kernel; a second time changes nothing. Outside a kernel there are no cells to protect.

    The writer is known by the context of its thread or task at the moment when it writes. So this holds for every
    version of the kernel, and for whoever kept a stream of before, as the handlers of `logging` do. Not for text that
    C code or a child process writes to a file descriptor, and not for threads that a step starts itself.
    """
    if getattr(shell, "kernel", None) is None:
        return
    for stream in kernel_streams():
        if not getattr(type(stream), "is_sorted", False):
            stream.__class__ = _sorted(type(stream))  # type: ignore[arg-type]
    session: Any = shell.display_pub.session  # type: ignore[attr-defined]
    leave(session, _sort)
    listen(session, _sort)


def uninstall(shell: "InteractiveShell") -> None:
    if getattr(shell, "kernel", None) is None:
        return
    for stream in kernel_streams():
        if getattr(type(stream), "is_sorted", False):
            stream.__class__ = type(stream).__base__
    leave(shell.display_pub.session, _sort)  # type: ignore[attr-defined]


def _bring() -> None:
    """Send what was written, so that it comes to its run."""
    for stream in kernel_streams():
        stream.flush()


@cache
def _sorted(plain: Any) -> Any:
    """The class of a stream of the kernel that keeps the text of each writer of the background apart.

    Not a `write` of our own: IPython puts one before every cell, and puts the one of before back after it.
    """

    class Sorted(plain):  # type: ignore[misc]
        is_sorted = True

        @property
        def parent_header(self) -> Any:
            """The request that what is written now belongs to."""
            who = writer()
            if who is None or not who.sink.is_quiet:
                return super().parent_header
            if who.is_replaying:
                return {"msg_id": _OURS}
            _sinks[id(who.sink)] = who.sink
            who.sink.under_way = _bring
            ask = "" if who.ask is None else who.ask
            return {"msg_id": f"{_OURS}{id(who.sink)}:{ask}:{who.attempt}"}

        @parent_header.setter
        def parent_header(self, header: Any) -> None:
            plain.parent_header.fset(self, header)

    return Sorted


def _sort(kind: str, content: Mapping[str, Any], request: str) -> bool:
    """Output of a run into its table; of one that is carried in this cell, displays are shown here as well."""
    if kind == "stream":  # sent by a thread of its own
        if request.startswith(_OURS):
            _keep_text(request.removeprefix(_OURS), content)
            return True
        return False
    who = writer()
    if who is None:
        return False
    if who.is_replaying:
        return True
    if kind in _DISPLAYS:
        _keep_display(who, kind, content)
    elif kind == "error" and who.sink.is_quiet:
        who.sink.write(who.ask, who.attempt, "stderr", "\n".join([*content["traceback"], ""]))
    return who.sink.is_quiet


def _keep_text(address: str, content: Mapping[str, Any]) -> None:
    number, _, rest = address.partition(":")
    sink = _sinks.get(int(number)) if number else None
    if sink is not None:
        ask, _, attempt = rest.partition(":")
        sink.write(int(ask) if ask else None, int(attempt), content["name"], content["text"])


def _keep_display(who: Writer, kind: str, content: Mapping[str, Any]) -> None:
    kept = {"output_type": kind, "data": content["data"], "metadata": content.get("metadata") or {}}
    if content.get("transient"):
        kept["transient"] = content["transient"]
    if not who.sink.show(who.ask, who.attempt, json.dumps(kept)):
        plain = content["data"].get("text/plain", "a display")
        who.sink.write(who.ask, who.attempt, "stderr", f"[not stored, no room left: {str(plain)[:200]}]\n")
