"""What a cell has sent, settled into the few outputs that a reader sees at the end."""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from durable_nb.runtime.output import LIMIT

Output = dict[str, Any]  # as in a notebook file, and `transient` where a display can be updated

WHOLE = 64 * LIMIT  # characters kept of all outputs of a cell
BADGE = "durable_nb"  # metadata of what we show ourselves, which is no output of the cell

_WIDGET = "application/vnd.jupyter.widget-view+json"  # refers to a model that dies with its kernel
_LINE_END = re.compile(r"\r+\n")


class Outputs:
    """Takes messages one by one and keeps no more of them than is still to be seen."""

    def __init__(self, limit: int = LIMIT, whole: int = WHOLE) -> None:
        self._limit = limit
        self._whole = whole
        self._kept: list[_Text | Output] = []
        self._size = 0
        self._left_out = 0
        self._clears_next = False

    def take(self, kind: str, content: Mapping[str, Any]) -> None:
        """Apply a message of the kernel: a stream, a display, an update, a result, an error or a clearing."""
        if kind == "clear_output":
            self._clears_next = bool(content["wait"])
            if not self._clears_next:
                self._clear()
            return
        is_display = kind in ("display_data", "update_display_data")
        if is_display and self._update(content) and kind == "update_display_data":
            return  # a second display of that id changes the first one, and is shown itself
        if self._clears_next and kind != "update_display_data":
            self._clears_next = False
            self._clear()
        if kind == "stream":
            self._write(content["name"], content["text"])
        elif kind == "error":
            self._keep({"output_type": "error", **{key: content[key] for key in ("ename", "evalue", "traceback")}})
        elif BADGE not in (content.get("metadata") or {}):
            self._keep(_display(kind, content))

    def settled(self) -> list[Output]:
        """The outputs as they stand: streams joined and collapsed, without the pictures of dead widgets."""
        found = [one.settled() if isinstance(one, _Text) else _lasting(one) for one in self._kept]
        outputs = [one for one in found if one is not None]
        if self._left_out:
            note = f"[{self._left_out} outputs were not stored: more than {self._whole} characters in one cell]\n"
            outputs.append({"output_type": "stream", "name": "stderr", "text": note})
        return outputs

    def _clear(self) -> None:
        self._kept.clear()
        self._size = 0
        self._left_out = 0

    def _write(self, name: str, text: str) -> None:
        last = self._kept[-1] if self._kept else None
        if not isinstance(last, _Text) or last.name != name:
            last = _Text(name, self._limit)
            self._kept.append(last)
        last.write(text)

    def _keep(self, output: Output) -> None:
        size = _size(output)
        if self._size + size > self._whole:
            self._left_out += 1
            return
        self._size += size
        self._kept.append(output)

    def _update(self, content: Mapping[str, Any]) -> bool:
        """Change our own displays of that id, or the last update of another cell's; False when there is none yet."""
        key = _display_id(content)
        ours = [one for one in self._kept if key and isinstance(one, dict) and _display_id(one) == key]
        for one in ours:
            self._size -= _size(one)
            one["data"], one["metadata"] = dict(content["data"]), dict(content.get("metadata") or {})
            self._size += _size(one)
        return bool(ours)


class _Text:
    """What was written to one stream without anything else in between."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self._limit = limit
        self._pieces: list[str] = []
        self._size = 0
        self._is_cut = False

    def write(self, text: str) -> None:
        if self._is_cut:
            return
        self._pieces.append(text)
        self._size += len(text)
        if self._size > 2 * self._limit:  # a progress bar may be far longer than what is left of it
            whole = collapse("".join(self._pieces))
            self._is_cut = len(whole) > self._limit
            self._pieces, self._size = [whole], len(whole)

    def settled(self) -> Output | None:
        text = collapse("".join(self._pieces))
        if len(text) > self._limit:
            text = f"{text[: self._limit]}\n[output cut after {self._limit} characters]\n"
        return {"output_type": "stream", "name": self.name, "text": text} if text else None


def collapse(text: str) -> str:
    """Apply carriage returns as a front end does: what comes after one overwrites the line from its beginning."""
    if "\r" not in text:
        return text
    return "\n".join(_collapsed(line) for line in _LINE_END.sub("\n", text).split("\n"))


def _collapsed(line: str) -> str:
    if "\r" not in line:
        return line
    shown = ""
    for piece in line.split("\r"):
        is_coloured = "\x1b" in shown + piece  # a colour is not to be cut in two
        shown = piece if is_coloured and piece else piece + shown[len(piece) :]
    return shown + "\r" if line.endswith("\r") else shown


def _display(kind: str, content: Mapping[str, Any]) -> Output:
    output: Output = {
        "output_type": kind,
        "data": dict(content["data"]),
        "metadata": dict(content.get("metadata") or {}),
    }
    if kind == "execute_result":
        output["execution_count"] = content.get("execution_count")
    if content.get("transient"):
        output["transient"] = dict(content["transient"])
    return output


def _display_id(output: Mapping[str, Any]) -> str | None:
    found: str | None = (output.get("transient") or {}).get("display_id")
    return found


def _lasting(output: Output) -> Output | None:
    """The output without what a new kernel could not show; None when nothing is left of it."""
    if _WIDGET not in output.get("data", ()):
        return output
    data = {kind: value for kind, value in output["data"].items() if kind != _WIDGET}
    live = _live_widget(output["data"][_WIDGET])
    if live is not None:
        data["text/plain"] = repr(live)  # as it is now: a progress bar was shown when it stood at nothing
    return {**output, "data": data} if data else None


def _live_widget(view: Any) -> Any:
    widgets = sys.modules.get("ipywidgets.widgets.widget")
    known = getattr(widgets, "_instances", {})
    return known.get(view.get("model_id")) if isinstance(view, Mapping) else None


def _size(output: Output) -> int:
    if output["output_type"] == "error":
        return sum(map(len, output["traceback"]))
    return sum(len(one) if isinstance(one, str) else len(json.dumps(one)) for one in output["data"].values())
