"""A value as a person reads it, in at most 4,000 characters: written with each value, so that looking decodes nothing.

repr() of a list of a million is never taken whole: containers, dataclasses and models are walked, and the walk stops
when its room is used up. Only an object with a repr of its own is asked for it.
"""

import dataclasses
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from enum import Enum
from itertools import islice
from typing import Any, Final

from durable_nb.codec import tags
from durable_nb.codec.plain import loads

LIMIT: Final = 4000
_ITEMS: Final = 50
_DEPTH: Final = 6
_TEXT: Final = 400
_WHOLE_TEXT: Final = 3000
_BITS: Final = 1200
_ROWS: Final = 5
_COLUMNS: Final = 12
_DECODED: Final = 64 * 1024


def preview(value: object) -> str:
    """What the value looks like; a __repr__ that raises is told in the text."""
    return _storable(_Walk().text(value, 0))


def preview_json(data: bytes) -> str:
    """The preview of a value that is already encoded as "json"; a long text is shown as it begins, undecoded."""
    if len(data) <= _DECODED:
        try:
            return preview(tags.decode(data, with_classes=False) if b'"$"' in data else loads(data))
        except Exception:  # noqa: BLE001 - whatever these bytes are, the person still wants to see them
            return _storable(data[:LIMIT].decode("utf-8", "replace"))
    return _storable(data[: LIMIT + 1].decode("utf-8", "replace"))


def _storable(text: str) -> str:
    """Cut, and without what a database refuses as text: NUL and lone surrogates, which a repr of a user can hold."""
    if len(text) > LIMIT:
        text = text[: LIMIT - 1] + "…"
    if not text.isascii() or "\0" in text:
        text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


class _Walk:
    """One walk; counts the room that is left, so that a wide and deep value costs no more than a long one."""

    def __init__(self) -> None:
        self._room = LIMIT
        self._inside: set[int] = set()

    def text(self, value: Any, depth: int) -> str:
        kind = type(value)
        if kind is str or kind is bytes or kind is bytearray:
            shown = _short_text(value, _TEXT if depth else _WHOLE_TEXT)
        elif kind is int:
            size = value.bit_length()  # Python refuses to write more than 4,300 digits
            shown = repr(value) if size <= _BITS else f"<int of {size} bits>"
        elif kind is float or kind is bool or value is None:
            shown = repr(value)
        elif self._room <= 0 or depth > _DEPTH or id(value) in self._inside:
            return "…"
        else:
            self._inside.add(id(value))
            shown = self._composed(kind, value, depth)
            self._inside.discard(id(value))
            return shown
        self._room -= len(shown)
        return shown

    def _composed(self, kind: type, value: Any, depth: int) -> str:
        try:
            walked = self._walked(kind, value, depth)
            if walked is not None:
                return walked
            shown = _table(value) or repr(value)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - __repr__, __len__ and properties are code of users
            shown = f"<{kind.__qualname__}, whose repr failed: {type(error).__name__}>"
        shown = shown if len(shown) <= LIMIT else shown[: LIMIT - 1] + "…"
        self._room -= len(shown)
        return shown

    def _walked(self, kind: Any, value: Any, depth: int) -> str | None:
        brackets = _BRACKETS.get(kind)
        if brackets is not None:
            opening, closing = brackets
            if not value:
                return _EMPTY.get(kind, opening + closing)
            inner = self._mapping(value, depth) if isinstance(value, dict) else self._items(value, len(value), depth)
            return opening + inner + ("," if kind is tuple and len(value) == 1 else "") + closing
        if isinstance(value, Enum):
            return f"{kind.__qualname__}.{value.name}" if value.name else None
        if isinstance(value, tuple) and hasattr(kind, "_fields") and kind.__repr__ is not tuple.__repr__:
            return self._fields(kind, zip(kind._fields, value, strict=False), depth)
        if hasattr(kind, "__dataclass_fields__") and hasattr(
            kind.__repr__, "__wrapped__"
        ):  # the generated one is wrapped
            shown = ((f.name, getattr(value, f.name, "<unset>")) for f in dataclasses.fields(value) if f.repr)
            return self._fields(kind, shown, depth)
        pydantic = sys.modules.get("pydantic")
        model = pydantic and pydantic.BaseModel
        if model and isinstance(value, model) and kind.__repr__ is model.__repr__:
            return self._fields(kind, value.__repr_args__(), depth)  # without the fields that asked not to be shown
        if isinstance(value, BaseException) and kind.__repr__ is BaseException.__repr__:
            return f"{kind.__qualname__}({self._items(value.args, len(value.args), depth)})"
        return None

    def _items(self, items: Iterable[Any], size: int, depth: int) -> str:
        return self._listed((self.text(item, depth + 1) for item in islice(items, _ITEMS)), size)

    def _mapping(self, items: dict[Any, Any], depth: int) -> str:
        shown = islice(items.items(), _ITEMS)
        return self._listed((f"{self.text(k, depth + 1)}: {self.text(v, depth + 1)}" for k, v in shown), len(items))

    def _fields(self, kind: type, fields: Iterable[tuple[str, Any]], depth: int) -> str:
        return f"{kind.__qualname__}({', '.join(f'{name}={self.text(item, depth + 1)}' for name, item in fields)})"

    def _listed(self, texts: Iterable[str], size: int) -> str:
        shown: list[str] = []
        for text in texts:
            shown.append(text)
            self._room -= 2
            if self._room <= 0:
                break
        if len(shown) < size:
            shown.append(f"… {size - len(shown):,} more")
        return ", ".join(shown)


_BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    deque: ("deque([", "])"),
    OrderedDict: ("OrderedDict({", "})"),
    Counter: ("Counter({", "})"),
    defaultdict: ("defaultdict({", "})"),
}
_EMPTY: Final[dict[type, str]] = {set: "set()", frozenset: "frozenset()"}


def _short_text(value: Any, room: int) -> str:
    if len(value) <= room:
        return repr(value)
    unit = "characters" if isinstance(value, str) else "bytes"
    return f"{value[: room * 3 // 4]!r}…{value[-room // 8 :]!r} ({len(value):,} {unit})"


# Arrays and tables: shape and dtypes, then how they begin


def _table(value: Any) -> str | None:
    for module, name, show in _TABLES:
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(value, getattr(loaded, name, ())):
            return show(value)
    return None


def _array(array: Any) -> str:
    corner = array[tuple(slice(0, 4) for _ in array.shape)] if array.ndim else array
    shape = " × ".join(map(str, array.shape)) or "a scalar"
    more = "\n…" if corner.size < array.size else ""
    return f"{type(array).__name__}, {shape}, {array.dtype}\n{_short_lines(str(corner))}{more}"


def _frame(frame: Any) -> str:
    rows, columns = frame.shape
    names = [f"{name}: {dtype}" for name, dtype in islice(zip(frame.columns, frame.dtypes, strict=False), _COLUMNS)]
    names += [f"… {columns - _COLUMNS:,} more"] if columns > _COLUMNS else []
    head = frame.iloc[:_ROWS, :_COLUMNS].to_string(max_colwidth=40)
    return f"{type(frame).__name__}, {rows:,} rows × {columns:,} columns\n{', '.join(names)}\n{_short_lines(head)}"


def _series(series: Any) -> str:
    head = series.iloc[:_ROWS].to_frame().to_string(header=False, max_colwidth=80)
    return f"Series {series.name!r}, {len(series):,} rows, {series.dtype}\n{_short_lines(head)}"


def _index(index: Any) -> str:
    return f"{type(index).__name__} {index.name!r}, {len(index):,} labels, {index.dtype}\n{list(index[:_ROWS])!r}"


def _arrow(table: Any) -> str:
    names = [f"{field.name}: {field.type}" for field in islice(table.schema, _COLUMNS)]
    names += [f"… {table.num_columns - _COLUMNS:,} more"] if table.num_columns > _COLUMNS else []
    return f"pyarrow.Table, {table.num_rows:,} rows × {table.num_columns:,} columns\n{', '.join(names)}"


def _short_lines(text: str) -> str:
    return text if len(text) <= LIMIT // 2 else text[: LIMIT // 2] + "…"


_TABLES: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("numpy", "ndarray", _array),
    ("pandas", "DataFrame", _frame),
    ("pandas", "Series", _series),
    ("pandas", "Index", _index),
    ("pyarrow", "Table", _arrow),
)
