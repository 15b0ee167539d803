"""Large payloads as content-addressed pieces: the same frame through ten steps is stored once."""

import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

from durable_nb.errors import Corrupt

CHUNK_SIZE: Final = 4 * 1024 * 1024
_SAMPLE: Final = 16 * 1024
_WORTH: Final = 0.9
# The first byte of a stored piece says how it is packed; a new packing takes the next number.
_RAW: Final = 0
_ZLIB: Final = 1


class Chunk(NamedTuple):
    """One piece: the digest and size of the raw bytes, and the bytes as they are stored."""

    digest: str
    size: int
    data: bytes


def split(data: bytes) -> list[Chunk]:
    """The pieces of the data in order; no data, no pieces."""
    view = memoryview(data)
    return [_chunk(view[start : start + CHUNK_SIZE]) for start in range(0, len(view), CHUNK_SIZE)]


def join(chunks: Iterable[bytes]) -> bytes:
    """The data again, from its unpacked pieces in order."""
    return b"".join(chunks)


def unpack(data: bytes, digest: str) -> bytes:
    """The raw bytes of a stored piece; Corrupt when they are not the bytes of that digest."""
    raw = _inflated(data, digest)
    if _digest(raw) != digest:
        raise Corrupt(f"the chunk {digest} does not hold the bytes it was stored with")
    return raw


def _chunk(piece: memoryview) -> Chunk:
    packed = bytes([_ZLIB]) + zlib.compress(piece, 1) if _shrinks(piece) else bytes([_RAW]) + piece
    return Chunk(_digest(piece), len(piece), packed)


def _digest(raw: bytes | memoryview) -> str:
    return blake2b(raw, digest_size=16).hexdigest()


def _shrinks(piece: memoryview) -> bool:
    """Whether samples of the begin, middle and end shrink: trying the whole of random floats costs 100 ms per 4 MiB."""
    starts = {0, max(0, (len(piece) - _SAMPLE) // 2), max(0, len(piece) - _SAMPLE)}
    sample = b"".join(piece[start : start + _SAMPLE] for start in sorted(starts))
    return len(zlib.compress(sample, 1)) < _WORTH * len(sample)


def _inflated(data: bytes, digest: str) -> bytes:
    if not data or data[0] not in (_RAW, _ZLIB):
        raise Corrupt(
            f"the chunk {digest} is packed in a way this durable_nb does not know; upgrade it or restore the log"
        )
    if data[0] == _RAW:
        return data[1:]
    unpacker = zlib.decompressobj()
    try:
        # Bounded: a forged piece must not fill the memory before its digest is looked at.
        return unpacker.decompress(memoryview(data)[1:], CHUNK_SIZE + 1)
    except zlib.error as error:
        raise Corrupt(f"the chunk {digest} cannot be unpacked") from error
