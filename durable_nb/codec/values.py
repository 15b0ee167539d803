"""The door of the codec room: a value to bytes and back, equal and of the same type.

Tried in this order: the user's codecs, plain JSON, JSON with tags, npy and Arrow, cloudpickle. Shared references
inside a value may come back as copies; a value that contains itself goes to cloudpickle, which keeps them.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from durable_nb.codec import frames, pickles, tags
from durable_nb.codec.chunks import Part, Stream
from durable_nb.codec.plain import loads, plain_json
from durable_nb.errors import BadOption, Corrupt, Unstorable, Untrusted

__all__ = [
    "SAFE", "Encoded", "InParts", "decode", "encode", "encode_as", "encode_parts", "encode_parts_as", "plain_json",
    "register",
]  # fmt: skip

SAFE: Final = "json"
"""The only codec that is decoded without trust."""

CLASSES: Final = "classes"
_OWN: Final = frozenset({SAFE, CLASSES, "npy", "arrow", "pickle"})


class Encoded(NamedTuple):
    """A value as it lies in the log."""

    codec: str
    data: bytes


class InParts(NamedTuple):
    """The same, of which large parts are the value's own memory: to be used before the value changes."""

    codec: str
    parts: list[Part]


class _Codec(NamedTuple):
    name: str
    accepts: Callable[[object], bool]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


_registered: tuple[_Codec, ...] = ()


def register(
    name: str,
    accepts: Callable[[object], bool],
    encode: Callable[[Any], bytes],
    decode: Callable[[bytes], Any],
) -> None:
    """Add a codec for whole values, tried before the built-in ones, the newest first; the same name replaces.

    `accepts` sees every value that is stored, so it should be a test of the type. The name is written into the log:
    every process that reads it must register the same name.
    """
    global _registered
    if name in _OWN or not name.isidentifier():
        raise BadOption(f"a codec cannot be named {name!r}; take an identifier other than {', '.join(sorted(_OWN))}")
    _registered = (_Codec(name, accepts, encode, decode), *(codec for codec in _registered if codec.name != name))


def encode(value: object, what: str = "the value") -> Encoded:
    """The bytes of a value and the codec that reads them; Unstorable names `what` and the path inside the value."""
    return _joined(encode_parts(value, what))


def encode_parts(value: object, what: str = "the value") -> InParts:
    """The same without a copy of what is large."""
    for codec in _registered:
        if codec.accepts(value):
            return InParts(codec.name, [_encode_registered(codec, value, what)])
    data = plain_json(value)
    if data is not None:
        return InParts(SAFE, [data])
    try:
        return _encode_tagged(value) or _encode_frame(value) or InParts("pickle", pickles.encode(value, what))
    except RuntimeError as error:
        if "changed size" not in str(error):
            raise
        raise Unstorable(f"{what} cannot be stored: it was changed by another thread meanwhile") from error


def _joined(found: InParts) -> Encoded:
    return Encoded(found.codec, b"".join(found.parts))


def _encode_registered(codec: _Codec, value: object, what: str) -> bytes:
    try:
        return codec.encode(value)
    except MemoryError:
        raise
    except Exception as error:  # the codec is the user's code: whatever it raises, the value was not encoded
        raise Unstorable(f"{what} cannot be stored: the codec {codec.name!r} failed: {error}") from error


def encode_as(codec: str, value: object, what: str = "the value") -> Encoded:
    """The bytes of a value in the codec that the user has chosen; Unstorable when it does not take the value."""
    return _joined(encode_parts_as(codec, value, what))


def encode_parts_as(codec: str, value: object, what: str = "the value") -> InParts:
    """The same without a copy of what is large."""
    for registered in _registered:
        if registered.name == codec:
            return InParts(codec, [registered.encode(value)])
    if codec == "pickle":
        return InParts(codec, pickles.encode(value, what))
    if codec not in _OWN:
        known = sorted({*_OWN, *(registered.name for registered in _registered)})
        raise BadOption(f"there is no codec {codec!r}; known are {', '.join(known)}")
    found = encode_parts(value, what)
    if found.codec != codec:
        raise Unstorable(f"{what} cannot be stored as {codec}: it is {type(value).__name__}, which needs {found.codec}")
    return found


def _encode_tagged(value: object) -> InParts | None:
    try:
        text, needs_classes = tags.encode(value)
    except (tags.NotTaggable, RecursionError):
        return None
    return InParts(CLASSES if needs_classes else SAFE, [text])


def _encode_frame(value: object) -> InParts | None:
    found = frames.encode(value)
    return found and InParts(*found)


def decode(codec: str, data: bytes | Stream) -> Any:
    """The value again; Corrupt, with the cause, when the bytes are not those of such a value.

    Only SAFE may be decoded without trust: every other codec can import or run what the log names.
    """
    try:
        if codec == "pickle":
            return pickles.decode(data)
        if isinstance(data, Stream):
            return _read(codec, data.rest())
        return _read(codec, data)
    except (MemoryError, Corrupt, Untrusted):
        raise
    except Exception as error:  # the bytes may be anything, and classes of users run here
        raise Corrupt(f"a value stored as {codec} cannot be read: {type(error).__name__}: {error}") from error


def _read(codec: str, data: bytes | bytearray) -> Any:
    if codec == SAFE:
        return tags.decode(data, with_classes=False) if b'"$"' in data else loads(data)
    if codec in _READERS:
        return _READERS[codec](data)
    for registered in _registered:
        if registered.name == codec:
            return registered.decode(bytes(data))
    raise Corrupt(
        f"a value was stored with the codec {codec!r}, which nobody registered here; import what registers it"
    )


def _decode_classes(data: bytes | bytearray) -> Any:
    return tags.decode(data, with_classes=True)


_READERS: Final[dict[str, Callable[[bytes | bytearray], Any]]] = {
    CLASSES: _decode_classes,
    "npy": frames.decode_array,
    "arrow": frames.decode_arrow,
}
