"""Digests of the values of cells: equal values have equal digests, before and after they were stored, in any process.

They are independent of layout (order of memory, blocks, strides, which parts are one object), as fast as memory is for
arrays and tables, and never raise: a value that cannot be compared says why.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, CoroutineType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, Final, NamedTuple
from weakref import ref

from durable_nb.codec import digest_frames
from durable_nb.codec.digest_frames import Hashing
from durable_nb.flows.flow import Flow
from durable_nb.flows.run import Run
from durable_nb.flows.source.packages import CACHED
from durable_nb.flows.step import Step
from durable_nb.notebook.cells import definitions, streams
from durable_nb.notebook.cells.definitions import Uncomparable
from durable_nb.notebook.cells.hashing import PREFIX, hashed, new_hash
from durable_nb.notebook.cells.streams import PLAIN, Rule

_MANY: Final = 32
_CANNOT: Final = re.compile(r"cannot (?:pickle|be pickled)[^'\"]*['\"]?([\w.]+)?['\"]? ?(?:object|instances?)?")


class Digest(NamedTuple):
    """What a value is known by, or why it cannot be compared; `code` is what of notebook and modules it holds."""

    hex: str | None
    reason: str = ""
    code: tuple[Any, ...] = ()
    size: int = 0
    seconds: float = 0.0


def digest_of(value: object) -> Digest:
    """The digest of any value; the code in it counts by its source, not by what it reads."""
    started = time.perf_counter()
    walk = _Walk()
    try:
        hex, reason = PREFIX + hashed(walk.token(value)).hex(), ""
    except MemoryError:
        hex, reason = None, "there is not enough memory to read it"
    except Exception as error:  # noqa: BLE001 - reducers of users run here, and threads may change the value meanwhile
        hex, reason = None, _reason(error, value)
    return Digest(hex, reason, tuple(walk.met.values()), walk.size, time.perf_counter() - started)


class _Walk:
    """One walk over one value."""

    def __init__(self) -> None:
        self.met: dict[int, Any] = {}  # functions and classes of the notebook, first-party modules
        self.size = 0
        self._rules = _Rules(self)
        self._tokens: dict[int, bytes] = {}
        self._inside: dict[int, int] = {}

    def token(self, value: Any) -> bytes:
        """What stands for the value in a stream, at most 65 bytes."""
        rule = self._rules[type(value)]
        found = rule(value) if rule is not None else None
        if found is not None:
            return found
        token, size = streams.plain_token(value) if type(value) in PLAIN else streams.token(value, self._rules)
        self.size += size
        return token

    def shortened(self, raw: bytes) -> bytes:
        return streams.shortened(raw)

    def hashing(self) -> Hashing:
        return _Counted(self)

    def remembered(self, fixed: Any, make: Callable[[], bytes]) -> bytes:
        known = _remembered.get(id(fixed))
        if known is not None and known[0]() is fixed:
            return known[1]
        made = make()
        key = id(fixed)
        _remembered[key] = ref(fixed, lambda gone: _forget(key, gone)), made
        return made

    def definition(self, thing: Any) -> bytes:
        """The token of a function, class or module, which is looked at once."""
        if id(thing) in self._inside:
            return b"again%d" % self._inside[id(thing)]
        if id(thing) not in self._tokens:
            with self._within(thing):
                self._tokens[id(thing)] = streams.shortened(definitions.token(thing, self))
        return self._tokens[id(thing)]

    def met_code(self, thing: Any) -> None:
        """This is the user's code: what it reads is to be followed."""
        self.met[id(thing)] = thing

    @contextmanager
    def _within(self, value: Any) -> Iterator[None]:
        self._inside[id(value)] = len(self._inside)
        try:
            yield
        finally:
            del self._inside[id(value)]

    def table(self, value: Any) -> bytes | None:
        """An array, a frame, a scalar of numpy: by contents."""
        if id(value) in self._inside:
            raise Uncomparable("it holds itself")
        with self._within(value):
            raw = digest_frames.raw(value, self)
        return None if raw is None else streams.shortened(raw)

    def arrow(self, value: Any) -> bytes:
        """Arrow's arrays, and what gives its contents as such."""
        pyarrow = sys.modules["pyarrow"]
        name = f"{type(value).__module__}:{type(value).__qualname__}".encode()
        if isinstance(value, pyarrow.RecordBatch):
            whole: Any = pyarrow.Table.from_batches([value])
        else:
            whole = pyarrow.table({"": value})
        return b"A" + hashed(name + self.remembered(value, lambda: digest_frames.raw(whole, self) or b""))

    def polars(self, value: Any) -> bytes:
        arrow = value.to_arrow()
        whole = arrow if hasattr(arrow, "columns") else sys.modules["pyarrow"].table({value.name: arrow})
        return b"O" + hashed(digest_frames.raw(whole, self) or b"")

    def items(self, value: Any) -> bytes | None:
        """Long sequences and mappings of numbers and texts, without asking about every item."""
        if len(value) < _MANY or not set(map(type, value)) <= PLAIN:
            return None
        if type(value) is dict and not set(map(type, value.values())) <= PLAIN:
            return None
        token, size = streams.plain_token(value)
        self.size += size
        return token

    def unordered(self, value: Any) -> bytes:
        kinds = set(map(type, value))
        letter = b"s" if type(value) is set else b"z"
        if len(kinds) == 1 and kinds <= {int, str, bytes}:
            return letter + hashed(self.token(sorted(value)))
        return letter + hashed(b"".join(b"%d:%b" % (len(token), token) for token in sorted(map(self.token, value))))


class _Counted:
    """A hash that counts what went through it."""

    __slots__ = ("_hashing", "_walk")

    def __init__(self, walk: _Walk) -> None:
        self._walk = walk
        self._hashing = new_hash()

    def update(self, data: Any) -> None:
        self._walk.size += data.nbytes if hasattr(data, "nbytes") else len(data)
        self._hashing.update(data)

    def digest(self) -> bytes:
        return self._hashing.digest()


class _Rules(dict[type, Rule | None]):
    """How each type is written; found once for a type, by the classes it derives from, whatever it claims to be."""

    def __init__(self, walk: _Walk) -> None:
        super().__init__((kind, None) for kind in PLAIN)
        self._walk = walk
        self[list] = self[tuple] = self[dict] = walk.items
        self[set] = self[frozenset] = walk.unordered

    def __missing__(self, kind: type) -> Rule | None:
        self[kind] = rule = self._rule(kind)
        return rule

    def _rule(self, kind: type) -> Rule | None:
        bases = kind.__mro__
        named = {f"{base.__module__}.{base.__qualname__}" for base in bases}
        if type in bases or kind in (FunctionType, ModuleType, CodeType, CACHED) or Flow in bases or Step in bases:
            return self._walk.definition
        if kind is MethodType:
            return lambda method: b"M" + hashed(self._walk.token(method.__self__) + self._walk.token(method.__func__))
        if Run in bases:
            return lambda run: b"U" + hashed(run.id.encode())
        if not named.isdisjoint(_TABLES):
            return self._walk.table
        if not named.isdisjoint(_ARROW):
            return self._walk.arrow
        if not named.isdisjoint(_POLARS):
            return self._walk.polars
        if "ipywidgets.widgets.widget.Widget" in named:
            return lambda widget: b"W" + self._walk.token(_state_of(widget))
        if GeneratorType in bases or CoroutineType in bases:
            return _refuse
        return _refuse if "matplotlib.artist.Artist" in named else None


_TABLES: Final = frozenset(
    {"numpy.ndarray", "numpy.generic", "pandas.DataFrame", "pandas.Series", "pandas.Index", "pyarrow.lib.Table"}
    | {"pandas.core.frame.DataFrame", "pandas.core.series.Series", "pandas.core.indexes.base.Index"}
)
_ARROW: Final = frozenset({"pyarrow.lib.Array", "pyarrow.lib.ChunkedArray", "pyarrow.lib.RecordBatch"})
_POLARS: Final = frozenset({"polars.dataframe.frame.DataFrame", "polars.series.series.Series"})

_remembered: dict[int, tuple[Any, bytes]] = {}


def _forget(key: int, gone: Any) -> None:
    if key in _remembered and _remembered[key][0] is gone:
        del _remembered[key]


def _state_of(widget: Any) -> dict[str, Any]:
    """What a person sees and sets; the ids of models are new in every kernel."""
    state = widget.get_state()
    kept = {
        name: value for name, value in state.items() if not name.startswith("_") and "IPY_MODEL_" not in repr(value)
    }
    return {"": type(widget).__qualname__, **dict(sorted(kept.items()))}


def _refuse(value: Any) -> bytes:
    raise Uncomparable(_is_a(type(value).__name__))


def _is_a(name: str) -> str:
    return f"it is {'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _reason(error: Exception, value: object) -> str:
    """One clause that goes on after "cannot be compared: "."""
    if isinstance(error, Uncomparable):
        return str(error)
    if isinstance(error, RecursionError) or isinstance(error.__cause__ or error.__context__, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, streams.TooLong):
        return "it does not come to an end"
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, RuntimeError) and "changed" in text:
        return "it changed while it was being read"
    cannot = _CANNOT.search(text)
    if cannot is None:
        return f"{type(error).__name__}: {text}"[:200] if text else f"reading it raised {type(error).__name__}"
    found, own = cannot[1] or type(value).__name__, type(value).__name__
    said = _is_a(found)
    return said if found.rpartition(".")[2] == own else said.replace("it is", "it holds", 1)
