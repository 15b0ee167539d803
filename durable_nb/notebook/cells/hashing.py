"""The hash of digests: xxh3 at the speed of memory where the package is there, else one that Python has."""

from hashlib import blake2b
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from durable_nb.codec.digest_frames import Hashing

_XXHASH: Final[Any] = import_module("xxhash") if find_spec("xxhash") is not None else None

PREFIX: Final = "b2:" if _XXHASH is None else "x3:"
"""How digests begin: those of two hashes say nothing about each other."""


def new_hash() -> Hashing:
    """A hash of 16 bytes."""
    fast: Hashing | None = _XXHASH and _XXHASH.xxh3_128()
    return fast or blake2b(digest_size=16)


def hashed(data: bytes) -> bytes:
    """The hash of these bytes."""
    hashing = new_hash()
    hashing.update(data)
    return hashing.digest()
