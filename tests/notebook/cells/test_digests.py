"""Equal values have equal digests: after a round trip, in another process, in another layout. None raises."""

import io
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import cloudpickle
import numpy
import pandas
import pyarrow
import pytest

from durable_nb.notebook.cells import hashing
from durable_nb.notebook.cells.digests import digest_of
from tests.notebook.cells.values import ADDRESSED, BASIC, EVERYTHING, TIMED, Plain


def hex_of(value: object) -> str:
    found = digest_of(value)
    assert found.hex is not None, found.reason
    return found.hex


def stored(value: Any) -> Any:
    """As cells are stored: pickled, with their buffers beside."""
    buffers: list[pickle.PickleBuffer] = []
    data = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytearray(buffer.raw()) for buffer in buffers])


@pytest.mark.parametrize("name", EVERYTHING)
def test_digest_survives_storing(name: str) -> None:
    value = EVERYTHING[name]()
    before = hex_of(value)
    assert hex_of(value) == before
    assert hex_of(stored(value)) == before
    assert hex_of(stored(stored(value))) == before


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name not in TIMED])
def test_values_made_twice_are_equal(name: str) -> None:
    assert hex_of(EVERYTHING[name]()) == hex_of(EVERYTHING[name]())


def digests_made_here() -> dict[str, str | None]:
    return {name: digest_of(make()).hex for name, make in EVERYTHING.items() if name not in TIMED | ADDRESSED}


def digests_restored_from(file: str) -> dict[str, str | None]:
    return {name: digest_of(value).hex for name, value in cloudpickle.loads(Path(file).read_bytes()).items()}


@pytest.mark.parametrize("seed", ["1", "77"])
def test_digests_are_equal_in_processes_with_other_hash_seeds(seed: str, tmp_path: Path) -> None:
    file = tmp_path / "values"
    values = {name: make() for name, make in EVERYTHING.items()}
    file.write_bytes(cloudpickle.dumps(values))
    code = (
        "import json, sys; from tests.notebook.cells.test_digests import digests_made_here, digests_restored_from;"
        "print(json.dumps([digests_made_here(), digests_restored_from(sys.argv[1])]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    made, restored = json.loads(done.stdout.splitlines()[-1])
    assert made == digests_made_here()
    assert restored == {name: digest_of(value).hex for name, value in values.items()}


def test_different_values_have_different_digests() -> None:
    values: list[Any] = [
        *(0, 1, True, 1.0, 0.0, -0.0, None, "1", b"1", bytearray(b"1"), "", [], (), {}, set(), frozenset()),
        *([1], (1,), {1}, frozenset({1}), [[1]], [True], [1.0], ["1"], {"a": 1}, {"a": 1.0}, {"a": {"b": 1}}),
        *({"a": 1, "b": 2}, [*range(100)], [*range(99), 99.0], (*range(100),), {*range(100)}, {*range(99), "99"}),
        *(numpy.arange(3), numpy.arange(3.0), numpy.arange(4), numpy.arange(6).reshape(2, 3)),
        *(numpy.arange(6).reshape(3, 2), numpy.arange(3, dtype="u8"), numpy.array([0, 1, 2], dtype=object)),
        *(numpy.float64(1), numpy.float32(1), numpy.int64(1), float("nan"), float("inf")),
        *(pandas.Series([1, 2]), pandas.Series([1, 2], name="a"), pandas.Series([1, 2], index=[1, 2])),
        *(pandas.DataFrame({"a": [1, 2]}), pandas.DataFrame({"b": [1, 2]}), pandas.DataFrame({"a": [1.0, 2.0]})),
        *(pandas.DataFrame({"a": ["x", None]}), pandas.DataFrame({"a": ["x", "None"]})),
        *(pyarrow.table({"a": [1]}), pyarrow.table({"a": [1.0]}), pyarrow.array([1]), pyarrow.array([None])),
        *(Plain(a=1), Plain(a=2), Plain(b=1), Plain, len, max, sys, os, ValueError("a"), ValueError("b")),
        *(numpy.ma.masked_array([1, 2], [0, 1]), numpy.ma.masked_array([1, 2], [0, 0])),
        *(make() for make in BASIC.values()),
    ]
    digests = [hex_of(value) for value in values]
    assert len(set(digests)) == len(digests)


# layout


def layouts() -> Iterator[tuple[str, Any, Any]]:
    square = numpy.random.RandomState(0).rand(300, 40)
    yield "column order", square, numpy.asfortranarray(square)
    yield "strides", square[::2, ::3], square[::2, ::3].copy()
    yield "backwards", square[::-1], square[::-1].copy()
    yield "transposed", square.T, square.T.copy()
    yield "read only", square, numpy.frombuffer(square.tobytes()).reshape(square.shape)
    yield "under the mask", numpy.ma.masked_array([1, 2], [0, 1]), numpy.ma.masked_array([1, 9], [0, 1])
    columns = {f"c{n}": square[:, n].copy() for n in range(40)}
    split = pandas.DataFrame(index=range(300))
    for name, column in columns.items():
        split.insert(len(split.columns), name, column)
    yield "blocks", pandas.DataFrame(columns, index=range(300)), split
    yield "rows first", pandas.DataFrame(square.copy(order="C"), copy=False), pandas.DataFrame(square.copy(order="F"))
    yield "a slice", pandas.DataFrame(square)[10:20], pandas.DataFrame(square)[10:20].copy()
    words = pandas.Series([f"w{n}" for n in range(500)], dtype="str")
    yield "a slice of words", words[10:20], pandas.Series([*words[10:20]], index=words.index[10:20], dtype="str")
    chunks = pyarrow.chunked_array([["a"], ["b", "c"]])
    yield "chunks", pyarrow.table({"a": chunks}), pyarrow.table({"a": chunks.combine_chunks()})
    yield "an offset", pyarrow.array([0, 1, 2, 3]).slice(1), pyarrow.array([1, 2, 3])
    word = "wo" + "rd"
    yield "shared parts", [word, word], ["".join(["wo", "rd"]), word]
    number = [1.5]
    yield "shared lists", [number, number], [[1.5], [1.5]]


@pytest.mark.parametrize(("name", "one", "other"), [pytest.param(*case, id=case[0]) for case in layouts()])
def test_digest_is_independent_of_layout(name: str, one: Any, other: Any) -> None:
    assert hex_of(one) == hex_of(other)


def test_payloads_of_nan_count_as_they_stand() -> None:
    quiet, other = (numpy.array([bits], dtype="u8").view("f8") for bits in (0x7FF8000000000000, 0x7FF8000000000001))
    assert hex_of(quiet) != hex_of(other)
    assert hex_of(stored(other)) == hex_of(other)


class Lazy:
    @cached_property
    def total(self) -> int:
        return 3


def test_looking_at_a_cached_property_is_no_change() -> None:
    lazy = Lazy()
    before = hex_of(lazy)
    assert lazy.total == 3
    assert hex_of(lazy) == before
    lazy.other = 1  # type: ignore[attr-defined]
    assert hex_of(lazy) != before


# immutable values


def test_arrow_data_is_read_once() -> None:
    table = pyarrow.table({"a": [f"word {n}" for n in range(10_000)]})
    first, again = digest_of(table), digest_of(table)
    assert first.hex == again.hex
    assert (first.size > 100_000, again.size < 1_000) == (True, True)


def test_words_of_a_series_are_read_again_after_a_change() -> None:
    words = pandas.Series([f"word {n}" for n in range(10_000)], dtype="str")
    first, again = digest_of(words), digest_of(words)
    assert (first.hex == again.hex, again.size < first.size / 10) == (True, True)
    words.array[0] = "other"
    assert hex_of(words) != first.hex


# values that have no digest


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Pretends:
    """Claims to be an array, has no attribute that can be read and cannot be compared."""

    __class__ = numpy.ndarray  # type: ignore[assignment]

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__reduce") or name in ("__getstate__", "__class__"):
            return object.__getattribute__(self, name)
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


def deep() -> list[Any]:
    items: list[Any] = []
    for _ in range(100_000):
        items = [items]
    return items


def growing() -> Any:
    items: dict[Any, Any] = {}

    class Adds:
        def __reduce__(self) -> Any:
            items[len(items)] = 1
            return int, ()

    items[0] = Adds()
    items[1] = 2
    return items


def holding_itself() -> Any:
    array = numpy.array([None], dtype=object)
    array[0] = array
    return array


def hostile(folder: Path) -> dict[str, Any]:
    return {
        "it is a generator": (i for i in range(3)),
        "it is a lock": threading.Lock(),
        "it holds a _thread.lock": {"a": threading.Lock()},
        "it is a _io.TextIOWrapper": open(folder / "file", "w"),
        "it is a memoryview": memoryview(b"a"),
        "ValueError: no": Raises(ValueError("no")),
        "reading it raised KeyError": Raises(KeyError()),
        "there is not enough memory to read it": Raises(MemoryError()),
        "it is nested too deeply": deep(),
        "it changed while it was being read": growing(),
        "it holds itself": holding_itself(),
        "it is a frame": sys._getframe(),
    }


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    values = hostile(tmp_path)
    reasons = {name: digest_of(value).reason for name, value in values.items()}
    values["it is a _io.TextIOWrapper"].close()
    assert reasons == {name: name.replace("a lock", "a _thread.lock") for name in values}


def test_a_picture_cannot_be_compared() -> None:
    from matplotlib.figure import Figure

    assert digest_of(Figure().add_subplot()).reason == "it is an Axes"


def test_a_value_that_pretends_is_taken_for_what_it_is() -> None:
    assert digest_of(Pretends()).hex == digest_of(Pretends()).hex


def test_a_value_of_endless_parts_comes_to_an_end() -> None:
    items: list[Any] = [1]
    for _ in range(60):
        items = [items, items]
    assert hex_of(items) == hex_of(stored(items))


def test_a_person_may_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        digest_of(Raises(KeyboardInterrupt()))


def test_a_dict_that_a_thread_changes_is_no_traceback() -> None:
    items = {n: [n] for n in range(20_000)}
    stopped = threading.Event()

    def change() -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            items[-number] = [1]
            if number % 1000 == 0:
                for key in range(1, number + 1):
                    items.pop(-key, None)
                number = 0

    thread = threading.Thread(target=change)
    thread.start()
    try:
        found = [digest_of(items) for _ in range(20)]
    finally:
        stopped.set()
        thread.join()
    assert {one.reason for one in found} <= {"", "it changed while it was being read"}


# widgets, and the hash


def test_a_widget_is_what_it_shows() -> None:
    import ipywidgets

    one, same, other = (ipywidgets.IntSlider(value=value, max=9) for value in (1, 1, 2))
    assert hex_of(one) == hex_of(same) != hex_of(other)
    one.value = 2
    assert hex_of(one) == hex_of(other)


def test_digests_name_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hex_of(1).startswith("x3:")
    monkeypatch.setattr(hashing, "_XXHASH", None)
    assert len(hashing.hashed(b"a")) == 16


def test_the_price_is_stated() -> None:
    array = numpy.zeros(100_000)
    started = time.perf_counter()
    found = digest_of(array)
    assert found.size >= array.nbytes
    assert 0 < found.seconds <= time.perf_counter() - started


def test_streams_in_memory_are_values() -> None:
    assert hex_of(io.BytesIO(b"a")) != hex_of(io.BytesIO(b"b"))
