"""A pickle and its buffers as the parts of one payload: a line with their sizes, the pickle, small buffers, large ones.

The small ones lie together with the pickle, so that the pieces of the large ones are their own.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from durable_nb.codec.chunks import Part, Stream

_BEGIN: Final = b"buffers "
_LARGE: Final = 64 * 1024


def framed(head: bytes, buffers: Sequence[memoryview]) -> list[Part]:
    """The parts."""
    sizes = [len(head), *(buffer.nbytes for buffer in buffers)]
    line = _BEGIN + msgspec.json.encode(sizes) + b"\n"
    return [line, head, *(buffers[place] for place in _order(sizes[1:]))]


def is_framed(stream: Stream) -> bool:
    return stream.begins(_BEGIN)


def unframed(stream: Stream) -> tuple[bytes, list[bytearray | memoryview]]:
    """The pickle, and each buffer as memory of its own."""
    head_size, *sizes = msgspec.json.decode(stream.line().removeprefix(_BEGIN), type=list[int])
    head = bytes(stream.read(head_size))
    found = {place: stream.read(sizes[place]) for place in _order(sizes)}
    stream.end()
    return head, [found[place] for place in range(len(sizes))]


def _order(sizes: Sequence[int]) -> Iterable[int]:
    return sorted(range(len(sizes)), key=lambda place: sizes[place] >= _LARGE)
