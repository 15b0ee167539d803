"""Where in a value a part lies, and what is said of a part that cannot be stored."""

import functools
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any, Final

_SEARCHED: Final = 20_000
_LRU_CACHE: Final = type(functools.lru_cache(len))


def place_of(value: object, found: object, name: str = "") -> str:
    """The path and the type of the part at fault, as `name.path[0]: type`."""
    kind = type(found)
    named = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    path = path_to(value, found)
    if path is None:
        return f"{name}: it holds a {named}" if name else f"it holds a {named}"
    return f"{name}{path}: {named}" if name or path else f"it is a {named}"


def path_to(value: object, found: object) -> str | None:
    """How to get from the value to the part, as Python would write it; "" for the value itself, None when not found."""
    queue: list[tuple[object, str]] = [(value, "")]
    seen = {id(value)}
    for item, path in queue:  # grows while it is read: nearest first
        if item is found:
            return path
        for label, part in _parts_of(item):
            if id(part) not in seen and len(seen) < _SEARCHED:
                seen.add(id(part))
                queue.append((part, path + label))
    return None


def _parts_of(item: object) -> list[tuple[str, Any]]:
    try:
        return list(_parts(item))
    except Exception:  # noqa: BLE001 - attributes of users' objects run any code; what fails is not looked into
        return []


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
