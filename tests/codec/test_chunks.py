"""Large payloads are cut into pieces named by their contents."""

import random
import zlib

import pytest
from hypothesis import given, settings, strategies as st

from durable_nb.codec.chunks import CHUNK_SIZE, Chunk, join, split, unpack
from durable_nb.codec.digest import digest_bytes
from durable_nb.errors import Corrupt

NOISE = random.Random(1).randbytes(CHUNK_SIZE + 5)


def _joined(chunks: list[Chunk]) -> bytes:
    return join(unpack(chunk.data, chunk.digest) for chunk in chunks)


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE])
@pytest.mark.parametrize("source", [b"a" * 2 * CHUNK_SIZE, NOISE * 2])
def test_data_of_every_size_comes_back(size: int, source: bytes) -> None:
    data = source[:size]
    chunks = split(data)
    assert _joined(chunks) == data
    assert [chunk.size for chunk in chunks] == [len(data[at : at + CHUNK_SIZE]) for at in range(0, size, CHUNK_SIZE)]


@settings(max_examples=30, deadline=None)
@given(st.binary())
def test_any_data_comes_back(data: bytes) -> None:
    assert _joined(split(data)) == data


def test_equal_pieces_have_one_name() -> None:
    chunks = split(b"a" * 2 * CHUNK_SIZE)
    assert chunks[0] == chunks[1]
    assert chunks[0].digest == digest_bytes(b"a" * CHUNK_SIZE)


def test_noise_is_stored_raw_and_text_is_packed() -> None:
    noise, rest = split(NOISE)
    assert noise.data[0] == 0
    assert len(noise.data) == CHUNK_SIZE + 1
    assert rest.data[0] == 0
    assert len(split(b"word " * 100_000)[0].data) < 10_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00abd",
        b"\x09abc",
        b"\x01abc",
        b"\x01" + zlib.compress(b"abc")[:-6],
        b"\x01" + zlib.compress(b"abd"),
        b"\x01" + zlib.compress(bytes(CHUNK_SIZE * 50)),
    ],
)
def test_piece_with_other_bytes_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(data, digest_bytes(b"abc"))
