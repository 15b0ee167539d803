"""Capture and restore in one process: what is stored, what counts for the digest, what is refused and how."""

import importlib.util
import inspect
import linecache
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from durable_nb.errors import Corrupt, Uncapturable, UnknownCode
from durable_nb.flows.code import Code, first_line, references, source, where
from durable_nb.flows.source.capture import capture, capture_watched
from durable_nb.flows.source.restore import restore


class Step:
    """Stands for a step or flow: something with a name that `refer` knows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, value: object) -> object:
        return [self.name, value]


def refer(obj: object) -> tuple[str, str] | None:
    return ("step", obj.name) if isinstance(obj, Step) else None


class Notebook:
    """A namespace and cells that are known to linecache only, as IPython makes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = ModuleType("__main__")
        self.names = vars(self.module)
        self.names["__builtins__"] = __builtins__
        monkeypatch.setitem(sys.modules, "__main__", self.module)
        self.cells = 0

    def run(self, text: str) -> dict[str, Any]:
        self.cells += 1
        name = f"<ipython-input-{self.cells}-{id(self)}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec", dont_inherit=True), self.names)
        return self.names


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    return Notebook(monkeypatch)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a text as a module, from a folder below tmp_path."""

    def loaded(text: str, name: str = "mine", folder: str = "") -> Any:
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


def resolve(kind: str, name: str) -> object:
    assert kind == "step"
    return Step(name)


def again(code: Code) -> Any:
    return restore(code.document, resolve)


# What is stored


def test_document_is_json_without_bytecode_and_reads_without_running(notebook: Notebook) -> None:
    names = notebook.run("K = 2\nHERE = []\ndef f(x):\n    HERE.append(x)\n    return x * K\n")
    code = capture(names["f"], refer)
    document = msgspec.json.decode(code.document)
    assert document["things"][0]["source"] == "def f(x):\n    HERE.append(x)\n    return x * K\n"
    assert source(code.document) == document["things"][0]["source"]
    assert first_line(code.document) == 3
    assert where(code.document) == f"<ipython-input-1-{id(notebook)}>:3"
    assert (code.name, code.missing, len(code.digest)) == ("f", (), 32)
    assert names["HERE"] == []


def test_steps_and_flows_are_references_wherever_they_stand(notebook: Notebook) -> None:
    notebook.names["Step"] = Step
    names = notebook.run(
        "charge, ship = Step('charge'), Step('ship')\n"
        "TABLE = {'ship': ship, 'again': [charge]}\n"
        "def make(inner):\n"
        "    def closed(x, other=ship): return [inner(x), other(x), TABLE['again'][0](x), Service.named(x)]\n"
        "    return closed\n"
        "class Service:\n"
        "    named = Step('named')\n"
        "flow = make(charge)\n"
    )
    code = capture(names["flow"], refer)
    assert sorted(references(code.document)) == [("step", "charge"), ("step", "named"), ("step", "ship")]
    assert b"self.name = name" not in code.document
    assert again(code)(1) == [["charge", 1], ["ship", 1], ["charge", 1], ["named", 1]]


def test_method_flow_in_a_class_is_cut_out_of_the_class(notebook: Notebook) -> None:
    notebook.names["step"] = lambda function: Step(function.__name__)
    notebook.names["step"].__module__ = "nowhere"
    names = notebook.run(
        "class Signup:\n"
        "    __limit = 3\n"
        "    @step\n"
        "    def register(self, name):\n"
        "        return name\n"
        "    def limit(self): return self.__limit\n"
        "def use():\n"
        "    return [Signup.register(1), Signup().limit()]\n"
    )
    code = capture(names["use"], refer)
    assert b"def register" not in code.document
    assert again(code)() == [["register", 1], 3]


def test_decorators_above_the_def_are_dropped_and_those_below_keep_their_effect(notebook: Notebook) -> None:
    names = notebook.run(
        "import functools\n"
        "raw = []\n"
        "def flow(function):\n    raw.append(function)\n    return function\n"
        "def step(**options): return flow\n"
        "def doubled(function):\n"
        "    @functools.wraps(function)\n"
        "    def wrapper(*args): return function(*args) * 2\n"
        "    return wrapper\n"
        "@flow\n@step(retry=3,\n      timeout='3s')\n# between\ndef plain(x):\n    return x + 1\n"
        "@flow\n@doubled\ndef wrapped(x): return x + 1\n"
    )
    plain, wrapped = names["raw"][0], names["raw"][2]
    assert source(capture(plain, refer).document) == "def plain(x):\n    return x + 1\n"
    assert again(capture(plain, refer))(1) == 2
    assert again(capture(wrapped, refer))(1) == 4
    assert again(capture(wrapped, refer)).__name__ == "wrapped"


def test_method_can_be_the_root(notebook: Notebook) -> None:
    names = notebook.run(
        "class Base:\n    def name(self): return 'base'\n"
        "class Service(Base):\n"
        "    __secret = 4\n"
        "    def name(self):\n        return super().name() + str(self.__secret)\n"
    )
    function = again(capture(vars(names["Service"])["name"], refer))
    made = function.__closure__[0].cell_contents()
    assert (function(made), function.__qualname__, type(made).__name__) == ("base4", "Service.name", "Service")


def test_flow_of_an_installed_package_travels_with_its_module_as_import(load: Any) -> None:
    text = "RATE = 2\nraw = []\ndef flow(function): raw.append(function)\n@flow\ndef work(x): return x * RATE\n"
    module = load(text, "packaged", "site-packages")
    code = capture(module.raw[0], refer)
    assert msgspec.json.decode(code.document)["spaces"][0]["is_imported"] is True
    module.RATE = 5
    assert again(code)(2) == 10


def test_restored_function_is_captured_again_with_the_same_digest(notebook: Notebook) -> None:
    names = notebook.run(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int = 1\n    def moved(self): return Point(self.x + 1)\n"
        "def f(y): return (lambda z: z + y)(Point().moved().x)\n"
    )
    code = capture(names["f"], refer)
    second = capture(again(code), refer)
    assert second.digest == code.digest
    assert again(second)(1) == 3


# Cells


def test_newest_cell_gives_the_class_and_its_helpers(notebook: Notebook) -> None:
    notebook.run("from dataclasses import dataclass\nimport enum\n@dataclass\nclass Point:\n    x: int = 1\n")
    notebook.run("class Kind(enum.Enum):\n    A = 1\n")
    notebook.run("@dataclass\nclass Point:\n    x: int = 1\n    y: int = 2\n")
    names = notebook.run("def f(): return [Point().y, Kind.A.value, Point(5) == Point(5)]\n")
    assert again(capture(names["f"], refer))() == [2, 1, True]


def test_annotations_stay_text_when_they_were(notebook: Notebook) -> None:
    names = notebook.run(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Node:\n    next: Node | None = None\n    what: Unknown = 3\n"
        "def f(x: Nowhere) -> Node: return Node(Node()).next.what\n"
    )
    function = again(capture(names["f"], refer))
    assert (function(0), function.__annotations__) == (3, {"x": "Nowhere", "return": "Node"})


def test_dataclass_of_a_module_unknown_here_with_text_annotations(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass\nclass Point:\n    x: int\n    total: ClassVar[int] = 4\n"
        "def f(): return Point(1).x + Point.total\n"
    )
    code = capture(module.f, refer)
    monkeypatch.delitem(sys.modules, "mine")
    assert again(code)() == 5
    assert "mine" not in sys.modules


def test_pytest_rewritten_asserts_do_not_look_like_a_changed_file() -> None:
    def checked(x: int) -> int:
        assert x > 0, "positive"
        return x

    assert again(capture(checked, refer))(2) == 2


# Digest


BASE = (
    "K = 3\ndef helper(x):\n    return x + K\ndef f(y, z=1):\n    '''Says.'''\n    return [helper(y), f'a{y!r:>4}b']\n"
)


def digest_of(notebook: Notebook, text: str) -> str:
    return capture(notebook.run(text)["f"], refer).digest


def test_digest_is_the_same_from_a_script_a_module_and_a_cell(notebook: Notebook, load: Any) -> None:
    assert digest_of(notebook, BASE) == capture(load(BASE).f, refer).digest
    assert digest_of(notebook, BASE) == digest_of(notebook, "\n\n" + BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x + K", "return (x\n        + K)  # comment"),
        ("'''Says.'''", '"""Says something else."""'),
        ("'''Says.'''\n", "\n"),
        ("f'a{", 'f"a{'),
        ("4}b'", '4}b"'),
        ("def f(", "@staticmethod\ndef f("),
        ("K = 3", "import math\nK = 3\nunused = 4"),
    ],
)
def test_digest_does_not_see_comments_and_format(notebook: Notebook, old: str, new: str) -> None:
    text = BASE.replace(old, new)
    if "4}b" in old or "f'a" in old:
        text = BASE.replace("f'a{y!r:>4}b'", 'f"a{y!r:>4}b"')
    text = text.replace("@staticmethod\n", "@(lambda function: function)\n")
    assert digest_of(notebook, text) == digest_of(notebook, BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("K = 3", "K = 4"),
        ("K = 3", "K = 3.0"),
        ("x + K", "x - K"),
        ("z=1", "z=2"),
        ("'a{", "'c{"),
        ("K = 3", "K = {3}"),
    ],
)
def test_digest_sees_constants_helpers_and_defaults(notebook: Notebook, old: str, new: str) -> None:
    assert digest_of(notebook, BASE.replace(old, new)) != digest_of(notebook, BASE)


def test_digest_sees_closure_values_and_not_the_order_of_sets(notebook: Notebook) -> None:
    names = notebook.run(
        "def make(k):\n    def f(): return k\n    return f\n"
        "one, two, same = make({'a', 'b', 'c'}), make({'a', 'b'}), make({'c', 'b', 'a'})\n"
    )
    one, two, same = (capture(names[name], refer).digest for name in ("one", "two", "same"))
    assert one == same != two


# Tracebacks


def test_traceback_of_restored_code_shows_its_lines(notebook: Notebook) -> None:
    names = notebook.run(
        "class Till:\n    def fail(self, x):\n        # a comment\n        return x / 0\n"
        "\n\ndef f(x):\n    # here\n    return Till().fail(\n        x)\n"
    )
    code = capture(names["f"], refer)
    function = again(code)
    with pytest.raises(ZeroDivisionError) as caught:
        function(1)
    linecache.checkcache()
    frames = traceback.extract_tb(caught.value.__traceback__)[-2:]
    assert frames[0].filename == f"<durable f {code.digest[:8]}>"
    assert [(frame.lineno, frame.line) for frame in frames] == [(3, "return Till().fail("), (4, "return x / 0")]
    assert inspect.getsource(function) == source(code.document)


# Missing


class Huge:
    """Says it is 2 GB, and cannot be pickled, copied or measured."""

    nbytes = 2 << 30

    def __reduce_ex__(self, protocol: object) -> Any:
        raise AssertionError("it was encoded to find out its size")

    def __sizeof__(self) -> int:
        raise AssertionError("it was measured")


def test_what_cannot_travel_is_named_with_the_reason(notebook: Notebook, tmp_path: Path) -> None:
    names = notebook.run(
        "import threading, socket, sqlite3\n"
        "lock = threading.Lock()\n"
        "connection = socket.socket()\n"
        "database = sqlite3.connect(':memory:')\n"
        "numbers = (i for i in range(3))\n"
        "held = {'deep': [lock]}\n"
        "text = 'x' * 3_000_000\n"
        "rows = list(range(1_000_000))\n"
        "class Pool:\n    def __init__(self): self.lock = lock\n"
        "pool = Pool()\n"
        "def make(lock):\n    return lambda: lock\n"
        "closed = make(threading.RLock())\n"
        "exec('def sourceless(): return 1')\n"
        "def f(fine=[1], bad=lock):\n"
        "    return [lock, connection, database, numbers, held, text, rows, pool, closed, file, huge, sourceless]\n"
    )
    with (tmp_path / "open").open("w") as file:
        notebook.names.update(file=file, huge=Huge())
        code = capture(names["f"], refer)
    names["connection"].close()
    names["database"].close()
    why = dict(code.missing)
    expected = "f(bad=) lock connection database numbers held text rows pool file huge sourceless"
    assert sorted(why) == sorted(expected.split())
    assert "open file" in why["file"]
    assert "2,048.0 MiB" in why["huge"]
    assert "too large" in why["rows"]
    assert "lock" in why["held"]
    assert "source" in why["sourceless"]
    assert len(code.document) < 20_000


def test_every_use_of_a_stand_in_names_it_and_the_reason(notebook: Notebook) -> None:
    names = notebook.run(
        "import threading\nlock = threading.Lock()\n"
        "def f(use):\n    return use(lock)\n"
        "def enter(x):\n    with x: pass\n"
    )
    function = again(capture(names["f"], refer))
    uses: list[Any] = [names["enter"], len, bool, str, list, lambda x: x.acquire(), lambda x: x(), lambda x: x + 1]
    uses += [lambda x: x == 1, lambda x: {x}, lambda x: x[0], lambda x: x > 1, lambda x: setattr(x, "a", 1)]
    for use in uses:
        with pytest.raises(NameError, match=r"'lock' is not here: .*pickle.*inside a step"):
            function(use)
    assert function(repr) == "<lock was not taken along>"


def test_names_that_do_not_exist_yet_are_no_reason_to_refuse(notebook: Notebook) -> None:
    names = notebook.run("def f(): return later()\n")
    code = capture(names["f"], refer)
    assert code.missing == ()
    with pytest.raises(NameError, match="later"):
        again(code)()


def test_attribute_that_shares_its_name_with_a_global_is_no_read(notebook: Notebook) -> None:
    notebook.names["lock"] = threading.Lock()
    names = notebook.run("def f(x): return x.lock\n")
    assert capture(names["f"], refer).missing == ()


# Refusals


def test_functions_that_cannot_be_flows_are_refused_with_advice(notebook: Notebook) -> None:
    names = notebook.run(
        "one = lambda: 1\ndef two(): yield 2\nasync def three(): yield 3\nexec('def four(): return 4')\n"
    )
    for name, advice in [
        ("one", "define it with def"),
        ("two", "generator"),
        ("three", "generator"),
        ("four", "cell or a"),
    ]:
        with pytest.raises(Uncapturable, match=advice):
            capture(names[name], refer)
    with pytest.raises(Uncapturable, match="plain function"):
        capture(len, refer)


def test_file_newer_than_the_loaded_code_is_refused(load: Any) -> None:
    module = load("def f(x):\n    return x + 1\n")
    Path(module.__file__).write_text("def f(x):\n    return x - 1\n")
    linecache.checkcache(module.__file__)
    with pytest.raises(Uncapturable, match="changed after it was loaded"):
        capture(module.f, refer)


def test_missing_import_names_module_and_version(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load("__version__ = '4.5'\nclass Tool: pass\n", "toolbox", "site-packages")
    module = load("import toolbox\nfrom toolbox import Tool\ndef f(): return toolbox.Tool, Tool\n")
    code = capture(module.f, refer)
    monkeypatch.delitem(sys.modules, "toolbox")
    with pytest.raises(UnknownCode, match=r"toolbox 4\.5"):
        again(code)


def test_damaged_documents_are_corrupt(notebook: Notebook) -> None:
    document = capture(notebook.run("K = []\ndef f(): return K\n")["f"], refer).document
    for damaged in (b"", b"{}", document[:-9], document.replace(b'"K":1', b'"K":7')):
        with pytest.raises(Corrupt):
            restore(damaged, resolve)
    with pytest.raises(UnknownCode, match="newer"):
        restore(document.replace(b'"format":1', b'"format":9'), resolve)


def test_name_of_a_module_that_did_not_come_along_is_explained(load: Any) -> None:
    load("A = 1\nB = 2\n", "shop")
    module = load("import shop\ndef f(name): return shop.A, getattr(shop, name)\n")
    function = again(capture(module.f, refer))
    assert function("A") == (1, 1)
    with pytest.raises(AttributeError, match="'B' is not one of them"):
        function("B")


def test_import_that_only_an_annotation_needs_is_not_required(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load("class Tool: pass\n", "toolbox", "site-packages")
    module = load("from toolbox import Tool\ndef f(x: Tool, y: int = 1) -> Tool: return y\n")
    code = capture(module.f, refer)
    monkeypatch.delitem(sys.modules, "toolbox")
    assert (again(code)(0), again(code).__annotations__) == (1, {"y": int})


def test_syntax_of_a_newer_python_is_named(notebook: Notebook) -> None:
    document = capture(notebook.run("def f(): return 1\n")["f"], refer).document
    with pytest.raises(UnknownCode, match="written for Python"):
        restore(document.replace(b"return 1", b"ret rn 1"), resolve)


# Libraries


def test_values_and_names_of_libraries(notebook: Notebook) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pydantic")
    names = notebook.run(
        "import numpy as np, pandas as pd, pydantic\n"
        "from numpy import sqrt, pi\nfrom pandas import DataFrame as Frame\n"
        "frame, array, scalar = pd.DataFrame({'a': [1, 2]}), np.arange(3), np.float32(2.5)\n"
        "big = pd.DataFrame({'a': np.zeros(200_000)})\n"
        "class Order(pydantic.BaseModel):\n"
        "    id: int\n    note: str | None = None\n    tags: list[str] = []\n"
        "    @pydantic.field_validator('id')\n    @classmethod\n    def check(cls, value): return value + 1\n"
        "order = Order(id=4)\n"
        "def f(g: pd.DataFrame = None):\n"
        "    a = [int(frame.a.sum()), array.tolist(), float(scalar), float(sqrt(pi)), isinstance(frame, Frame)]\n"
        "    return a + [order.id, isinstance(order, Order), Order(id='7').id, np.linalg.norm([3, 4])]\n"
        "def g(): return big\n"
    )
    code = capture(names["f"], refer)
    assert code.missing == ()
    assert again(code)() == names["f"]()
    assert [gap.name for gap in capture(names["g"], refer).missing] == ["big"]


def test_functions_held_by_library_objects_never_travel_as_bytecode(notebook: Notebook) -> None:
    names = notebook.run(
        "import string\nfrom threading import local\n"
        "class Own(string.Formatter):\n    pass\n"
        "formatter = string.Formatter()\nformatter.hook = lambda x: x + 1\n"
        "def f(): return formatter.hook(1)\n"
    )
    code = capture(names["f"], refer)
    assert (code.missing, again(code)()) == ((), 2)
    assert b"_make_function" not in code.document
    assert b"packed" not in code.document


# Watching


def watched(notebook: Notebook, text: str) -> Any:
    return capture_watched(notebook.run(text)["f"], refer)[1]


WATCHED = """
import collections
K = 1
LIST = [1, 2]
TABLE = {'a': [len, LIST]}
class Point:
    unit = 'm'
    def __init__(self, x): self.x = x
point = Point(3)
counts = collections.Counter('aab')
def helper(x=[5]): return x
def make():
    n = 0
    def inner():
        nonlocal n
        n += 1
        return n
    return inner
inner = make()
def f(a=(1, 2)): return K, len(LIST), TABLE, point, counts, helper(), inner, unbound
"""


@pytest.mark.parametrize(
    "change",
    [
        "K = 2",
        "LIST.append(3)",
        "LIST[0] = 9",
        "TABLE['b'] = 1",
        "TABLE['a'].append(1)",
        "point.x = 4",
        "Point.unit = 'ft'",
        "counts['z'] += 1",
        "helper.__defaults__[0].append(6)",
        "helper.note = 1",
        "inner()",
        "unbound = 1",
        "def helper(): return 1",
        "f.__defaults__ = (3,)",
        "del K",
        "len = 3",
    ],
)
def test_capture_is_out_of_date_after_a_change(notebook: Notebook, change: str) -> None:
    watch = watched(notebook, WATCHED)
    assert watch.is_current()
    notebook.run(change)
    assert not watch.is_current()


def test_capture_stays_current_without_a_change(notebook: Notebook) -> None:
    watch = watched(notebook, WATCHED)
    for text in ("other = 1", "point.x = 3", "K = 1", "LIST[0] = 1", "helper()", "LIST.append(1); LIST.pop()"):
        notebook.run(text)
        assert watch.is_current(), text
