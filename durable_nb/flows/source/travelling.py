"""Classes and functions of a notebook on their way with values: named in the value, kept as source beside it.

Who reads the value gets the class its module has now, as pickle does it; else the one restored before; else that of
the log. Functions that no module has are made anew for every value, because they can hold what changes.
"""

from collections.abc import Callable
from contextvars import ContextVar
from types import FunctionType
from typing import Any, Protocol

from durable_nb.codec import classes, pickles
from durable_nb.codec.digest import digest_bytes
from durable_nb.errors import Corrupt, UnknownCode
from durable_nb.flows import registry
from durable_nb.flows.code import Absent
from durable_nb.flows.source import known
from durable_nb.flows.source.identity import portable_class, portable_function
from durable_nb.flows.source.known import Key
from durable_nb.flows.source.restore import restore
from durable_nb.stores.shapes import CodeRecord


def digest_of(document: bytes, expected: str) -> str:
    """The name a code document goes by: its structural digest and the digest of its very bytes."""
    return f"{expected}:{digest_bytes(document)}"


class _Store(Protocol):
    def put_code(self, code: CodeRecord) -> None: ...

    def code(self, digest: str) -> CodeRecord | None: ...


class _Signer(Protocol):
    def sign_code(self, kind: str, name: str, digest: str) -> str: ...

    def check_code(self, kind: str, name: str, digest: str, document: bytes, mark: str) -> None: ...


class Classes:
    """The classes and functions that values of one log name."""

    def __init__(self, store: Any, signer: _Signer) -> None:
        self._store: _Store = store
        self._signer = signer
        self._put: set[str] = set()
        self.now: Callable[[], float] = lambda: 0.0
        self.resolve: Callable[[str, str], object] = registry.lookup

    def taking(self) -> "_Taking":
        """A value is encoded meanwhile; what it names is in the log afterwards."""
        return _Taking(self)

    def giving(self) -> "_Giving":
        """A value is decoded meanwhile."""
        return _Giving(self)

    def keep(self, key: Key, document: bytes) -> None:
        """Put the source of a class into the log, once in this process."""
        if key.digest in self._put:
            return
        mark = self._signer.sign_code("class", _name(key), digest_of(document, key.digest))
        self._store.put_code(CodeRecord("class", _name(key), key.digest, document, mark, self.now()))
        self._put.add(key.digest)

    def from_log(self, key: Key) -> type:
        """The class, of the source in the log."""
        record = self._store.code(key.digest)
        if record is None or (record.kind, record.name) != ("class", _name(key)):
            raise Corrupt(
                f"class `{key.qualname}` of {key.module} is not defined here, and its code is not in the log: "
                "run its cell or import its module"
            )
        self._signer.check_code("class", record.name, record.digest, record.document, record.mark)
        return known.first(key, self.restored(record.document))

    def restored(self, document: bytes) -> Any:
        with registry.quietly():
            return restore(document, self._resolved)()

    def _resolved(self, kind: str, name: str) -> object:
        """A step or flow that a method calls; a class is of use also where its steps are not known."""
        try:
            return self.resolve(kind, name) or Absent(name, f"{kind} `{name}` is not defined here")
        except UnknownCode as error:
            return Absent(name, str(error))


class _Taking:
    """While a value is encoded: its classes are named, and what they are is collected."""

    __slots__ = ("_classes", "_met", "_token")

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._met: dict[Key, bytes] = {}

    def __enter__(self) -> None:
        self._token = _place.set((self._classes, self._met))

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        _place.reset(self._token)
        if error is None:
            for key, document in self._met.items():
                self._classes.keep(key, document)


class _Giving:
    """While a value is decoded: what it names is looked for in this log."""

    __slots__ = ("_classes", "_token")

    def __init__(self, classes: Classes) -> None:
        self._classes = classes

    def __enter__(self) -> None:
        self._token = _place.set((self._classes, None))

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        _place.reset(self._token)


_place: ContextVar[tuple[Classes, dict[Key, bytes] | None] | None] = ContextVar("durable_nb_travelling", default=None)


def _name_of_code(thing: Any) -> pickles.Name | None:
    place = _place.get()
    met = place[1] if place is not None else None
    if met is None:
        return None
    if not isinstance(thing, type):
        portable = portable_function(thing)
        if portable is None:
            return None
        return "function", portable.key.module, portable.key.qualname, portable.document
    portable = portable_class(thing)
    if portable is None:
        return None
    key = portable.key
    met[key] = portable.document
    is_live = known.live(key.module, key.qualname) is thing
    return "class", *key, 0 if is_live else known.ordinal(key, thing)


def _code_of_name(kind: str, module: str, qualname: str, *rest: Any) -> Any:
    live = known.live(module, qualname)
    if isinstance(live, type if kind == "class" else FunctionType):
        return live
    place = _place.get()
    if place is None:
        raise Corrupt(f"{kind} `{qualname}` of {module} is not defined here, and no log is open that may have its code")
    if kind == "function":
        return place[0].restored(rest[0])
    key = Key(module, qualname, rest[0])
    there = known.known(key, rest[1])
    return place[0].from_log(key) if there is None else there


def _name(key: Key) -> str:
    return f"{key.module}:{key.qualname}"


pickles.name_of_code = _name_of_code
pickles.code_of_name = _code_of_name
classes.restored_class = known.newest
