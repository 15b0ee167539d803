"""notebook/cells/keeping.py: what was put comes back, once stored; who dies between put and commit leaves no harm."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy
import pandas
import pytest

from durable_nb.codec import chunks, framing
from durable_nb.errors import Corrupt
from durable_nb.notebook.cells.graph import pack, unpack
from durable_nb.notebook.cells.keeping import get, payloads_of, put
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.notebook.cells.spaces import cell, space
from tests.stores.examples import carried, row, turn

MiB = 1024 * 1024
DAY = 24 * 3600.0


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cells.durable.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteStore]:
    opened = open_sqlite(path, "process")
    yield opened
    opened.close()


def frame(rows: int = 1_000_000) -> pandas.DataFrame:
    return pandas.DataFrame(numpy.random.default_rng(rows).standard_normal((rows, 10)), columns=list("abcdefghij"))


def stored(store: SqliteStore, **values: Any) -> int:
    """Put the values as a cell would; how many bytes of chunks that has added."""
    before = store.sizes()["chunk"]
    put(store, pack(values, {}, space()))
    return store.sizes()["chunk"] - before


def there(store: SqliteStore, manifest: dict[str, Any]) -> dict[str, Any]:
    found = get(store, json.loads(json.dumps(manifest)))
    return unpack(found.head, found.buffers, {}, space())


# what comes back


def test_small_values_lie_in_the_manifest(store: SqliteStore) -> None:
    manifest = put(store, pack({"a": {"b": [1]}, "x": numpy.arange(3)}, {}, space()))
    assert set(manifest) == {"data"}
    assert payloads_of(manifest) == []
    assert store.sizes()["chunk"] == 0
    assert there(store, manifest)["a"] == {"b": [1]}


def test_large_values_lie_in_a_payload(store: SqliteStore) -> None:
    df = frame(20_000)
    packed = pack({"df": df, "same": df, "lock": threading.Lock(), "text": "long " * 100_000}, {}, space())
    manifest = put(store, packed)
    assert store.payload(manifest["payload"]) is not None
    assert payloads_of(manifest) == [manifest["payload"]]
    assert set(manifest["unstorable"]) == {"lock"}
    assert len(json.dumps(manifest)) < 500
    found = there(store, manifest)
    pandas.testing.assert_frame_equal(found["df"], df)
    assert found["same"] is found["df"]
    found["df"].loc[0, "a"] = 5.0
    assert found["text"] == "long " * 100_000


def test_what_the_values_refer_to_is_in_the_manifest(store: SqliteStore) -> None:
    inputs = {"cfg": {"sub": [1]}}
    packed = pack({"y": inputs["cfg"]["sub"]}, inputs, space())
    assert get(store, put(store, packed)).references == {"cfg"}


@pytest.mark.parametrize("sizes", [(0,), (1, 70_000, 3), (MiB, MiB + 1), (200_000, 60_000, 200_000, 5)], ids=str)
def test_buffers_of_every_size_come_back(store: SqliteStore, sizes: tuple[int, ...]) -> None:
    values = {f"a{n}": numpy.random.default_rng(n).integers(0, 255, size, "u1") for n, size in enumerate(sizes)}
    found = there(store, put(store, pack(values, {}, space())))
    assert all((found[name] == value).all() and found[name].size == value.size for name, value in values.items())


# stored once


def test_what_cells_have_in_common_is_stored_once(store: SqliteStore) -> None:
    df = frame()
    assert 80_000_000 <= stored(store, df=df) < 80_100_000
    assert stored(store, df=df, again=df) < 10_000
    assert stored(store, df=df.rename(columns={"a": "z"})) < 10_000
    one_megabyte = df.copy()
    one_megabyte.loc[:124_999, "c"] = 0.0
    assert stored(store, df=one_megabyte) < 2.1 * MiB
    assert 8_000_000 <= stored(store, df=df.assign(more=df["a"] * 2)) < 8_100_000
    assert stored(store, df=df[["c", "d"]]) < 10_000
    assert stored(store, b=df["a"].to_numpy()) < 10_000


def test_a_model_that_holds_its_frame_stores_itself(store: SqliteStore) -> None:
    tree = pytest.importorskip("sklearn.tree")
    df = frame(100_000)
    model = tree.DecisionTreeRegressor(max_depth=3).fit(df[["a", "b"]], df["c"])
    model.frame = df
    packed = pack({"model": model}, {"df": df}, space())
    assert len(packed.head) + sum(memoryview(buffer).nbytes for buffer in packed.buffers) < 10_000
    found = get(store, put(store, packed))
    again = unpack(found.head, found.buffers, {"df": df}, space())["model"]
    assert again.frame is df
    assert (again.predict(df[["a", "b"]]) == model.predict(df[["a", "b"]])).all()


# altered, gone, cleared up


def altered(store: SqliteStore, statement: str) -> None:
    assert store.database.one(statement, ()) == 1


def test_an_altered_chunk_is_never_unpickled(store: SqliteStore) -> None:
    manifest = put(store, pack({"a": numpy.random.default_rng(0).standard_normal(300_000)}, {}, space()))
    altered(store, "update chunk set data = zeroblob(length(data)) where key = 2")
    with pytest.raises(Corrupt, match="does not hold the bytes"):
        get(store, manifest)


def test_a_chunk_under_another_name_is_noticed(store: SqliteStore) -> None:
    manifest = put(store, pack({"a": numpy.random.default_rng(0).standard_normal(300_000)}, {}, space()))
    forged = next(chunks.split(framing.framed(b"cos\nsystem\n(S'true'\ntR.", [memoryview(bytes(2_400_000))])))
    altered(store, f"update chunk set digest = '{forged.digest}', data = x'{forged.data.hex()}' where key = 1")
    with pytest.raises(Corrupt, match="was altered"):
        get(store, manifest)


def test_a_payload_that_is_gone_is_named(store: SqliteStore) -> None:
    with pytest.raises(Corrupt, match="its payload abc is not in the log"):
        get(store, {"payload": "abc", "size": 5})
    with pytest.raises(Corrupt, match="has no values"):
        get(store, {})


def test_gc_while_values_are_put_takes_nothing_of_them(store: SqliteStore) -> None:
    df = frame(500_000)
    packed = pack({"df": df}, {}, space())
    is_put, collected = threading.Event(), 0

    def clear_up() -> None:
        nonlocal collected
        while not is_put.is_set():
            collected += store.gc(100.0)[0]

    cleaner = threading.Thread(target=clear_up)
    cleaner.start()
    manifest = put(store, packed)
    is_put.set()
    cleaner.join()
    store.gc(101.0)
    pandas.testing.assert_frame_equal(there(store, manifest)["df"], df)


def test_chunks_that_gc_has_taken_are_put_again(store: SqliteStore) -> None:
    packed = pack({"df": (df := frame(100_000))}, {}, space())

    class Cleared:
        """The store, with somebody who clears up at the worst moment."""

        put_payload, payload = store.put_payload, store.payload

        def put_chunks(self, chunks: Any) -> None:
            store.put_chunks(chunks)
            assert store.gc(100.0)[0] > 0

    manifest = put(Cleared(), packed)
    pandas.testing.assert_frame_equal(there(store, manifest)["df"], df)


# other processes


def run(script: str, path: str, *more: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root}
    arguments = [sys.executable, "-c", dedent(script), path, *more]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=100)


PUTS = """
    import json, os, signal, sys
    import numpy
    from durable_nb.notebook.cells.graph import pack
    from durable_nb.notebook.cells.keeping import put
    from durable_nb.stores.sqlite import open_sqlite
    store = open_sqlite(sys.argv[1], "process")
    """


def test_who_is_killed_before_the_outcome_leaves_no_harm(path: str) -> None:
    killed = run(
        PUTS
        + """
    df = numpy.random.default_rng(1).standard_normal(1_000_000)
    print(json.dumps(put(store, pack({"df": df}, {}))), flush=True)
    put_chunks = store.put_chunks
    def half(chunks):
        put_chunks(chunk for chunk, _ in zip(chunks, range(5)))
        os.kill(os.getpid(), signal.SIGKILL)
    store.put_chunks = half
    put(store, pack({"df": df + 1}, {}))
    """,
        path,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    manifest = json.loads(killed.stdout)
    store = open_sqlite(path, "process")
    assert store.database.read("pragma integrity_check") == [("ok",)]
    store.gc(1_000.0)
    assert 8_000_000 <= store.sizes()["chunk"] < 8_100_000, (
        "what was half put is gone, what waits for its commit is not"
    )
    assert there(store, manifest)["df"].shape == (1_000_000,)
    store.gc(1_001.0 + DAY)
    assert store.sizes()["chunk"] == 0
    store.close()


def test_what_a_commit_refers_to_stays(store: SqliteStore) -> None:
    manifest = put(store, pack({"df": frame(20_000)}, {}, space()))
    store.commit(turn(carried(store), row(2), payloads=[(2, name) for name in payloads_of(manifest)]))
    for days in range(3):
        store.gc(1_000.0 + days * DAY)
    assert there(store, manifest)["df"].shape == (20_000, 10)


CELL = """
    import functools, pandas, numpy
    from dataclasses import dataclass
    K = 3
    @dataclass
    class Shop:
        df: object
        def total(self): return float(self.df["a"].sum()) * K
    @functools.lru_cache
    def scaled(n): return n * K
    def make():
        n = 0
        def count():
            nonlocal n
            n += 1
            return n
        return count
    count = make(); count()
    df = pandas.DataFrame({"a": numpy.ones(100_000), "when": pandas.date_range("2020", periods=100_000)})
    shop = Shop(df); total = shop.total; part = df["a"].to_numpy(); window = numpy.arange(50_000.0); tail = window[-5:]
    """


def test_a_new_process_has_the_values_of_a_cell(path: str, store: SqliteStore) -> None:
    names = space()
    values = cell(CELL, names)
    try:
        from sklearn.linear_model import LinearRegression
    except ImportError:
        model = None
    else:
        model = LinearRegression().fit(values["df"][["a"]], numpy.arange(100_000.0))
    values = {name: value for name, value in values.items() if name != "K"} | {"model": model}
    manifest = put(store, pack(values, {}, names))
    found = run(
        """
    import json, sys
    from durable_nb.notebook.cells.graph import unpack
    from durable_nb.notebook.cells.keeping import get
    from durable_nb.stores.sqlite import open_sqlite
    assert "IPython" not in sys.modules
    packed = get(open_sqlite(sys.argv[1], "process"), json.loads(sys.argv[2]))
    space = {"__name__": "__main__", "K": 10}
    space.update(unpack(packed.head, packed.buffers, {}, space))
    locals().update(space)
    assert type(shop) is Shop and shop.df is df and total.__self__ is shop and isinstance(Shop(1), Shop)
    assert (total(), scaled(2), count(), count()) == (1_000_000.0, 20, 2, 3)
    window[-1] = -1.0
    assert tail[-1] == -1.0
    df.loc[0, "a"] = 5.0
    assert str(df["when"].iloc[1]) == "2020-01-02 00:00:00"
    assert model is None or model.predict(df[["a"]]).shape == (100_000,)
    print("all there")
    """,
        path,
        json.dumps(manifest),
    )
    assert found.stdout == "all there\n", found.stderr
