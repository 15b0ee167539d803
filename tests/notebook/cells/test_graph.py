"""notebook/cells/graph.py: what was one object is one object again; what cannot be stored is named with its path."""

import asyncio
import contextvars
import functools
import inspect
import io
import itertools
import linecache
import queue
import re
import socket
import sqlite3
import sys
import threading
import traceback
import types
import weakref
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from durable_nb.errors import Corrupt
from durable_nb.notebook.cells.graph import pack, unpack
from tests.notebook.cells.spaces import bound, cell, copied, restored, space

# one object stays one object


def test_two_names_of_one_frame_are_one_frame() -> None:
    found = bound("import pandas\ndf = pandas.DataFrame({'a': range(3)})\nb = df")
    assert found["b"] is found["df"]


def test_a_dict_of_two_names_is_changed_for_both() -> None:
    found = bound("cfg = {'a': 1}\nalias = {'cfg': cfg}\ncfg['b'] = 2")
    found["cfg"]["c"] = 3
    assert found["alias"]["cfg"] == {"a": 1, "b": 2, "c": 3}


def test_cycles_and_bound_methods_stay() -> None:
    found = bound("""
        class Node:
            def __init__(self): self.me = self; self.call = self.hello
            def hello(self): return self
        node = Node(); hello = node.hello; ring = [1]; ring.append(ring)
        """)
    node = found["node"]
    assert node.me is node
    assert found["hello"].__self__ is node
    assert node.call() is node
    assert found["ring"][1] is found["ring"]
    assert type(node) is found["Node"]


def test_a_model_holds_the_frame_it_was_fitted_with() -> None:
    pytest.importorskip("sklearn")
    found = bound("""
        import numpy, pandas
        from sklearn.linear_model import LinearRegression
        df = pandas.DataFrame({"x": numpy.arange(50.0), "y": numpy.arange(50.0) * 2})
        model = LinearRegression().fit(df[["x"]], df["y"]); model.frame = df
        """)
    assert found["model"].frame is found["df"]
    assert found["model"].predict(found["df"][["x"]]) == pytest.approx(found["df"]["y"])


# inputs


def test_what_is_reached_in_an_input_is_a_reference() -> None:
    df = pandas.DataFrame({"a": numpy.zeros(100_000)})
    cfg: dict[str, Any] = {"sub": [1, 2], 5: {"deep": ({"x": 1},)}}
    inputs = {"df": df, "cfg": cfg, "model": types.SimpleNamespace(frame=df)}
    values = {"y": cfg["sub"], "deep": cfg[5]["deep"][0], "m": [df], "whole": cfg, "own": [1, 2]}
    packed = pack(values, inputs, space())
    assert packed.references == {"df", "cfg"}
    assert len(packed.head) < 500
    assert packed.buffers == []
    found = unpack(packed.head, [], inputs, space())
    assert found["y"] is cfg["sub"]
    assert found["deep"] is cfg[5]["deep"][0]
    assert found["m"][0] is df
    assert found["whole"] is cfg
    assert found["own"] == [1, 2]
    assert found["own"] is not cfg["sub"]


def test_slots_closures_and_methods_of_inputs_are_reached() -> None:
    names = space()
    inputs = cell(
        """
        class Slotted:
            __slots__ = ("part",)
            def __init__(self): self.part = []
            def get(self): return self.part
        slotted = Slotted()
        get = Slotted().get
        def make(store):
            def add(x): store.append(x); return store
            return add
        add = make([])
        """,
        names,
    )
    values = {"a": inputs["slotted"].part, "b": inputs["get"].__self__, "c": inputs["add"](1), "d": inputs["Slotted"]()}
    found = restored(values, names, inputs)
    assert found["a"] is inputs["slotted"].part
    assert found["b"] is inputs["get"].__self__
    assert found["c"] is inputs["add"](2)
    assert type(found["d"]) is inputs["Slotted"]


def test_only_so_much_of_an_input_is_looked_through() -> None:
    inputs = {"much": [[n] for n in range(20_000)]}
    found = restored({"near": inputs["much"][5], "far": inputs["much"][19_000]}, space(), inputs)
    assert found["near"] is inputs["much"][5]
    assert found["far"] == [19_000]


def test_an_input_that_is_not_there_or_is_another_is_named() -> None:
    packed = pack({"y": (cfg := {"sub": [1]})["sub"]}, {"cfg": cfg}, space())
    with pytest.raises(Corrupt, match="its input `cfg`, which is not there"):
        unpack(packed.head, [], {}, space())
    with pytest.raises(Corrupt, match="no 'sub' in it any more"):
        unpack(packed.head, [], {"cfg": {}}, space())


def test_the_namespace_itself_is_the_namespace_there() -> None:
    assert (found := bound("here = globals()"))["here"] is found


# arrays


def test_views_are_views_again_and_again() -> None:
    names = space()
    found = cell(
        """
        import numpy
        a = numpy.arange(60_000.0); b = a[2:9]; back = b[::-1]; t = a.reshape(200, 300).T; column = t[3]
        objects = numpy.array([[1], [2], None], dtype=object); some = objects[1:]
        days = numpy.array(["2020-01-01"] * 9_000, "M8[s]"); later = days[1:]
        """,
        names,
    )
    for _ in range(3):
        names = found = restored({name: found[name] for name in found if not name.startswith("__")}, names)
        found["a"][3] += 1.0
        assert found["b"][1] == found["back"][5] == found["t"][3, 0] == found["column"][0] == found["a"][3]
        found["a"][300 * 5 + 3] = -5.0
        assert found["column"][5] == -5.0
        found["objects"][1] = [found["a"][3]]
        assert found["some"][0] is found["objects"][1]
        found["days"][1] = "2021-01-01"
        assert str(found["later"][0]) == "2021-01-01T00:00:00"
    assert found["a"][3] == 6.0


def test_views_of_one_that_is_not_stored_share_what_they_shared() -> None:
    names = space(base=numpy.arange(1_000_000.0))
    values = cell("left = base[10:20]\nright = base[15:30:2]\nother = base[500:510]", names)
    packed = pack(values, {}, names)
    assert len(packed.head) < 2_000
    assert packed.buffers == []
    found = restored(values, names)
    found["left"][5] = -1.0
    assert found["right"][0] == -1.0
    assert found["right"].tolist() == [-1.0, *range(17, 30, 2)]


def test_a_view_of_an_inputs_array_lies_in_the_input() -> None:
    inputs = {"a": numpy.zeros((500, 500))}
    values = {"row": inputs["a"][3], "same": inputs["a"]}
    packed = pack(values, inputs, space())
    assert packed.buffers == []
    found = restored(values, space(), inputs)
    found["row"][0] = 7.0
    assert inputs["a"][3, 0] == 7.0
    assert found["same"] is inputs["a"]


def test_a_broadcast_array_stores_what_it_repeats() -> None:
    values = {"wide": numpy.broadcast_to(numpy.arange(4.0), (1_000_000, 4))}
    packed = pack(values, {}, space())
    assert len(packed.head) + sum(buffer.nbytes for buffer in packed.buffers) < 1_000
    found = restored(values, space())["wide"]
    assert (found.shape, found[999_999].tolist()) == ((1_000_000, 4), [0.0, 1.0, 2.0, 3.0])


def test_loaded_arrays_and_frames_can_be_written_to_unless_they_could_not() -> None:
    found = bound("""
        import numpy, pandas
        small = numpy.arange(3); large = numpy.zeros(50_000); fixed = numpy.zeros(50_000); fixed.flags.writeable = False
        days = numpy.zeros(50_000, "M8[s]"); strided = numpy.arange(90_000.0)[::3]; sideways = numpy.zeros((300, 300)).T
        df = pandas.DataFrame({"a": numpy.zeros(50_000), "b": ["x"] * 50_000})
        """)
    for name in ("small", "large", "strided", "sideways"):
        found[name][0] = 5
    found["days"][0] = "2020-01-01"
    found["df"].loc[0, "a"] = 9.0
    found["df"].loc[0, "b"] = "y"
    assert (found["df"]["a"].iloc[0], found["df"]["b"].iloc[0]) == (9.0, "y")
    assert found["strided"][1] == 3.0
    assert found["sideways"].flags.f_contiguous
    with pytest.raises(ValueError, match="read-only"):
        found["fixed"][0] = 1


DTYPES = [*"?bBhHiIlLqQefdgFDG", "U5", "S5", "V3", "M8[ns]", "m8[us]", ">f8", [("a", "i4"), ("b", "U3")], "O"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (20_000,), (150, 150)], ids=str)
def test_arrays_of_every_dtype_come_back(dtype: Any, shape: tuple[int, ...]) -> None:
    size = int(numpy.prod(shape))
    array = numpy.arange(size).astype("V3" if dtype == "V3" else "i8").view(numpy.ndarray)
    array = numpy.zeros(size, dtype) if isinstance(dtype, list) or dtype == "V3" else array.astype(dtype)
    array = array.reshape(shape)
    found = restored({"a": array}, space())["a"]
    assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())


def test_frames_of_every_dtype_come_back() -> None:
    n = 20_000
    frame = pandas.DataFrame(
        {
            "float": numpy.random.default_rng(0).standard_normal(n),
            "int": numpy.arange(n, dtype="u1"),
            "flag": [True, False] * (n // 2),
            "text": ["a", None] * (n // 2),
            "object": [[1], {"b": 2}] * (n // 2),
            "day": pandas.date_range("2020", periods=n),
            "zoned": pandas.date_range("2020", periods=n, tz="Europe/Berlin"),
            "span": pandas.to_timedelta(range(n), unit="s"),
            "kind": pandas.Categorical(["x", "y"] * (n // 2), ordered=True),
            "nullable": pandas.array([1, None] * (n // 2), dtype="Int64"),
            "maybe": pandas.array([True, None] * (n // 2), dtype="boolean"),
            "string": pandas.array(["a", None] * (n // 2), dtype="string"),
            "period": pandas.period_range("2020", periods=n),
            "interval": pandas.interval_range(0, n),
            "sparse": pandas.arrays.SparseArray([0.0, 1.0] * (n // 2)),
        },
        index=pandas.MultiIndex.from_product([range(n // 2), ["a", "b"]], names=["i", "j"]),
    )
    frame.attrs = {"source": "test"}
    found = restored({"df": frame, "series": frame["zoned"]}, space())
    pandas.testing.assert_frame_equal(found["df"], frame)
    pandas.testing.assert_series_equal(found["series"], frame["zoned"])
    assert found["df"].attrs == {"source": "test"}


def test_frames_that_share_memory_do_not_change_each_other() -> None:
    found = bound("""
        import numpy, pandas
        df = pandas.DataFrame(numpy.zeros((20_000, 4)), columns=list("abcd")); renamed = df.rename(columns={"a": "z"})
        """)
    found["renamed"].loc[0, "z"] = 5.0
    found["df"].iloc[1, 1] = 6.0
    assert found["df"].loc[0, "a"] == found["renamed"].iloc[1, 1] == 0.0


# functions and classes


def test_a_function_sees_the_globals_of_the_day() -> None:
    found = bound("K = 2\ndef f(x, y=[], *, z=3): return x * K + z\nf.note = K")
    assert found["f"](1) == 5
    found["K"] = 10
    assert found["f"](1) == 13
    assert found["f"].note == 2
    assert found["f"].__kwdefaults__ == {"z": 3}
    assert found["f"].__globals__ is found


def test_a_function_does_not_take_its_globals_along() -> None:
    names = space(df=numpy.zeros(1_000_000))
    packed = pack({"f": cell("def f(): return df", names)["f"]}, {}, names)
    assert len(packed.head) + sum(buffer.nbytes for buffer in packed.buffers) < 1_000


def test_closures_share_their_variables() -> None:
    found = bound("""
        def pair():
            n = 0
            def up():
                nonlocal n
                n += 1
                return n
            def get(): return n
            return up, get
        up, get = pair(); up()
        cell_itself = get.__closure__[0]
        def late():
            def g(): return after
            if False: after = 1
            return g
        unbound = late()
        """)
    found["up"]()
    assert found["get"]() == 2
    assert found["cell_itself"].cell_contents == 2
    with pytest.raises(NameError):
        found["unbound"]()


def test_recursion_through_caches_and_closures() -> None:
    found = bound("""
        import functools
        @functools.lru_cache(maxsize=7)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        def make():
            @functools.cache
            def fac(n): return 1 if n < 2 else n * fac(n - 1)
            return fac
        fac = make(); inner = fac.__wrapped__; part = functools.partial(fib, 9)
        """)
    assert (found["fib"](20), found["fac"](5), found["part"]()) == (6765, 120, 34)
    assert found["fib"].cache_parameters() == {"maxsize": 7, "typed": False}
    assert found["fac"].__wrapped__ is found["inner"]
    again = restored({"fac": found["fac"], "fib": found["fib"]}, found)
    assert again["fac"](6) == 720


def test_lambdas_of_one_line_and_decorated_functions_are_told_apart() -> None:
    found = bound("""
        import functools
        one, two, three = lambda: 1, lambda: 2, [lambda n: n + i for i in range(3)]
        def twice(f):
            @functools.wraps(f)
            def wrapper(*args): return 2 * f(*args)
            return wrapper
        @twice
        def g(x):
            "Its text."
            return x
        async def later(): return 5
        def count(): yield from range(3)
        """)
    assert (found["one"](), found["two"](), [f(1) for f in found["three"]]) == (1, 2, [3, 3, 3])
    assert (found["g"](4), found["g"].__name__, found["g"].__doc__) == (8, "g", "Its text.")
    assert asyncio.run(found["later"]()) == 5
    assert list(found["count"]()) == [0, 1, 2]


def test_a_restored_function_shows_the_cell_that_is_there_now() -> None:
    source = "x = 1\ndef fails(n):\n    return 1 / n\n"
    names = space()
    packed = pack(cell(source, names, "<first kernel>"), {}, names)
    del linecache.cache["<first kernel>"]
    unknown = unpack(packed.head, [], {}, space())["fails"]
    assert inspect.getsource(unknown) == "def fails(n):\n    return 1 / n\n"
    cell(source, space(), "<second kernel>")
    found = unpack(packed.head, [], {}, space())["fails"]
    with pytest.raises(ZeroDivisionError) as caught:
        found(0)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno, last.line) == ("<second kernel>", 3, "return 1 / n")


def test_a_function_whose_text_is_gone_travels_as_bytecode() -> None:
    names = space(K=3)
    exec("def f(x): return x * K", names)
    packed = pack({"f": names["f"]}, {}, names)
    assert packed.head.startswith(b"bytecode of Python ")
    assert unpack(packed.head, [], {}, other := space(K=5))["f"](2) == 10
    assert other == space(K=5)
    foreign = re.sub(rb"Python \d+\.\d+", b"Python 2.7", packed.head, count=1)
    with pytest.raises(Corrupt, match=r"compiled by Python 2\.7"):
        unpack(foreign, [], {}, space())


CLASSES = """
    import abc, enum, functools
    from dataclasses import dataclass, field, fields
    from typing import Generic, NamedTuple, NewType, TypeVar
    K = 2
    T = TypeVar("T")
    UserId = NewType("UserId", int)
    @dataclass(order=True)
    class P:
        x: int
        y: list = field(default_factory=list)
        @classmethod
        def make(cls): return cls(K)
        @staticmethod
        def s(): return K
        @property
        def double(self): return self.x * K
        @functools.cached_property
        def cached(self): return self.x + K
        class Inner: value = 7
    class Q(P):
        def __init__(self, x): super().__init__(x, [x])
        def own(self): return super().double + K
        def me(self): return __class__
    class Colour(enum.Enum):
        RED = 1
        BLUE = 2
        def twice(self): return self.value * K
    class Base(abc.ABC):
        @abc.abstractmethod
        def run(self): ...
    class Run(Base, Generic[T]):
        __slots__ = ("a",)
        def run(self): return self.a
    class Pair(NamedTuple):
        left: int
        right: int = 5
    class Broken(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")
            self.one = one
    def local():
        class Local:
            def get(self): return K
        return Local
    Local = local()
    p, q, colour, pair, inner, error, here = P.make(), Q(4), Colour.BLUE, Pair(1), P.Inner(), Broken(1, 2), Local()
    run = Run(); run.a = 3
    """


def test_classes_of_a_cell_are_whole_again() -> None:
    found = bound(CLASSES)
    found["K"] = 10
    p, q = found["p"], found["q"]
    assert type(p) is found["P"]
    assert isinstance(q, found["P"])
    assert (p.double, p.cached, found["P"].s(), found["P"].make().x, q.own(), q.me()) == (
        20,
        12,
        10,
        10,
        50,
        found["Q"],
    )
    assert [one.name for one in found["fields"](p)] == ["x", "y"]
    assert p < found["P"](3)
    assert repr(found["P"](1)).endswith("P(x=1, y=[])")
    assert found["colour"] is found["Colour"].BLUE
    assert found["Colour"](1).twice() == 10
    assert found["run"].run() == 3
    with pytest.raises(TypeError, match="abstract"):
        found["Base"]()
    assert found["pair"] == found["Pair"](1, 5)
    assert type(found["inner"]) is found["P"].Inner
    assert (type(found["error"]), str(found["error"]), found["error"].one) == (found["Broken"], "1 and 2", 1)
    assert found["here"].get() == 10
    assert found["UserId"].__supertype__ is int
    again = restored({name: value for name, value in found.items() if not name.startswith("__")}, found)
    assert again["q"].own() == 50


def test_objects_of_a_class_of_an_earlier_cell_are_of_that_class() -> None:
    names = space()
    inputs = {"P": cell("class P:\n    pass\n", names)["P"]}
    values = cell("p = P(); nested = {'p': P()}", names)
    found = restored(values, names, inputs)
    assert type(found["p"]) is inputs["P"]
    assert type(found["nested"]["p"]) is inputs["P"]


# what cannot be stored


class Q:
    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


def test_the_part_at_fault_is_named_and_the_others_are_stored() -> None:
    good = {"ok": [1, 2], "frame": pandas.DataFrame({"a": [1]})}
    bad = {
        "q": Q(cb=[0, {"lock": threading.Lock()}]),
        "g": (n for n in ()),
        "holds": Q(ok=good["ok"], s=socket.socket()),
    }
    packed = pack({**good, **bad}, {}, space())
    bad["holds"].s.close()
    assert packed.unstorable["q"] == "q.cb[1]['lock']: _thread.lock (cannot pickle '_thread.lock' object)"
    assert packed.unstorable["g"].startswith("g: generator (a generator cannot be continued elsewhere")
    assert packed.unstorable["holds"].startswith("holds.s: socket.socket (")
    found = unpack(packed.head, copied(packed), {}, space())
    assert found["ok"] == [1, 2]
    assert found["frame"].equals(good["frame"])
    assert set(found) == set(good)


def test_what_reduces_to_a_name_of_the_notebook_is_refused() -> None:
    names = space()
    values = cell(
        """
        class Only:
            def __reduce__(self): return "ONLY"
        ONLY = Only(); ok = [1]
        class Sized:
            def __reduce_ex__(self, protocol): return Sized, ()
        sized = Sized()
        """,
        names,
    )
    packed = pack(values, {}, names)
    assert packed.unstorable == {
        "ONLY": "ONLY: __main__.Only (it is stored as the name 'ONLY', which only this notebook has)"
    }
    assert type(unpack(packed.head, [], {}, space())["sized"]).__name__ == "Sized"


def test_deep_values_are_stored_or_named() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    packed = pack({"deep": deep, "ok": 1}, {}, space())
    assert packed.unstorable == {"deep": "deep is nested too deeply"}
    assert unpack(packed.head, [], {}, space()) == {"ok": 1}


def test_what_cannot_be_made_again_is_corrupt() -> None:
    names = space()
    values = cell("class C:\n    def __setstate__(self, state): raise OSError('gone')\nc = C(); c.x = 1", names)
    packed = pack(values, {}, names)
    with pytest.raises(Corrupt, match="OSError: gone"):
        unpack(packed.head, [], {}, space())
    with pytest.raises(Corrupt):
        unpack(b"no pickle", [], {}, space())


def _raises(*_: object) -> Any:
    raise RuntimeError("no")


class Hostile:
    """Every way an object can fail its reader."""

    class Reduce:
        def __reduce__(self) -> Any:
            return _raises()

    class State:
        def __getstate__(self) -> Any:
            return _raises()

    class Attributes:
        def __getattr__(self, name: str) -> Any:
            return _raises()

    class Lies:
        @property
        def __class__(self) -> Any:
            return dict

    class Silent:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not to be compared")

        __hash__ = None  # type: ignore[assignment]

    class Slots:
        __slots__ = ("a", "b")

    class Number(int):
        pass

    class Mapping(dict[str, int]):
        def items(self) -> Any:
            return _raises()

    class Endless:
        def __reduce__(self) -> Any:
            return list, ([Hostile.Endless()],)


async def _coroutine() -> None:
    pass


def _generated() -> Any:
    yield 1


def _hostile() -> dict[str, Callable[[], Any]]:
    loop = asyncio.new_event_loop()
    loop.close()
    made: dict[str, Callable[[], Any]] = {
        name: value for name, value in vars(Hostile).items() if isinstance(value, type)
    }
    made |= {
        "lock": threading.Lock, "rlock": threading.RLock, "event": threading.Event, "queue": queue.Queue,
        "condition": threading.Condition, "thread": threading.Thread, "local": threading.local,
        "generator": _generated, "loop": lambda: loop, "context": contextvars.copy_context,
        "variable": lambda: contextvars.ContextVar("v"), "frame": sys._getframe, "module": lambda: sys,
        "made module": lambda: types.ModuleType("made"), "main": lambda: sys.modules["__main__"],
        "file": Path(__file__).open, "stream": io.BytesIO, "text": io.StringIO, "socket": socket.socket,
        "connection": lambda: sqlite3.connect(":memory:"), "weak": lambda: weakref.ref(Hostile),
        "weak values": weakref.WeakValueDictionary, "memory": lambda: memoryview(b"abc"),
        "zip": lambda: zip([1], [2], strict=True),
        "map": lambda: map(str, [1]), "iterator": lambda: iter([1]), "keys": lambda: {1: 2}.keys(),
        "proxy": lambda: types.MappingProxyType({}), "code": lambda: _raises.__code__, "cell": lambda: types.CellType(1),
        "method": lambda: Hostile.Number(1).bit_length, "builtin": lambda: len, "slot": lambda: int.__add__,
        "bound slot": lambda: (1).__add__, "type": lambda: type(None), "union": lambda: int | str,
        "alias": lambda: list[int], "ellipsis": lambda: ..., "nothing": lambda: NotImplemented,
        "pattern": lambda: re.compile("a"), "match": lambda: re.match("a", "a"), "partial": lambda: functools.partial(len),
        "chain": lambda: ChainMap({}, {}), "default": lambda: defaultdict(lambda: 1), "deque": lambda: deque([1], 3),
        "counter": lambda: Counter("aa"), "ordered": lambda: OrderedDict(a=1), "count": lambda: range(3),
        "nan": lambda: float("nan"), "surrogate": lambda: "\ud800", "path": lambda: Path("a"),
        "object": object, "sentinel type": lambda: type("Local", (), {}), "instance": lambda: type("Local", (), {})(),
        "property": lambda: property(_raises), "classmethod": lambda: classmethod(_raises),
        "static": lambda: staticmethod(len), "traceback": lambda: _caught().__traceback__, "error": lambda: _caught(),
        "group": lambda: ExceptionGroup("g", [ValueError(1)]), "stdout": lambda: sys.stdout, "ufunc": lambda: numpy.sin,
        "own ufunc": lambda: numpy.frompyfunc(_raises, 1, 1), "random": lambda: numpy.random.default_rng(0),
        "masked": lambda: numpy.ma.masked_array([1], [1]), "record": lambda: numpy.rec.array([(1,)], dtype=[("a", "i4")]),
        "groupby": lambda: pandas.DataFrame({"a": [1]}).groupby("a"), "lambda": lambda: lambda: made,
    }  # fmt: skip
    return made


def _caught() -> BaseException:
    try:
        _raises()
    except RuntimeError as error:
        return error
    raise AssertionError


HOSTILE = _hostile()
HOLDERS: dict[str, Callable[[Any], Any]] = {
    "alone": lambda value: value,
    "in a list": lambda value: [0, value, value],
    "in a dict": lambda value: {"k": {"v": value}},
    "in an object": lambda value: Q(part=Q(part=value)),
    "in a closure": lambda value: lambda: value,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # iterators of itertools lose their pickle in 3.14
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_harms_only_itself(name: str, holder: str) -> None:
    value = HOSTILE[name]()
    held = HOLDERS[holder](value)
    values = {"before": [1], "bad": held, "after": {"a": numpy.zeros(20_000)}}
    packed = pack(values, {}, space())
    if isinstance(value, io.IOBase | socket.socket | sqlite3.Connection) and value is not sys.stdout:
        value.close()
    assert set(packed.unstorable) <= {"bad"}
    assert all(text.startswith("bad") for text in packed.unstorable.values())
    found = unpack(packed.head, copied(packed), {}, space())
    assert set(found) == {"before", "bad", "after"} - set(packed.unstorable)
    assert found["before"] == [1]
    if "bad" in found and holder == "alone":
        assert type(found["bad"]).__name__ == type(value).__name__


def test_there_are_hostile_values_enough() -> None:
    assert len(HOSTILE) * len(HOLDERS) >= 300
    assert len(set(itertools.product(HOSTILE, HOLDERS))) == len(HOSTILE) * len(HOLDERS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_all_hostile_values_at_once_leave_the_good_ones() -> None:
    bad = {f"bad{place}": make() for place, make in enumerate(HOSTILE.values())}
    packed = pack({"good": [1], **bad, "more": {"a": 1}}, {}, space())
    for value in bad.values():
        if isinstance(value, io.IOBase | socket.socket | sqlite3.Connection) and value is not sys.stdout:
            value.close()
    assert len(packed.unstorable) > 15
    found = unpack(packed.head, copied(packed), {}, space())
    assert (found["good"], found["more"]) == ([1], {"a": 1})
