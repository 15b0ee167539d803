"""The classes of notebooks that this process has, so that one class is one object however often it is restored.

A class is known by its module, its qualified name and the digest of its source. What its methods see as globals is not
part of that: the class that was restored first wins, also when a later document holds other globals.
"""

import sys
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary


class Key(NamedTuple):
    """What makes two statements the same class."""

    module: str
    qualname: str
    digest: str


_classes: WeakValueDictionary[tuple[Key, int], type] = WeakValueDictionary()
_keys: WeakKeyDictionary[type, tuple[Key, int]] = WeakKeyDictionary()


def live(module: str, qualname: str) -> Any:
    """What an imported module, or `__main__`, has under that name now; None when there is nothing. Imports nothing."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def known(key: Key, ordinal: int = 0) -> type | None:
    """The class of that key; of several alike the one of that number, else the first."""
    found = _classes.get((key, ordinal))
    return found if found is not None else _classes.get((key, 0))


def first(key: Key, made: type) -> type:
    """The class of that key that was there before, else this one, which is there from now on."""
    found = _classes.get((key, 0))
    if found is not None:
        return found
    _enter(key, 0, made)
    return made


def ordinal(key: Key, cls: type) -> int:
    """The number of a class among those of its key: a function that makes a class makes another one at every call."""
    before = _keys.get(cls)
    if before is not None and before[0] == key:
        return before[1]
    number = 0
    while (key, number) in _classes:
        number += 1
    _enter(key, number, cls)
    return number


def outer(module: str, qualname: str, name: str, cls: type) -> type | None:
    """The restored class of that name in which `cls` stands."""
    return next((found for found in _named(module, qualname) if vars(found).get(name) is cls), None)


def newest(module: str, qualname: str) -> type | None:
    """The class of that name, whatever its source, that came last."""
    return next(reversed(_named(module, qualname)), None)


def _named(module: str, qualname: str) -> list[type]:
    return [cls for (key, _), cls in list(_classes.items()) if key[:2] == (module, qualname)]


def _enter(key: Key, number: int, cls: type) -> None:
    _classes[key, number] = cls
    _keys[cls] = key, number
