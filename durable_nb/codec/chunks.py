"""Large payloads as content-addressed pieces: what two payloads have in common is stored once.

A payload comes in parts: buffers, which are its bytes when they are joined. Every large part, and every long row of a
part with two dimensions, begins a piece of its own, so that a column is the same pieces whatever stands before it.
A payload is named by the digests of its pieces in order, so one look at each byte is enough to name and to check it.
Digests are SHA-256 cut to 128 bits: nobody finds other bytes for them, and processors compute it themselves.
"""

import mmap
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from typing import Final, NamedTuple

from durable_nb.codec import packing
from durable_nb.errors import Corrupt

CHUNK_SIZE: Final = 1024 * 1024
_RESERVED: Final = 4 * CHUNK_SIZE  # from here on memory is asked of the system itself
_ALONE: Final = 128 * 1024  # a part of this size begins a piece; smaller ones share pieces
_THREADS: Final = min(4, os.cpu_count() or 1)  # hashing and packing let go of the GIL
_AHEAD: Final = 2 * _THREADS  # pieces that are ready before somebody takes them

Part = bytes | bytearray | memoryview


class Chunk(NamedTuple):
    """One piece: the digest and size of the raw bytes, and the bytes as they are stored."""

    digest: str
    size: int
    data: bytes


def split(parts: Iterable[Part]) -> Iterator[Chunk]:
    """The pieces of the parts in order, a few of them made ahead by threads; no bytes, no pieces."""
    views = _cut(parts)
    first = [views_of_one for _, views_of_one in zip(range(2), views, strict=False)]
    if len(first) < 2:
        return map(_chunk, first)
    return _split_ahead(first, views)


def name_of(digests: Iterable[str]) -> str:
    """The name of the payload that has these pieces."""
    return _digest("".join(digests).encode())


def unpack(stored: bytes, digest: str) -> bytes:
    """The raw bytes of a stored piece; Corrupt when they are not the bytes of that digest."""
    raw = packing.unpack(stored, CHUNK_SIZE)
    if raw is not None and _digest(raw) == digest:
        return raw
    if _digest(stored) != digest:
        raise Corrupt(f"the chunk {digest} does not hold the bytes it was stored with")
    return stored


def stream(name: str, pages: Iterable[Sequence[tuple[str, bytes]]]) -> "Stream":
    """The bytes of a payload, whose pieces come a few at a time.

    Every piece is checked before it is seen, and that they are the pieces of the payload when the last one has come:
    Corrupt then, when they are not. So nothing may be concluded from them before `end`.
    """
    return Stream(_unpacked(name, pages))


class Stream:
    """Bytes that come piece by piece."""

    def __init__(self, pieces: Iterable[Part]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def begins(self, prefix: bytes) -> bool:
        """Whether what is left begins so; a look takes nothing."""
        return self._fill() and bytes(self._left[: len(prefix)]) == prefix

    def line(self) -> bytes:
        """The first line of what is left, with its end."""
        found = bytearray()
        while not found.endswith(b"\n") and self._fill():
            end = bytes(self._left).find(b"\n") + 1 or len(self._left)
            found += self._left[:end]
            self._left = self._left[end:]
        return bytes(found)

    def read(self, size: int) -> bytearray | memoryview:
        """The next bytes, which can be written to; Corrupt when there are not as many."""
        reserved = _reserved(size)
        if reserved is not None:
            place = 0
            for part in self._parts(size):
                reserved[place : place + len(part)] = part
                place += len(part)
            return reserved
        found = bytearray()  # it grows: a forged size must not fill the memory
        for part in self._parts(size):
            found += part
        return found

    def _parts(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._fill():
                raise Corrupt(f"it ends {size} bytes too early")
            part = self._left[:size]
            self._left = self._left[len(part) :]
            size -= len(part)
            yield part

    def rest(self) -> bytearray:
        """All bytes that are left."""
        found = bytearray(self._left)
        for piece in self._pieces:
            found += piece
        self._left = memoryview(b"")
        return found

    def end(self) -> None:
        """Nothing may be left; Corrupt otherwise, and when what came was not the payload."""
        if self._fill():
            raise Corrupt("it holds more bytes than it says")

    def _fill(self) -> bool:
        while not len(self._left):
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._left = memoryview(piece)
        return True


def _reserved(size: int) -> memoryview | None:
    """Memory that the system gives only as it is filled, in pages of 2 MiB: a third of the time to fill it."""
    if sys.platform != "linux" or size < _RESERVED:
        return None
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    except (OSError, OverflowError):  # a forged size, or a system without such pages
        return None
    return memoryview(memory)


def _unpacked(name: str, pages: Iterable[Sequence[tuple[str, bytes]]]) -> Iterator[bytes]:
    _keep_memory()
    digests: list[str] = []
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for page in pages:
            digests.extend(digest for digest, _ in page)
            waiting.extend(pool.submit(unpack, data, digest) for digest, data in page)
            del page  # the memory holds the payload once
            while len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    if name_of(digests) != name:
        raise Corrupt(f"its payload {name} was altered")


@cache
def _keep_memory() -> None:
    """Once: glibc gives freed blocks back to the system, page by page, until it has seen a larger one freed."""
    bytearray(31 * CHUNK_SIZE)  # never touched; a third less time for what follows


def _split_ahead(first: list[list[memoryview]], others: Iterator[list[memoryview]]) -> Iterator[Chunk]:
    _keep_memory()
    waiting: deque[Future[Chunk]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting.extend(pool.submit(_chunk, views) for views in first)
        for views in others:
            waiting.append(pool.submit(_chunk, views))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _cut(parts: Iterable[Part]) -> Iterator[list[memoryview]]:
    """The pieces, each as the views it is made of."""
    piece: list[memoryview] = []
    size = 0
    for part in parts:
        for run in _runs(memoryview(part)):
            if piece and (len(run) >= _ALONE or size + len(run) > CHUNK_SIZE):
                yield piece
                piece, size = [], 0
            for start in range(0, len(run), CHUNK_SIZE):
                if size == CHUNK_SIZE:
                    yield piece
                    piece, size = [], 0
                piece.append(run[start : start + CHUNK_SIZE])
                size += len(piece[-1])
    if piece:
        yield piece


def _runs(view: memoryview) -> Iterator[memoryview]:
    """The rows of a view, if they are long, else the whole of it."""
    if not view.nbytes:
        return
    flat = view.cast("B")
    row = view.nbytes // view.shape[0] if view.ndim > 1 and view.shape else 0
    if row < _ALONE:
        yield flat
        return
    yield from (flat[start : start + row] for start in range(0, view.nbytes, row))


def _chunk(views: list[memoryview]) -> Chunk:
    # Copied before it is hashed: a piece that somebody changes meanwhile would lie under a name that is not its own.
    raw = b"".join(views)
    return Chunk(_digest(raw), len(raw), packing.pack(raw))


def _digest(raw: bytes) -> str:
    return sha256(raw).hexdigest()[:32]
