"""Values of the log for looking: their JSON or their preview, never what they decode to."""

from typing import Any

import msgspec
from msgspec import Raw

from durable_nb.codec.preview import preview_json
from durable_nb.history.failure import Failure
from durable_nb.history.values import ARGUMENTS, Value, inner_values

_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def value_text(value: Value) -> str:
    """What the value looks like, with its codec and size where it is not plain."""
    if value.codec == ARGUMENTS:
        return arguments_text(value)
    if value.is_plain:
        return preview_json(bytes(value.json))
    return f"{value.preview or '…'} [{value.codec}, {size_text(value.size)}]"


def value_form(value: Value) -> dict[str, Any]:
    """The value as plain data: its own JSON, or codec, size and preview."""
    if value.is_plain:
        return {"codec": value.codec, "json": msgspec.json.decode(value.json)}
    return {"codec": value.codec, "size": value.size, "preview": value.preview}


def named(value: Value) -> dict[str, Value]:
    """Arguments by name, each still undecoded."""
    if value.codec == ARGUMENTS:
        return inner_values(value)
    return {name: Value(json=json) for name, json in msgspec.json.decode(value.json, type=dict[str, Raw]).items()}


def arguments_text(value: Value) -> str:
    """'order='a', amount=9.5'."""
    return ", ".join(f"{name}={value_text(one)}" for name, one in named(value).items())


def arguments_form(value: Value) -> dict[str, Any]:
    return {name: value_form(one) for name, one in named(value).items()}


def failure_form(failure: Failure) -> dict[str, Any]:
    """The failure as plain data; the stored exception itself stays where it is."""
    return {
        "message": failure.message,
        "traceback": failure.traceback,
        "type": failure.type,
        "where": failure.where,
    }


def size_text(size: int) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
