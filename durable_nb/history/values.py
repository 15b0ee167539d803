"""How a value lies in the log: its JSON, or a signed reference to bytes that only a trusted log may decode.

{"json": 41}                                                             plain, readable, safe to decode
{"codec": "pickle", "data": "gAWV…", "size": 80, "preview": "…", "mark": "…"}    small, inline
{"codec": "arrow", "payload": "9f3c…", "size": 80000128, "preview": "…", "mark": "…"}   large, in chunks
"""

from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

SAFE = "json"
ARGUMENTS = "arguments"  # {"codec": "arguments", "json": {name: value, …}}: a call whose arguments are not all plain
_NOTHING = Raw(b"")


class Value(Struct, frozen=True, omit_defaults=True):
    """A value of a run. `json` is last, so that a plain value's bytes are b'{"json":' + its JSON + b'}'."""

    codec: str = SAFE
    data: bytes | None = None
    payload: str | None = None
    size: int = 0
    preview: str | None = None
    mark: str | None = None
    json: Raw = _NOTHING

    def __repr__(self) -> str:
        shown = self.preview if self.preview is not None else bytes(self.json).decode("utf-8", "replace")
        return f"<{self.codec} {shown if len(shown) <= 80 else shown[:79] + '…'}>"

    @property
    def is_plain(self) -> bool:
        """True for what may be decoded without trust: JSON that lies right here."""
        return self.codec == SAFE and self.payload is None


def plain(json: bytes) -> Value:
    """A value that is its own JSON."""
    return Value(json=Raw(json))


_inner = msgspec.json.Decoder(dict[str, Value])


def inner_values(value: Value) -> dict[str, Value]:
    """The values of arguments that are stored one by one."""
    return _inner.decode(value.json)


def payloads(value: Value) -> Iterator[str]:
    """The payloads that a value refers to."""
    if value.payload is not None:
        yield value.payload
    if value.codec == ARGUMENTS:
        for inner in inner_values(value).values():
            yield from payloads(inner)
