"""Large payloads are cut into pieces named by their contents."""

import importlib
import random
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings, strategies as st

from durable_nb.codec import chunks, packing
from durable_nb.codec.chunks import CHUNK_SIZE, Chunk, Part, Stream, name_of, split, stream, unpack
from durable_nb.errors import Corrupt, UnknownCode

NOISE = random.Random(1).randbytes(CHUNK_SIZE + 5)


def _stored(made: Iterable[Chunk]) -> list[tuple[str, bytes]]:
    return [(chunk.digest, chunk.data) for chunk in made]


def _stream(made: list[Chunk]) -> Stream:
    return stream(name_of(chunk.digest for chunk in made), [_stored(made[:3]), _stored(made[3:])])


def _digest(data: bytes) -> str:
    (chunk,) = split([data])
    return chunk.digest


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 9 * CHUNK_SIZE])
@pytest.mark.parametrize("source", [b"a" * 9 * CHUNK_SIZE, NOISE * 9])
def test_data_of_every_size_comes_back(size: int, source: bytes) -> None:
    data = source[:size]
    made = list(split([data]))
    assert _stream(made).rest() == data
    assert [chunk.size for chunk in made] == [len(data[at : at + CHUNK_SIZE]) for at in range(0, size, CHUNK_SIZE)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300) | st.integers(0, 300_000).map(bytes), max_size=8))
def test_any_parts_come_back_as_one(parts: list[bytes]) -> None:
    made = list(split(parts))
    assert _stream(made).rest() == b"".join(parts)
    assert all(0 < chunk.size <= CHUNK_SIZE for chunk in made)


def test_a_large_part_is_the_same_pieces_whatever_stands_before_it() -> None:
    before = {chunk.digest for chunk in split([b"a", NOISE, b"b"])}
    after = [chunk.digest for chunk in split([b"quite another head", NOISE, b"b"])]
    assert [digest in before for digest in after] == [False, True, True]


def test_a_long_row_is_the_same_pieces_in_whatever_table() -> None:
    row = 200_000
    table = memoryview(NOISE[: 4 * row]).cast("B", (4, row))
    others = {chunk.digest for chunk in split([table])}
    assert len(others) == 4
    kept = list(split([memoryview(NOISE[row : 3 * row]).cast("B", (2, row))]))
    assert {chunk.digest for chunk in kept} < others
    assert len(list(split([memoryview(NOISE[:200_000]).cast("B", (1000, 200))]))) == 1


def test_small_parts_share_a_piece() -> None:
    assert len(list(split([b"x" * 1000] * 500))) == 1
    assert len(list(split([b"x" * 1000] * 1500))) == 2


def test_equal_pieces_have_one_name() -> None:
    one, other = split([b"a" * 2 * CHUNK_SIZE])
    assert one == other


def test_noise_is_stored_as_it_is_and_text_is_packed() -> None:
    noise, rest = split([NOISE])
    assert noise.data == NOISE[:CHUNK_SIZE]
    assert rest.data == NOISE[CHUNK_SIZE:]
    assert len(next(split([b"word " * 100_000])).data) < 10_000


def test_a_payload_is_made_a_few_pieces_ahead_and_not_whole() -> None:
    seen = 0

    def parts() -> Iterator[Part]:
        nonlocal seen
        for _ in range(100):
            seen += 1
            yield NOISE[:CHUNK_SIZE]

    made = split(parts())
    next(made)
    assert seen < 20
    assert threading.active_count() > 1
    assert sum(1 for _ in made) == 99
    assert threading.active_count() == 1


# what was stored and what is read


def test_raw_bytes_that_look_packed_are_told_by_their_digest() -> None:
    for data in (b"\x01\x78raw", b"\x02\x28\xb5\x2f\xfdraw", b"\x01" + zlib.compress(NOISE[:100])):
        (chunk,) = split([data])
        assert chunk.data == data
        assert unpack(chunk.data, chunk.digest) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abd",
        b"\x09abc",
        b"\x01abc",
        b"\x01\x78abc",
        b"\x02\x28\xb5\x2f\xfdabc",
        b"\x01" + zlib.compress(b"abc")[:-6],
        b"\x01" + zlib.compress(b"abd"),
        b"\x01" + zlib.compress(bytes(CHUNK_SIZE * 50)),
    ],
)
def test_piece_with_other_bytes_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(data, _digest(b"abc"))


def test_a_forged_size_fills_no_memory() -> None:
    zstandard = pytest.importorskip("zstandard")
    frame = zstandard.ZstdCompressor(1).compress(bytes(1000))
    small = zstandard.get_frame_parameters(frame)
    assert small.content_size == 1000
    huge = zstandard.ZstdCompressor(1).compressobj(size=2**40)
    forged = b"\x02" + huge.compress(b"abc") + huge.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    assert zstandard.frame_content_size(forged[1:]) == 2**40
    with pytest.raises(Corrupt):
        unpack(forged, _digest(b"abc"))


def test_pieces_in_another_order_are_no_payload() -> None:
    made = list(split([NOISE]))
    name = name_of(chunk.digest for chunk in made)
    for others in (made[::-1], made[:1], [*made, made[0]], []):
        with pytest.raises(Corrupt, match="was altered"):
            stream(name, [_stored(others)]).rest()
    turned = stream(name, [_stored(made[::-1])])
    assert len(turned.read(len(NOISE))) == len(NOISE)
    with pytest.raises(Corrupt, match="was altered"):
        turned.end()


def test_nothing_of_an_altered_piece_is_read() -> None:
    made = list(split([NOISE * 3]))
    made[2] = made[2]._replace(data=made[1].data)
    found = _stream(made)
    assert found.read(2 * CHUNK_SIZE) == (NOISE * 3)[: 2 * CHUNK_SIZE]
    with pytest.raises(Corrupt, match=made[2].digest):
        found.read(1)


def test_a_stream_is_read_by_lines_and_sizes() -> None:
    found = Stream([b"one", b" line\nab", b"", b"cd", b"rest", b"!"])
    assert (found.begins(b"one"), found.begins(b"line")) == (True, False)
    assert found.line() == b"one line\n"
    taken = found.read(3)
    taken[0] = 0
    assert (taken, found.read(0), found.rest(), found.rest()) == (b"\0bc", b"", b"drest!", b"")
    assert Stream([]).line() == b""
    Stream([b""]).end()
    with pytest.raises(Corrupt, match="more bytes than it says"):
        Stream([b"a"]).end()
    with pytest.raises(Corrupt, match="5 bytes too early"):
        Stream([b"12"]).read(7)


def test_large_memory_is_filled_and_can_be_written_to() -> None:
    whole, size = NOISE * 6, 5 * CHUNK_SIZE + 1
    found = Stream([whole, b"rest"])
    taken = found.read(size)
    assert taken == whole[:size]
    taken[0] ^= 255
    assert taken[0] == whole[0] ^ 255
    assert found.rest() == whole[size:] + b"rest"


@pytest.mark.parametrize("size", [6 * CHUNK_SIZE, 1 << 60, 1 << 70])
def test_a_forged_size_takes_no_memory(size: int) -> None:
    with pytest.raises(Corrupt, match=f"it ends {size - 2} bytes too early"):
        Stream([b"12"]).read(size)


# with and without zstandard


@pytest.fixture
def without_zstandard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "zstandard", None)  # as if it were not installed
        importlib.reload(packing)
    yield
    importlib.reload(packing)


TEXT = b"what is packed with the one is read with the other; " * 1000


def test_without_zstandard_pieces_are_packed_with_zlib(without_zstandard: None) -> None:
    (chunk,) = split([TEXT])
    assert chunk.data[:2] == b"\x01\x78"
    assert unpack(chunk.data, chunk.digest) == TEXT


def test_packed_with_zlib_is_read_where_zstandard_is() -> None:
    pytest.importorskip("zstandard")
    assert unpack(b"\x01" + zlib.compress(TEXT, 1), _digest(TEXT)) == TEXT
    (chunk,) = split([TEXT])
    assert chunk.data[:1] == b"\x02"
    assert unpack(chunk.data, chunk.digest) == TEXT


def test_what_zstandard_packed_names_the_package_where_it_is_missing(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("zstandard")
    (chunk,) = split([TEXT])
    request.getfixturevalue("without_zstandard")
    with pytest.raises(UnknownCode, match="`zstandard` is not installed here"):
        chunks.unpack(chunk.data, chunk.digest)
