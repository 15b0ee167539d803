"""How a stored piece is packed: as it is, or a number for the packing and the packed bytes, when that is shorter."""

import importlib
import zlib
from typing import Any, Final

from durable_nb.errors import UnknownCode


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        return None


zstandard = _zstandard()  # it comes with durable_nb[notebook]; zlib does the same, five times slower

# The number of a packing is its first byte, and what its format begins with follows; a new one takes the next number.
_ZLIB: Final = b"\x01\x78"
_ZSTD: Final = b"\x02\x28\xb5\x2f\xfd"
_SAMPLE: Final = 4 * 1024
_WORTH: Final = 0.9


def pack(piece: bytes) -> bytes:
    """The piece as it is stored."""
    # Samples first: to try the whole of random floats costs more than to store them.
    starts = sorted({0, max(0, (len(piece) - _SAMPLE) // 2), max(0, len(piece) - _SAMPLE)})
    sample = b"".join(piece[start : start + _SAMPLE] for start in starts)
    if len(_squeezed(sample)) >= _WORTH * len(sample):
        return piece
    packed = _squeezed(piece)
    return packed if len(packed) < len(piece) else piece


def unpack(stored: bytes, limit: int) -> bytes | None:
    """The piece; None when the bytes are not packed, or not well, or hold more than the limit.

    UnknownCode when they are packed with what is not installed here.
    """
    if stored.startswith(_ZSTD):
        return _inflated_zstd(memoryview(stored)[1:], limit)
    if not stored.startswith(_ZLIB):
        return None
    try:
        # Bounded: a forged piece must not fill the memory before its digest is looked at.
        return zlib.decompressobj().decompress(memoryview(stored)[1:], limit + 1)
    except zlib.error:
        return None


def _squeezed(piece: bytes) -> bytes:
    if zstandard is None:
        return _ZLIB[:1] + zlib.compress(piece, 1)
    packed: bytes = zstandard.ZstdCompressor(1).compress(piece)
    return _ZSTD[:1] + packed


def _inflated_zstd(packed: Any, limit: int) -> bytes | None:
    if zstandard is None:
        raise UnknownCode("it is packed with zstd, and the package `zstandard` is not installed here: install it")
    try:
        # Of a frame that tells its size, all of it is allocated first, whatever the limit says.
        if not 0 <= zstandard.frame_content_size(packed) <= limit:
            return None
        unpacked: bytes = zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError:
        return None
    return unpacked
