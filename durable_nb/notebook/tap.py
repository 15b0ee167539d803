"""A tap on what a kernel sends: every message of its cells passes here, whatever thread sends it."""

from collections.abc import Callable, Mapping
from typing import Any

KINDS = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"})

Listener = Callable[[str, Mapping[str, Any], str], bool]  # kind, content, id of the request; True: send it no further


class Tap:
    """Stands before `session.send`. It is there only as long as somebody listens."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._send = session.send
        self.listeners: tuple[Listener, ...] = ()

    def __call__(
        self, stream: Any, message: Any, content: Any = None, parent: Any = None, *rest: Any, **named: Any
    ) -> Any:
        kind, found, header = _parts(message, content, parent)
        if kind in KINDS:
            for listener in self.listeners:
                if listener(kind, found, header.get("msg_id", "")):
                    return None
        return self._send(stream, message, content, parent, *rest, **named)

    def remove_if_unused(self) -> None:
        if not self.listeners and vars(self._session).get("send") is self:
            del self._session.send


def listen(session: Any, listener: Listener) -> None:
    """Hear every message of a cell before it is sent."""
    tap = getattr(session, "send", None)
    if not isinstance(tap, Tap):
        tap = session.send = Tap(session)
    tap.listeners = (*tap.listeners, listener)


def leave(session: Any, listener: Listener) -> None:
    """Hear no more of them."""
    tap = session.send
    if isinstance(tap, Tap):
        tap.listeners = tuple(one for one in tap.listeners if one != listener)
        tap.remove_if_unused()


def _parts(message: Any, content: Any, parent: Any) -> tuple[str, Any, Mapping[str, Any]]:
    if isinstance(message, str):
        header = parent or {}
        return message, content, header.get("header", header)
    return message["header"]["msg_type"], message["content"], message.get("parent_header") or {}
