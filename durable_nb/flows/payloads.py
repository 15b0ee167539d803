"""Large values on their way into the store and out of it: cut into pieces, named by them, checked by them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from durable_nb.codec import chunks as pieces
from durable_nb.codec.chunks import Part, Stream
from durable_nb.errors import Corrupt

_PAGE = 16  # chunks that are read at once: others read between, and the memory holds a payload once
LARGE = 64 * 1024  # from here on a value goes to chunks and the log holds a reference


class Held(NamedTuple):
    """A payload that is not in the store yet, as it was when it was taken."""

    size: int
    chunks: list[tuple[str, bytes]]


Large = dict[str, Held]  # by name


class Kept(Protocol):
    """The store, as far as payloads go."""

    def put_chunks(self, chunks: Iterable[tuple[str, bytes]]) -> None: ...

    def put_payload(self, digest: str, size: int, chunks: Sequence[tuple[str, bytes | None]]) -> bool: ...

    def payload(self, digest: str, first: int = 0, count: int | None = None) -> list[tuple[str, bytes]] | None: ...


class Reading:
    """What is kept already; nothing is added."""

    def __init__(self, kept: Kept) -> None:
        self.payload = kept.payload

    def put_chunks(self, chunks: Iterable[tuple[str, bytes]]) -> None:
        """Not for a replay, which only wants to know their names."""
        for _ in chunks:
            pass

    def put_payload(self, digest: str, size: int, chunks: Sequence[tuple[str, bytes | None]]) -> bool:
        """Nor this: it has no place to refer to it from."""
        return True


def size_of(parts: Iterable[Part]) -> int:
    return sum(memoryview(part).nbytes for part in parts)


def hold(parts: Iterable[Part]) -> tuple[str, Held]:
    """The payload of these parts, copied, with its name."""
    chunks = list(pieces.split(parts))
    held = Held(sum(chunk.size for chunk in chunks), [(chunk.digest, chunk.data) for chunk in chunks])
    return pieces.name_of(chunk.digest for chunk in chunks), held


def put(kept: Kept, parts: Sequence[Part]) -> str:
    """Store the parts; the name of the payload. It is hashed and packed while what is ready is written."""
    met: list[tuple[str, bytes | None]] = []

    def passing() -> Iterator[tuple[str, bytes]]:
        for chunk in pieces.split(parts):
            met.append((chunk.digest, None))
            yield chunk.digest, chunk.data

    kept.put_chunks(passing())
    name = pieces.name_of(digest for digest, _ in met)
    if not kept.put_payload(name, size_of(parts), met):
        # Somebody has cleared up meanwhile, and nothing referred to the first chunks yet: now in one go.
        name, held = hold(parts)
        kept.put_payload(name, held.size, held.chunks)
    return name


def take(kept: Kept, name: str) -> Stream:
    """The bytes of a payload."""
    first = kept.payload(name, 0, _PAGE)
    if first is None:
        raise Corrupt(f"its payload {name} is not in the log")
    return pieces.stream(name, _pages(kept, name, first))


def _pages(kept: Kept, name: str, page: list[tuple[str, bytes]] | None) -> Iterator[list[tuple[str, bytes]]]:
    came = 0
    while page:
        came += len(page)
        yield page
        page = kept.payload(name, came, _PAGE)
