"""JSON with tags: {"$": "datetime", "v": ...} for the values JSON has no words for, readable in the log.

The tags of this file name types of the standard library, fixed in the table below, so reading them runs nothing else
and needs no trust. The tags of classes.py need an import and make the text a text of the codec "classes".
"""

from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import isfinite
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from durable_nb.codec import classes
from durable_nb.codec.plain import KEY, MAX_DEPTH, dumps, loads

Node = dict[str, Any]


class NotTaggable(Exception):
    """Some part of the value has no tag; another codec must take the whole."""


def encode(value: object) -> tuple[bytes, bool]:
    """The JSON of a value and whether reading it needs its classes; NotTaggable when it would come back changed."""
    writer = _Writer()
    tree = writer.value(value)
    return dumps(tree), writer.needs_classes


def decode(text: bytes | bytearray, *, with_classes: bool) -> Any:
    """The value of a text; raises whatever the text provokes (the door turns that into Corrupt)."""
    tree = loads(text)
    # A text without the key holds no tag: read at C speed.
    return _Reader(with_classes).value(tree) if b'"$"' in text else tree


class _Writer:
    """One walk over one value."""

    def __init__(self) -> None:
        self.needs_classes = False
        self._depth = 0

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return _text_node(value)
        if kind is bool or value is None:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**64 else {KEY: "int", "v": hex(value)}
        if kind is float:
            return value if isfinite(value) else {KEY: "float", "v": str(value)}
        if self._depth == MAX_DEPTH:
            raise NotTaggable
        self._depth += 1
        write = _WRITERS.get(kind)
        node = self._of_class(value) if write is None else write(self, value)
        self._depth -= 1
        return node

    def values(self, items: Any) -> list[Any]:
        return list(map(self.value, items))

    def pairs(self, items: Any) -> list[list[Any]]:
        return list(map(self.values, items))

    def mapping(self, items: dict[Any, Any]) -> Node:
        if KEY in items or not all(type(key) is str and _is_clean(key) for key in items):
            return {KEY: "dict", "v": self.pairs(items.items())}
        return dict(zip(items, map(self.value, items.values()), strict=True))

    def ordered(self, items: Any) -> list[Any]:
        """The members of a set in an order that does not depend on hashes: equal sets have equal bytes."""
        return sorted(map(self.value, items), key=dumps)

    def _of_class(self, value: Any) -> Node:
        node = classes.write(value, self.value)
        if node is None:
            raise NotTaggable
        self.needs_classes = True
        return node


def _is_clean(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_node(text: str) -> Any:
    return text if _is_clean(text) else {KEY: "str", "v": text.encode("unicode_escape").decode("ascii")}


def _write_datetime(writer: _Writer, moment: datetime) -> Node:
    return {KEY: "datetime", "v": moment.replace(tzinfo=None).isoformat()} | _zone(moment.tzinfo, moment.fold)


def _write_time(writer: _Writer, moment: time) -> Node:
    return {KEY: "time", "v": moment.replace(tzinfo=None).isoformat()} | _zone(moment.tzinfo, moment.fold)


def _zone(zone: Any, fold: int) -> Node:
    node: Node = {"fold": 1} if fold else {}
    if zone is None:
        return node
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        node["offset"] = [offset.days, offset.seconds, offset.microseconds]
        return node | {"name": _text_node(name[0])} if name else node
    if type(zone) is ZoneInfo and _is_findable(zone):
        return node | {"zone": zone.key}
    raise NotTaggable


def _is_findable(zone: ZoneInfo) -> bool:
    """Whether the key leads to this very zone; one read from a file of the user's need not have a key at all."""
    try:
        return ZoneInfo(zone.key) is zone
    except (KeyError, ValueError, TypeError, OSError):
        return False


def _read_zone(node: Node, reader: "_Reader") -> Any:
    if "zone" in node:
        return ZoneInfo(node["zone"])
    if "offset" not in node:
        return None
    if node["offset"] == [0, 0, 0] and "name" not in node:
        return UTC
    return timezone(timedelta(*node["offset"]), *([reader.value(node["name"])] if "name" in node else []))


def _read_datetime(reader: "_Reader", node: Node) -> datetime:
    return datetime.fromisoformat(node["v"]).replace(tzinfo=_read_zone(node, reader), fold=node.get("fold", 0))


def _read_time(reader: "_Reader", node: Node) -> time:
    return time.fromisoformat(node["v"]).replace(tzinfo=_read_zone(node, reader), fold=node.get("fold", 0))


def _write_uuid(writer: _Writer, value: UUID) -> Node:
    node: Node = {KEY: "UUID", "v": str(value)}
    return node if value.is_safe is SafeUUID.unknown else node | {"safe": value.is_safe.value}


def _read_uuid(reader: "_Reader", node: Node) -> UUID:
    return UUID(node["v"], is_safe=SafeUUID(node.get("safe")))


def _write_path(writer: _Writer, path: Any) -> Node:
    return {KEY: "path", "t": type(path).__name__, "v": writer.value(str(path))}


def _read_path(reader: "_Reader", node: Node) -> Any:
    kind = _PATHS[node["t"]]
    try:
        return kind(reader.value(node["v"]))
    except NotImplementedError:  # a log from the other system: the pure path can still be looked at
        return (PureWindowsPath if kind is WindowsPath else PurePosixPath)(reader.value(node["v"]))


def _write_slice(writer: _Writer, value: slice) -> Node:
    return {KEY: "slice", "v": writer.values((value.start, value.stop, value.step))}


def _write_ordered_dict(writer: _Writer, value: Any) -> Node:
    if vars(value):  # an attribute somebody hung on it
        raise NotTaggable
    return {KEY: type(value).__name__, "v": writer.pairs(value.items())}


def _write_defaultdict(writer: _Writer, value: defaultdict[Any, Any]) -> Node:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if name is not None and _FACTORIES.get(name) is not factory:
        raise NotTaggable
    return {KEY: "defaultdict", "f": name, "v": writer.pairs(value.items())}


def _read_defaultdict(reader: "_Reader", node: Node) -> Any:
    factory = None if node["f"] is None else _FACTORIES[node["f"]]
    return defaultdict(factory, map(reader.values, node["v"]))


def _write_deque(writer: _Writer, value: deque[Any]) -> Node:
    return {KEY: "deque", "v": writer.values(value), "maxlen": value.maxlen}


_PATHS: Final[dict[str, Any]] = {
    kind.__name__: kind for kind in (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
}
_FACTORIES: Final[dict[str, Any]] = {kind.__name__: kind for kind in (list, dict, set, int, float, str, bool, tuple)}

_WRITERS: dict[type, Callable[[_Writer, Any], Any]] = {
    list: _Writer.values,
    dict: _Writer.mapping,
    tuple: lambda writer, value: {KEY: "tuple", "v": writer.values(value)},
    set: lambda writer, value: {KEY: "set", "v": writer.ordered(value)},
    frozenset: lambda writer, value: {KEY: "frozenset", "v": writer.ordered(value)},
    bytes: lambda writer, value: {KEY: "bytes", "v": b64encode(value).decode()},
    bytearray: lambda writer, value: {KEY: "bytearray", "v": b64encode(value).decode()},
    complex: lambda writer, value: {KEY: "complex", "v": writer.values((value.real, value.imag))},
    range: lambda writer, value: {KEY: "range", "v": writer.values((value.start, value.stop, value.step))},
    slice: _write_slice,
    datetime: _write_datetime,
    date: lambda writer, value: {KEY: "date", "v": value.isoformat()},
    time: _write_time,
    timedelta: lambda writer, value: {KEY: "timedelta", "v": [value.days, value.seconds, value.microseconds]},
    Decimal: lambda writer, value: {KEY: "Decimal", "v": str(value)},
    UUID: _write_uuid,
    OrderedDict: _write_ordered_dict,
    Counter: _write_ordered_dict,
    defaultdict: _write_defaultdict,
    deque: _write_deque,
}
_WRITERS.update(dict.fromkeys(_PATHS.values(), _write_path))


class _Reader:
    """One walk over one tree; a list and a plain dict take one frame a level, a tag two."""

    def __init__(self, with_classes: bool) -> None:
        self._with_classes = with_classes

    def value(self, node: Any) -> Any:
        if type(node) is list:
            return list(map(self.value, node))
        if type(node) is not dict:
            return node
        tag = node.get(KEY)
        if tag is None:
            return dict(zip(node, map(self.value, node.values()), strict=True))
        read = _READERS.get(tag)
        if read is not None:
            return read(self, node)
        if not self._with_classes:
            raise ValueError(f"the tag {tag!r} is not one of the codec json")
        return classes.READERS[tag](node, self.value)

    def values(self, nodes: Any) -> Any:
        return map(self.value, nodes)


_READERS: Final[dict[str, Callable[[_Reader, Node], Any]]] = {
    "int": lambda reader, node: int(node["v"], 16),
    "float": lambda reader, node: float(node["v"]),
    "str": lambda reader, node: node["v"].encode("ascii").decode("unicode_escape"),
    "dict": lambda reader, node: dict(map(reader.values, node["v"])),
    "tuple": lambda reader, node: tuple(map(reader.value, node["v"])),
    "set": lambda reader, node: set(map(reader.value, node["v"])),
    "frozenset": lambda reader, node: frozenset(map(reader.value, node["v"])),
    "bytes": lambda reader, node: b64decode(node["v"], validate=True),
    "bytearray": lambda reader, node: bytearray(b64decode(node["v"], validate=True)),
    "complex": lambda reader, node: complex(*map(reader.value, node["v"])),
    "range": lambda reader, node: range(*map(reader.value, node["v"])),
    "slice": lambda reader, node: slice(*map(reader.value, node["v"])),
    "datetime": _read_datetime,
    "date": lambda reader, node: date.fromisoformat(node["v"]),
    "time": _read_time,
    "timedelta": lambda reader, node: timedelta(*node["v"]),
    "Decimal": lambda reader, node: Decimal(node["v"]),
    "UUID": _read_uuid,
    "path": _read_path,
    "OrderedDict": lambda reader, node: OrderedDict(map(reader.values, node["v"])),
    "Counter": lambda reader, node: Counter(dict(map(reader.values, node["v"]))),
    "defaultdict": _read_defaultdict,
    "deque": lambda reader, node: deque(map(reader.value, node["v"]), node["maxlen"]),
}
