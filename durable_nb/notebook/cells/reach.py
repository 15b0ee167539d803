"""What can be reached in named values, and by which path: dicts, lists, attributes, what functions close over."""

import functools
import sys
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from durable_nb.errors import Corrupt

Step = tuple[str, str | int]
"""How to get to a part: ("item", key), ("attribute", name), ("closure", name). Written into logs."""
Path = tuple[Step, ...]

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented)})
_NAMED: Final = (ModuleType, BuiltinFunctionType)
# They are values as a whole: what they are made of may be made anew at every look, and is nobody's to share.
_WHOLE: Final = frozenset({"numpy", "pandas", "pyarrow", "polars"})


def reach(values: Mapping[str, object], limit: int) -> Iterator[tuple[str, Path, object]]:
    """Every object that is not a plain atom, once, the nearest first, at most so many; atoms are not worth a path."""
    queue: list[tuple[str, Path, object]] = [(name, (), value) for name, value in values.items()]
    seen: set[int] = set()
    for name, path, value in queue:  # grows while it is read
        if id(value) in seen or type(value) in _ATOMS or issubclass(type(value), _NAMED) or _is_nothing(value):
            continue
        if len(seen) == limit:
            return
        seen.add(id(value))
        yield name, path, value
        if len(queue) < 2 * limit:
            queue.extend((name, (*path, step), part) for step, part in _parts_of(value))


def _is_nothing(value: object) -> bool:
    return type(value) is tuple and not value  # there is only one


def follow(value: object, path: Path) -> Any:
    """The object at that path; Corrupt when the value is another one by now."""
    found: Any = value
    try:
        for kind, key in path:
            if kind == "item":
                found = found[key]
            elif kind == "closure":
                place = found.__code__.co_freevars.index(key)
                found = found.__closure__[place].cell_contents
            else:
                own = getattr(found, "__dict__", {})
                found = own[key] if key in own else getattr(found, str(key))
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise Corrupt(f"an input is not what it was: there is no {key!r} in it any more") from error
    return found


def _parts_of(value: object) -> list[tuple[Step, object]]:
    try:
        return list(_parts(value))
    except Exception:  # noqa: BLE001 - attributes of users' objects run any code; what fails has no parts to us
        return []


def _parts(value: Any) -> Iterator[tuple[Step, object]]:
    kind = type(value)  # not isinstance: a mock with a spec claims to be what it is not
    if issubclass(kind, dict):
        for key, part in list(dict.items(value)):
            if type(key) is str or type(key) is int:
                yield ("item", key), part
    elif issubclass(kind, list | tuple):
        yield from ((("item", place), part) for place, part in enumerate(value))
    elif kind is FunctionType:
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield ("closure", name), cell.cell_contents
            except ValueError:  # it is not bound yet
                continue
    elif kind is MethodType:
        yield ("attribute", "__self__"), value.__self__
    elif issubclass(kind, functools.partial):
        for name in ("func", "args", "keywords"):
            yield ("attribute", name), getattr(value, name)
    if kind.__module__.partition(".")[0] in _WHOLE or (issubclass(kind, type) and _is_importable(value)):
        return
    yield from ((("attribute", name), part) for name, part in _attributes(value) if type(name) is str)


def _attributes(value: Any) -> list[tuple[str, object]]:
    try:
        found = list(vars(value).items())
    except TypeError:
        found = []
    if issubclass(type(value), type):
        return [(name, part) for name, part in found if not name.startswith("__")]
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(value, name):
                found.append((name, getattr(value, name)))
    return found


def _is_importable(cls: type) -> bool:
    found: Any = sys.modules.get(cls.__module__)
    if found is None or cls.__module__ == "__main__":
        return False
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls
