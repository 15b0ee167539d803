"""What came of a cell, as one value of the log: its variables, its output, and how long it took."""

from collections.abc import Sequence
from typing import Any

import msgspec

from durable_nb.codec import values as codec
from durable_nb.errors import Corrupt

CODEC = "cell"
RESULT = "Out[n]"  # stands among the variables for the value of the last line


class Saved(msgspec.Struct, omit_defaults=True):
    """The outcome of a cell. `kept` is the manifest of its variables; it is code to whoever unpickles it, so it is signed."""

    kept: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    without: tuple[str, ...] = ()  # what was taken for an input and is none
    unstorable: dict[str, str] = {}  # name -> path and reason
    process: dict[str, Any] = {}  # what it changed of the process: environment, working directory, ...
    output: list[dict[str, Any]] = []
    only: tuple[str, ...] | None = None  # what `--out` named; None when all was kept
    digests: dict[str, str | None] = {}  # of its variables, when the cell had ended
    seconds: float = 0.0
    size: int = 0

    def lacks(self, wanted: Sequence[str] | None) -> str:
        """The clause that says why this is not all that `--out` asks for, "" when it is."""
        if wanted is None:
            return (
                f"only {', '.join(f'`{name}`' for name in self.only)} was kept (--out)" if self.only is not None else ""
            )
        missing = [name for name in wanted if name not in self.names and name not in self.unstorable]
        return f"`{missing[0]}` was not kept (--out)" if missing else ""

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
