"""The last codec: cloudpickle, for everything that travels at all, and a refusal that names the place for the rest.

What was pickled is not read back to check it: that would run the user's code once more for every value. Exceptions are
read back, because so many of them pickle well and then fail to load (an __init__ with other arguments than `args`).
"""

import functools
import io
import pickle
import sys
from collections.abc import Callable
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import Any, Final

from durable_nb.codec import classes, framing
from durable_nb.codec.chunks import Part, Stream
from durable_nb.codec.paths import place_of
from durable_nb.errors import Corrupt, UnknownCode, Unstorable

_PROTOCOL: Final = 5
_BYTECODE: Final = b"bytecode of Python "  # before a pickle that only this Python can read; others begin with \x80


Name = tuple[Any, ...]
"""What a pickle says of a class or function that only a notebook or script has. Written into logs: never changed."""


def _unnamed(thing: Any) -> Name | None:
    return None


def _nowhere(*name: Any) -> Any:
    raise UnknownCode(f"{name[0]} `{name[2]}` of {name[1]} is kept as source, which durable_nb.flows restores")


# Filled by the room of flows, which knows source; without it cloudpickle takes classes and functions along by value.
name_of_code: Callable[[Any], Name | None] = _unnamed
code_of_name: Callable[..., Any] = _nowhere

OUT_OF_BAND: Final = 64 * 1024  # smaller buffers lie in the pickle
_REFUSED: Final[dict[type, str]] = {
    # cloudpickle would turn these two into something else without a word: StringIO, bytes.
    io.IOBase: "an open file is tied to this process; store its path or its contents",
    memoryview: "a memoryview is a view of other memory; store bytes(view)",
    GeneratorType: "a generator cannot be continued elsewhere; store list(...) of it",
    AsyncGeneratorType: "a generator cannot be continued elsewhere; store a list of it",
    CoroutineType: "a coroutine cannot be continued elsewhere; await it first",
    FrameType: "a frame is tied to this process",
    TracebackType: "a traceback is tied to this process; store traceback.format_exc()",
}
_IN_MEMORY: Final = (io.BytesIO, io.StringIO)


class Refused(Exception):
    """Met inside the pickler; carries the object and the advice."""

    def __init__(self, found: object, advice: str) -> None:
        super().__init__(advice)
        self.found = found
        self.advice = advice


def encode(value: object, what: str) -> list[Part]:
    """The pickle of the value, and its large buffers (arrays, columns) as they lie in memory.

    Unstorable, with the path to the part at fault, when it has none.
    """
    buffers: list[memoryview] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        view = memoryview(buffer)
        if view.nbytes < OUT_OF_BAND or not (view.c_contiguous or view.f_contiguous):
            return True
        buffers.append(in_rows(view))
        return False

    head = _pickled(value, what, None if isinstance(value, BaseException) else is_small)
    if isinstance(value, BaseException):
        _check_exception(value, head, what)
    return framing.framed(head, buffers) if buffers else [head]


def in_rows(view: memoryview) -> memoryview:
    """The bytes of a buffer, in rows when it has some."""
    raw = pickle.PickleBuffer(view).raw()
    shape = view.shape or (1,)
    rows = 1 if len(shape) < 2 else shape[0] if view.c_contiguous else shape[-1]
    return raw.cast("B", (rows, view.nbytes // rows))


def _pickled(value: object, what: str, callback: Callable[[pickle.PickleBuffer], bool] | None) -> bytes:
    pickler = pickler_class()(file := io.BytesIO(), callback)
    try:
        pickler.dump(value)
    except Refused as refusal:
        raise _unstorable(value, refusal.found, refusal.advice, what) from None
    except RecursionError as error:
        raise Unstorable(f"{what} cannot be stored: it is nested too deeply") from error
    except MemoryError:
        raise
    except Exception as error:  # a reducer is any code; whatever it raises, the value has no pickle
        if isinstance(error.__cause__ or error.__context__, RecursionError):  # cloudpickle makes a PicklingError of it
            raise Unstorable(f"{what} cannot be stored: it is nested too deeply") from error
        raise _unstorable(value, pickler.latest, str(error), what) from error
    return with_python(file.getvalue()) if pickler.has_bytecode else file.getvalue()


def with_python(head: bytes) -> bytes:
    """A pickle that holds bytecode, marked as such."""
    return _BYTECODE + f"{_minor()}\n".encode() + head


def without_python(head: bytes) -> bytes:
    """The pickle itself; Corrupt when it holds bytecode of another Python."""
    if not head.startswith(_BYTECODE):
        return head
    line, _, head = head.partition(b"\n")
    minor = line.removeprefix(_BYTECODE).decode()
    if minor != _minor():
        raise Corrupt(
            f"it holds a class or function without source, as compiled by Python {minor}, and this is Python"
            f" {_minor()}: open the log with Python {minor}, or define it in a cell or a file and store it again"
        )
    return head


def decode(data: Part | Stream) -> Any:
    """The value of a pickle; it can run anything, so only for logs that are trusted."""
    stream = data if isinstance(data, Stream) else Stream([data])
    head, buffers = framing.unframed(stream) if framing.is_framed(stream) else (bytes(stream.rest()), [])
    return Unpickler(io.BytesIO(without_python(head)), buffers=buffers).load()


class Unpickler(pickle.Unpickler):
    """Takes a class that came along with restored code before it imports another one of that name."""

    def find_class(self, module: str, name: str) -> Any:
        there: Any = classes.restored(module, name)
        if there is not None:
            return there
        with classes.wanted(module, name):
            return super().find_class(module, name)


def _minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def code_named(*name: Any) -> Any:
    """What pickles call for a class or function that only a notebook or script has. Never renamed: logs name it."""
    with classes.wanted(name[1], name[2]):  # whatever is wrong with its source, a definition here would do
        return code_of_name(*name)


@functools.cache
def pickler_class() -> Any:
    import cloudpickle  # noqa: PLC0415 - 15 ms that an import of durable_nb does not need

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """cloudpickle that refuses what it would change, and remembers where it was."""

        def __init__(self, file: io.BytesIO, callback: Callable[[pickle.PickleBuffer], bool] | None) -> None:
            super().__init__(file, protocol=_PROTOCOL, buffer_callback=callback)
            self.latest: object = None
            self.has_bytecode = False

        def reducer_override(self, obj: Any) -> Any:
            self.latest = obj
            for kind, advice in _REFUSED.items():
                if isinstance(obj, kind) and not isinstance(obj, _IN_MEMORY):
                    raise Refused(obj, advice)
            if type(obj) is LRU_CACHE and obj.__module__ == "__main__":
                # Its own reducer stores a bare name, which another process does not have.
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            reduced = super().reducer_override(obj)
            if isinstance(obj, type) and reduced is not NotImplemented and len(reduced) > _STATE:
                reduced[_STATE][0].pop("__msgspec_cache__", None)  # of a class that a signal was checked against
            if reduced is not NotImplemented and getattr(obj, "__module__", None) != "builtins":  # by value
                name = name_of_code(obj)
                if name is not None:
                    return code_named, name
            self.has_bytecode |= isinstance(obj, CodeType)
            return reduced

    return Pickler


_STATE: Final = 2  # where a reduced class has its attributes

LRU_CACHE: Final = type(functools.lru_cache(len))


def _cached(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _check_exception(value: BaseException, data: bytes, what: str) -> None:
    try:
        restored = decode(data)
    except MemoryError:
        raise
    except Exception as error:  # the exception's own __init__ or __setstate__ failed, whatever with
        kind = type(value).__qualname__
        raise Unstorable(
            f"{what} cannot be stored: a {kind} is pickled as {kind}(*args), and that fails ({error});"
            " pass all arguments to super().__init__() or define __reduce__"
        ) from error
    if type(restored).__qualname__ != type(value).__qualname__:
        raise Unstorable(f"{what} cannot be stored: it would come back as a {type(restored).__qualname__}")


def _unstorable(value: object, found: object, advice: str, what: str) -> Unstorable:
    return Unstorable(f"{what} cannot be stored: {place_of(value, found)} ({advice.rstrip('.')})")
