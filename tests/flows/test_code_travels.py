"""Functions of a script, captured in one process and called in others, of every Python found, that never saw them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SHOP = '''
"""A first-party module."""
from dataclasses import dataclass

RATE = 3
TOTAL = 0

@dataclass(frozen=True, slots=True)
class Price:
    amount: int
    def doubled(self):
        return Price(self.amount * 2)

def rated(amount):
    return amount * RATE

def add(amount):
    global TOTAL
    TOTAL += amount
    return TOTAL
'''

PARTS = "from . import deep\ndef half(x): return x // deep.DEEP\n"

SCRIPT = '''
import asyncio, collections, contextlib, dataclasses, enum, functools, itertools, math, statistics, typing
import datetime as dt
import os.path
import xml.dom.minidom
from collections import defaultdict, namedtuple, OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache, partial, wraps
from math import sqrt
from typing import NamedTuple

import abc, copy, logging, operator, re
import shop
import tools.parts
from shop import Price, add, rated as with_rate

CONSTANT = 41
NESTED = {"a": [1, 2.5, None], (1, 2): {3, 4}, "when": dt.date(2026, 11, 20), "d": Decimal("1.10")}
COUNTER = 0


class FakeStep:
    """Stands for a step: the capture must refer to it, never look into it."""
    def __init__(self, name):
        self.name, self.lock = getattr(name, "__name__", name), open(__file__)
        self.lock.close()
    def __call__(self, x):
        return ["step", self.name, x]

charge = FakeStep("charge")
STEPS = {"first": charge}

def case_plain(x=1): return x + CONSTANT
def case_values(): return [NESTED["a"], sorted(NESTED[1, 2]), str(NESTED["when"]), str(NESTED["d"])]

def fact(n): return 1 if n <= 1 else n * fact(n - 1)
def even(n): return True if n == 0 else odd(n - 1)
def odd(n): return False if n == 0 else even(n - 1)
def case_recursive(): return [fact(5), even(10), odd(10)]

def make_adder(k, *, scale=2):
    count = 0
    def add(x):
        nonlocal count
        count += 1
        return (x + k) * scale + count
    def counted():
        return count
    return add, counted
adder, counted = make_adder(10)
def case_closures_share_a_variable(): return [adder(1), adder(1), counted()]

def make_recursive():
    def walk(n): return [] if n == 0 else [n, *walk(n - 1)]
    return walk
walk = make_recursive()
def case_recursive_closure(): return walk(3)

double, triple = lambda x: x * 2, lambda x: x * 3
long = (lambda x, y=CONSTANT:
        x
        + y)
def case_lambdas(): return [double(4), triple(4), long(1), (lambda z: z + CONSTANT)(1)]
KEYS = {"a": lambda x: -x, "b": abs, "c": math.floor, "d": sqrt}
def case_functions_in_a_dict(): return [KEYS["a"](2), KEYS["b"](-2), KEYS["c"](2.5), KEYS["d"](16)]

def twice(function):
    """Runs it twice."""
    @wraps(function)
    def wrapper(*args, **kwargs):
        return [function(*args, **kwargs), function(*args, **kwargs)]
    return wrapper
APPLIED = []
def counting(times):
    def decorate(function):
        APPLIED.append(function.__name__)
        @wraps(function)
        def wrapper(*args): return sum(function(*args) for _ in range(times))
        return wrapper
    return decorate
@twice
def greet(name): return f"hello {name}"
@counting(3)
def one(): return CONSTANT
def case_decorated_helpers(): return [greet("a"), greet.__name__, greet.__wrapped__("b"), one(), APPLIED]

@lru_cache(maxsize=7)
def cached(n): return n if n < 2 else cached(n - 1) + cached(n - 2)
def case_lru_cache(): return [cached(20), cached.cache_info().maxsize]
add_five = partial(math.pow, 2)
call_fact = partial(fact, n=4)
def case_partial(): return [add_five(3), call_fact()]

@contextlib.contextmanager
def bracket(log):
    log.append("in")
    yield log
    log.append("out")
def case_context_manager():
    with bracket([]) as log:
        log.append("body")
    return log
def numbers(n):
    for i in range(n):
        yield i * CONSTANT
def case_generator_helper(): return list(numbers(3))

def defaults(a, b=[1], *, c={"k": 2}, d=fact): return [a, b, c["k"], d(3)]
def case_defaults(): return defaults(0)
def annotated(a: int, b: "list[int]" = (), c: dict[str, Decimal] | None = None) -> typing.Optional[int]: return a
def case_annotations():
    known = annotated.__annotations__
    return [*sorted(known), known["a"] is int, str(known["c"])]
def case_nested():
    factor = 2
    def inner(x):
        class Local:
            y = factor
            def get(self): return self.y * x
        return Local().get()
    return [inner(i) for i in range(3)] + [CONSTANT for _ in range(1)]

class Base:
    kind = "base"
    limits = [1, 2]
    __secret = 5
    def __init__(self, x): self.x = x
    def secret(self): return self.__secret
    @property
    def doubled(self): return self.x * 2
    @doubled.setter
    def doubled(self, value): self.x = value // 2
    @staticmethod
    def static(y): return y + CONSTANT
    @classmethod
    def build(cls, x): return cls(x)
    @functools.cached_property
    def cached(self): return fact(self.x)
    def me(self): return "base"
class Child(Base):
    """A child."""
    def __init__(self, x, y):
        super().__init__(x)
        self.y = y
    def me(self): return "child of " + super().me()
    def __eq__(self, other): return isinstance(other, Child) and (self.x, self.y) == (other.x, other.y)
    __hash__ = None
    class Inner:
        deep = 7
def case_classes():
    c = Child(3, 4)
    c.doubled = 20
    return [c.x, c.y, c.me(), c.doubled, c.static(1), Base.build(2).x, Base(4).cached, c.secret(), Child.Inner.deep,
            c == Child(10, 4), Child.__mro__[1] is Base, Child.__qualname__]
existing = Child(5, Base(6))
bound = existing.me
def case_instances_and_bound_methods(): return [existing.x, existing.y.x, isinstance(existing, Child), bound()]
Inner = Child.Inner
def case_nested_class_is_one_class(): return [Inner is Child.Inner, Inner.deep]
Base.added = lambda self: self.x + 100
Base.kind = "changed"
def case_class_changed_after_its_statement(): return [Base(1).added(), Base.kind, Child(1, 2).kind]

def make_class(n):
    class Made(Base):
        def value(self): return n + self.x
        def again(self): return Made(self.x + 1).value()
    return Made
Made = make_class(50)
def case_local_class(): return [Made(1).value(), Made(1).again(), Made.__qualname__]

class Color(enum.Enum):
    RED = 1
    GREEN = "g"
class Bits(enum.IntFlag):
    A = enum.auto()
    B = enum.auto()
Shade = enum.Enum("Shade", "DARK LIGHT")
favourite = Color.GREEN
both = Bits.A | Bits.B
def case_enums():
    return [both == Bits.A | Bits.B, type(both) is Bits,
            favourite is Color.GREEN, favourite.value, [c.name for c in Color], int(both), Shade.LIGHT.value,
            Color("g") is favourite]

@dataclass
class Point:
    x: int
    y: int = 5
    tags: list[str] = field(default_factory=list)
@dataclass(frozen=True, slots=True)
class Frozen:
    point: Point
    when: dt.date = dt.date(2026, 1, 1)
    def moved(self): return dataclasses.replace(self, point=Point(self.point.x + 1))
@dataclass(kw_only=True, order=True)
class Ordered(Point):
    rank: int
origin = Frozen(Point(1, tags=["t"]))
def case_dataclasses():
    return [origin.moved().point.x, origin.point.tags, origin == Frozen(Point(1, tags=["t"])), repr(Point(1)),
            Ordered(x=1, rank=2) < Ordered(x=1, rank=3), str(origin.when)]

Pair = namedtuple("Pair", "left right", defaults=[9])
class Row(NamedTuple):
    id: int
    name: str = "n"
    def both(self): return f"{self.id}{self.name}"
pair, row = Pair(1), Row(2)
def case_namedtuples(): return [pair.right, pair == Pair(1, 9), row.both(), Row(3, name="x")._asdict(),
    type(pair) is Pair]
class Movie(typing.TypedDict): title: str
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    def __init__(self, item: T): self.item = item
    def get(self) -> T: return self.item
UserId = typing.NewType("UserId", int)
def case_typing(): return [Movie(title="m"), Box[int](4).get(), UserId(3)]
class ShopError(ValueError):
    def __init__(self, code): super().__init__(code); self.code = code
def case_exceptions():
    try: raise ShopError(4)
    except ShopError as error: return [error.code, isinstance(error, ValueError)]

failed = ShopError(7)
class NeedsTwo(Exception):
    def __init__(self, a, b): super().__init__(a); self.b = b
two = NeedsTwo(1, 2)
def case_exception_objects(): return [failed.code, failed.args, two.b, two.args]

class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
    def __repr__(self): return "shape"
class Square(Shape):
    def area(self): return 4
    def bigger(self): return Square
    def late(self):
        def inner(): return [self.__side, isinstance(self, Square), super(Square, self).__repr__()]
        return inner
    __side = 6
Square.__len__ = lambda self: 7
square = Square()
method, bound_area, late = Square.bigger, Square().area, square.late()
class Meta(type):
    def __new__(meta, name, bases, body): return super().__new__(meta, name, bases, {**body, "made": True})
class WithMeta(metaclass=Meta):
    squares = [i * i for i in range(3)]
    five = (lambda: 5)()
    id = id
class Named:
    def __set_name__(self, owner, name): self.name = name
    def __get__(self, instance, owner=None): return self.name
class Holder: named = Named()
def make_two():
    class One:
        def a(self): return 1
    class Two(One):
        def b(self): return self.a() + One().a()
    return Two
Two = make_two()
class Slotted:
    __slots__ = ("u", "v", "w")
    def __init__(self): self.u, self.v = 1, [square]
slotted = Slotted()
class Table(dict): extra = 1
table = Table(a=square)
table.z = [table]
pattern, log, item = re.compile("a+"), logging.getLogger("shop"), operator.itemgetter(1)
def case_unusual_classes():
    return [square.area(), len(square), isinstance(square, Shape), method(square) is Square, bound_area(), repr(square),
            WithMeta.made, WithMeta.squares, WithMeta.five, WithMeta.id is id, Holder().named, Two().b(), late()]
def case_unusual_objects():
    return [slotted.u, slotted.v[0] is square, hasattr(slotted, "w"), table["a"] is square, table.z[0] is table,
            table.extra, pattern.match("aab").group(), log.name, item("ab"), copy.copy(square).area()]

REGISTRY = {}
def register(cls):
    REGISTRY[cls.__name__] = cls
    return cls
@register
class Plugin:
    label = "plugin"
def case_registry(): return [REGISTRY["Plugin"] is Plugin, len(REGISTRY), Plugin.label]
class Ancestor:
    kinds = []
    def __init_subclass__(cls, **options): Ancestor.kinds.append((cls.__name__, options))
class Heir(Ancestor, tall=True): pass
def case_init_subclass(): return [Ancestor.kinds, Heir.__bases__[0] is Ancestor]

def bump():
    global COUNTER
    COUNTER += 1
def case_global_changed_by_a_helper():
    bump(); bump()
    return COUNTER

def case_imports():
    document = xml.dom.minidom.parseString("<a/>")
    return [document.documentElement.tagName, os.path.join("a", "b"), statistics.mean([1, 3]), dt.timedelta(1).days,
            collections.Counter("aab")["a"], list(itertools.chain([1], [2]))]
def case_attribute_of_the_name_of_a_global():
    class Holder: lock = 3
    return Holder.lock
import threading
lock = threading.Lock()
def case_modules(): return [shop.rated(2), shop.RATE, with_rate(4), Price(3).doubled().amount, shop.Price is Price]
def case_module_global_is_shared(): return [add(5), shop.add(5), shop.TOTAL]
def case_first_party_package(): return [tools.parts.half(4), tools.parts.deep.DEEP]
groups = defaultdict(list, {"k": [fact]})
ordered = OrderedDict(a=Color.RED)
def case_containers(): return [groups["k"][0](3), groups["new"], list(ordered), ordered["a"] is Color.RED]
cycle = [fact]
cycle.append(cycle)
shared = [[1], double]
alias = shared[0]
def case_cycles_and_sharing(): return [cycle[1] is cycle, shared[0] is alias]
def case_steps(): return [charge(1), STEPS["first"](2), STEPS["first"] is charge]
class Service:
    charge = FakeStep("charge")
    @charge.__class__
    def named(self): pass
    def use(self): return self.charge(8)
def case_step_in_a_class(): return [Service().use(), type(Service.named).__name__]
@functools.singledispatch
def shown(x): return "any"
@shown.register
def _(x: int): return "int"
@shown.register(Base)
def _(x): return f"base {x.x}"
def case_singledispatch(): return [shown("s"), shown(1), shown(Base(3)), shown(Child(4, 5))]
async def nap(): return await asyncio.sleep(0, CONSTANT)
def case_async_helper(): return asyncio.run(nap())
def case_special_names(): return [__name__, os.path.basename(__file__), Ellipsis is ...]
def case_text_over_lines():
    text = """a
  b
    c"""
    return text
def make_indented():
    if True:
        def indented():
            text = """
   kept
            """
            return [text, (1,
        2)]
    return indented
indented = make_indented()
def case_indented_text(): return indented()
def case_builtins(): return [len([1]), sum([1, 2]), isinstance(True, bool), print.__name__, open.__name__]
def case_uncalled_type_names(x: "Unknown" = None): return x
def case_walrus_and_match():
    if (n := 3) > 2:
        match [n, 4]:
            case [3, other]: return other


def refer(obj):
    return ("step", getattr(obj, "name", "?")) if isinstance(obj, FakeStep) else None

if __name__ == "__main__":
    import json, sys
    from pathlib import Path
    from durable_nb.flows.source.capture import capture
    folder = Path(sys.argv[1])
    codes = {name: capture(value, refer) for name, value in list(globals().items()) if name.startswith("case_")}
    for name, code in codes.items():
        (folder / f"{name}.json").write_bytes(code.document)
    calls = {name: globals()[name]() for name in codes}
    missing = {name: code.missing for name, code in codes.items()}
    digests = {name: code.digest for name, code in codes.items()}
    said = {"results": calls, "missing": missing, "digests": digests}
    (folder / "said").write_text(json.dumps(said, default=str))
'''

RESTORE = """
import json, sys
from pathlib import Path
from durable_nb.flows.code import read
from durable_nb.flows.source.fingerprint import digest
from durable_nb.flows.source.restore import restore

def resolve(kind, name):
    class FakeStep:
        def __call__(self, x): return [kind, name, x]
    step = FakeStep()
    return known.setdefault(name, step)

results, digests = {}, {}
for path in sorted(Path(sys.argv[1]).glob("case_*.json")):
    known = {}
    try:
        results[path.stem] = restore(path.read_bytes(), resolve)()
    except Exception as error:
        import traceback
        results[path.stem] = traceback.format_exc()
    document = read(path.read_bytes())
    digests[path.stem] = digest(document.things, document.spaces)
print(json.dumps([results, digests], default=str))
"""

CASES = [line.split("(")[0].removeprefix("def ") for line in SCRIPT.splitlines() if line.startswith("def case_")]


def _pythons() -> list[str]:
    """This Python and others on the path that have what durable_nb needs."""
    found = [sys.executable]
    for name in ("python3.11", "python3.12", "python3.13"):
        path = shutil.which(name)
        needs = "import sys, msgspec, cloudpickle; print(*sys.version_info[:2], sep='.')"
        if path and name[6:] != f"{sys.version_info.major}.{sys.version_info.minor}":
            answer = subprocess.run([path, "-c", needs], capture_output=True, text=True, check=False)
            if answer.returncode == 0 and answer.stdout.strip() == name[6:]:
                found.append(path)
    return found


PYTHONS = _pythons()


def run(python: str, *arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, "-W", "error", *arguments], capture_output=True, text=True, env=environment, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(home: Path) -> None:
    (home / "tools").mkdir()
    files = {"shop": SHOP, "script": SCRIPT, "tools/__init__": "", "tools/parts": PARTS, "tools/deep": "DEEP = 2\n"}
    for name, text in files.items():
        (home / f"{name}.py").write_text(text)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("captured")
    home = tmp_path_factory.mktemp("home")
    write(home)
    run(sys.executable, "script.py", str(folder), cwd=home)
    return folder, json.loads((folder / "said").read_text())


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda path: Path(path).name)
def restored(
    captured: tuple[Path, Any], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder, _ = captured
    return json.loads(run(request.param, "-c", RESTORE, str(folder), cwd=tmp_path_factory.mktemp("elsewhere")))


@pytest.mark.parametrize("case", CASES)
def test_restored_function_answers_as_the_original(case: str, captured: Any, restored: Any) -> None:
    said, (results, digests) = captured[1], restored
    assert results[case] == said["results"][case]
    assert said["missing"][case] == []
    assert digests[case] == said["digests"][case]


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: Path(path).name)
def test_digest_is_the_same_on_every_python(python: str, captured: tuple[Path, Any], tmp_path: Path) -> None:
    write(tmp_path)
    run(python, "script.py", str(tmp_path), cwd=tmp_path)
    assert json.loads((tmp_path / "said").read_text())["digests"] == captured[1]["digests"]
