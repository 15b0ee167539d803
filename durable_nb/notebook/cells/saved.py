"""What came of a cell, as one value of the log: its variables, its output, and how long it took."""

from typing import Any

import msgspec

from durable_nb.codec import values as codec
from durable_nb.errors import Corrupt

CODEC = "cell"


class Saved(msgspec.Struct, omit_defaults=True):
    """The outcome of a cell. `kept` is the manifest of its variables; it is code to whoever unpickles it, so it is signed."""

    kept: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    without: tuple[str, ...] = ()  # what was taken for an input and is none
    unstorable: dict[str, str] = {}  # name -> path and reason
    process: dict[str, Any] = {}  # what it changed of the process: environment, working directory, ...
    output: list[dict[str, Any]] = []
    digests: dict[str, str | None] = {}  # of its variables, when the cell had ended
    seconds: float = 0.0
    size: int = 0

    def __repr__(self) -> str:
        return f"<outcome of a cell: {', '.join(self.names) or 'no variables'}>"


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Saved)


def _decode(data: bytes) -> Saved:
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as cause:
        raise Corrupt(f"the outcome of a cell cannot be read: {cause}") from cause


def _is_saved(value: object) -> bool:
    return isinstance(value, Saved)


codec.register(CODEC, _is_saved, _encode, _decode)
