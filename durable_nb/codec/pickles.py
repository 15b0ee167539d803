"""The last codec: cloudpickle, for everything that travels at all, and a refusal that names the place for the rest.

What was pickled is not read back to check it: that would run the user's code once more for every value. Exceptions are
read back, because so many of them pickle well and then fail to load (an __init__ with other arguments than `args`).
"""

import functools
import io
import pickle
import sys
from collections.abc import Callable, Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, FunctionType, GeneratorType, TracebackType
from typing import Any, Final

from durable_nb.codec import classes
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

_SEARCHED: Final = 20_000
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


class _Refused(Exception):
    """Met inside the pickler; carries the object and the advice."""

    def __init__(self, found: object, advice: str) -> None:
        super().__init__(advice)
        self.found = found
        self.advice = advice


def encode(value: object, what: str) -> bytes:
    """The pickle of the value; Unstorable, with the path to the part at fault, when it has none."""
    pickler = _pickler_class()(file := io.BytesIO())
    try:
        pickler.dump(value)
    except _Refused as refusal:
        raise _unstorable(value, refusal.found, refusal.advice, what) from None
    except RecursionError as error:
        raise Unstorable(f"{what} cannot be stored: it is nested too deeply") from error
    except MemoryError:
        raise
    except Exception as error:  # a reducer is any code; whatever it raises, the value has no pickle
        if isinstance(error.__cause__ or error.__context__, RecursionError):  # cloudpickle makes a PicklingError of it
            raise Unstorable(f"{what} cannot be stored: it is nested too deeply") from error
        raise _unstorable(value, pickler.latest, str(error), what) from error
    data = file.getvalue()
    if pickler.has_bytecode:
        data = _BYTECODE + f"{_minor()}\n".encode() + data
    if isinstance(value, BaseException):
        _check_exception(value, data, what)
    return data


def decode(data: bytes) -> Any:
    """The value of a pickle; it can run anything, so only for logs that are trusted."""
    if data.startswith(_BYTECODE):
        line, _, data = data.partition(b"\n")
        minor = line.removeprefix(_BYTECODE).decode()
        if minor != _minor():
            raise Corrupt(
                f"it holds a class or function without source, as compiled by Python {minor}, and this is Python"
                f" {_minor()}: open the log with Python {minor}, or define it in a cell or a file and store it again"
            )
    return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
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
def _pickler_class() -> Any:
    import cloudpickle  # noqa: PLC0415 - 15 ms that an import of durable_nb does not need

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """cloudpickle that refuses what it would change, and remembers where it was."""

        def __init__(self, file: io.BytesIO) -> None:
            super().__init__(file, protocol=_PROTOCOL)
            self.latest: object = None
            self.has_bytecode = False

        def reducer_override(self, obj: Any) -> Any:
            self.latest = obj
            for kind, advice in _REFUSED.items():
                if isinstance(obj, kind) and not isinstance(obj, _IN_MEMORY):
                    raise _Refused(obj, advice)
            if type(obj) is _LRU_CACHE and obj.__module__ == "__main__":
                # Its own reducer stores a bare name, which another process does not have.
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            reduced = super().reducer_override(obj)
            if reduced is not NotImplemented and getattr(obj, "__module__", None) != "builtins":  # by value
                name = name_of_code(obj)
                if name is not None:
                    return code_named, name
            self.has_bytecode |= isinstance(obj, CodeType)
            return reduced

    return Pickler


_LRU_CACHE: Final = type(functools.lru_cache(len))


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


# Where the part at fault lies


def _unstorable(value: object, found: object, advice: str, what: str) -> Unstorable:
    kind = type(found)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    path = _path_to(value, found)
    place = f"{path}: {name}" if path else f"it is a {name}" if path == "" else f"it holds a {name}"
    return Unstorable(f"{what} cannot be stored: {place} ({advice.rstrip('.')})")


def _path_to(value: object, found: object) -> str | None:
    """How to get from the value to the part, as Python would write it; "" for the value itself, None when not found."""
    queue: list[tuple[object, str]] = [(value, "")]
    seen = {id(value)}
    for item, path in queue:  # grows while it is read: nearest first
        if item is found:
            return path
        for label, part in _parts(item):
            if id(part) not in seen and len(seen) < _SEARCHED:
                seen.add(id(part))
                queue.append((part, path + label))
    return None


def _parts(item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, dict):
        for key, part in list(item.items()):
            yield f"[{_short(key)}]", part
        for key in list(item):
            yield f".key({_short(key)})", key
    elif isinstance(item, list | tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(item))
    elif isinstance(item, set | frozenset):
        yield from ((".member", part) for part in item)
    elif isinstance(item, FunctionType):
        yield from _parts_of_function(item)
    elif isinstance(item, functools.partial):
        yield from ((".func", item.func), (".args", item.args), (".keywords", item.keywords))
    elif type(item) is _LRU_CACHE:
        yield ".__wrapped__", item.__wrapped__
    elif hasattr(item, "__self__") and not isinstance(item.__self__, type(sys)):
        yield ".__self__", item.__self__
    if not isinstance(item, type | type(sys) | FunctionType):
        yield from _attributes(item)


def _attributes(item: Any) -> Iterator[tuple[str, Any]]:
    for name, part in list(getattr(item, "__dict__", {}).items()):
        yield f".{name}", part
    for cls in type(item).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(item, name):
                yield f".{name}", getattr(item, name)


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".closure[{name!r}]", cell.cell_contents
        except ValueError:  # an empty cell: the name is not bound yet
            continue
    yield from ((f".__defaults__[{index}]", part) for index, part in enumerate(function.__defaults__ or ()))
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f".globals[{name!r}]", function.__globals__[name]


def _short(key: object) -> str:
    text = repr(key) if isinstance(key, str | int | float | bytes | tuple) else f"<{type(key).__qualname__}>"
    return text if len(text) <= 60 else text[:57] + "..."
