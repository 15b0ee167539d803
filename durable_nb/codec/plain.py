"""Plain JSON: the values that need no tag, written and read at C speed."""

from math import isfinite
from typing import Any, Final

import msgspec

KEY: Final = "$"
"""The key that makes a JSON object a tag; a user's dict that holds it is written as pairs."""

MAX_DEPTH: Final = 250
"""Deepest nesting written as JSON: reading takes two frames a level, and may begin deeper in the stack than writing."""

_LONG: Final = 64
_ESCAPED_NUL: Final = b"\\u0000"
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_UNCHECKED: Final = frozenset({str, bool, type(None)})

dumps: Final = msgspec.json.Encoder(order=None).encode
loads: Final = msgspec.json.Decoder().decode


def plain_json(value: object) -> bytes | None:
    """The JSON of a value that reads back as the very same value without any tag, else None.

    NUL is not plain, though JSON could carry it: PostgreSQL refuses it inside JSON.
    """
    kind = type(value)
    if kind is str:
        return _plain_text(value)
    if kind is int:
        return dumps(value) if _SMALLEST <= value <= _LARGEST else None  # type: ignore[operator]
    if kind is bool or value is None:
        return dumps(value)
    if kind is float:
        return dumps(value) if isfinite(value) else None  # type: ignore[arg-type]
    if (kind is not dict and kind is not list) or not _is_plain(value, MAX_DEPTH):
        return None
    return _plain_text(value)


def _plain_text(value: object) -> bytes | None:
    try:
        text = dumps(value)
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8
        return None
    # Text that spells out \\u0000 is caught too; the tags then write it just as plainly.
    return None if _ESCAPED_NUL in text else text


def _is_plain(value: Any, depth: int) -> bool:
    if not depth:
        return False
    if type(value) is dict:
        if KEY in value:
            return False
        for key in value:
            if type(key) is not str:
                return False
        items = value.values()
    else:
        items = value
    if len(items) > _LONG and (answer := _are_plain_atoms(items)) is not None:
        return answer
    for item in items:
        kind = type(item)
        if kind in _UNCHECKED:
            continue
        if kind is int:
            if not _SMALLEST <= item <= _LARGEST:
                return False
        elif kind is float:
            if not isfinite(item):
                return False
        elif (kind is not dict and kind is not list) or not _is_plain(item, depth - 1):
            return False
    return True


def _are_plain_atoms(items: Any) -> bool | None:
    """Answer for many items of one kind without a loop in Python; None when they must be looked at one by one."""
    kinds = set(map(type, items))
    if kinds <= _UNCHECKED:
        return True
    if kinds == {int}:
        return bool(min(items) >= _SMALLEST and max(items) <= _LARGEST)
    if kinds == {float}:
        return all(map(isfinite, items))
    return None
