"""Values as people type them on a command line."""

from typing import Any

import msgspec

from durable_nb.errors import BadOption


def value_of(text: str) -> Any:
    """What is JSON is that, anything else is text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def named(text: str, option: str) -> tuple[str, Any]:
    """name=value."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadOption(f"{option} {text!r} is not name=value")
    return name, value_of(value)
