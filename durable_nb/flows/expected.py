"""What a flow expects of a signal: the type it wrote, the schema a form is made of, and whether a value fits."""

from collections.abc import Mapping, Sequence
from typing import Any, get_origin

import msgspec

from durable_nb.errors import BadOption, SignalRejected
from durable_nb.history.events import ANYTHING

_NAME_LIMIT = 200


class Expected:
    """The type of a signal."""

    __slots__ = ("schema", "type")

    def __init__(self, type: Any) -> None:
        self.type = type
        self.schema = schema_of(type)

    def convert(self, value: Any) -> Any:
        """The value as the type: itself, or made from plain data. SignalRejected when it does not fit."""
        if self.type in (Any, object) or value.__class__ is self.type:
            return value
        try:
            if hasattr(self.type, "model_validate"):
                return self.type.model_validate(value)
            return msgspec.convert(value, self.type)
        except (msgspec.ValidationError, TypeError, ValueError) as cause:
            raise SignalRejected(f"{_short(value)} does not fit {spelled(self.type)}: {cause}") from None


def checked_mailbox(name: object) -> str:
    """The name of a mailbox, or BadOption."""
    if not isinstance(name, str) or not 1 <= len(name) <= _NAME_LIMIT or not name.isprintable():
        raise BadOption(f"a signal's name is printable text of 1 to {_NAME_LIMIT} characters, not {name!r:.60}")
    return name


def schema_of(type: Any) -> msgspec.Raw:
    """The JSON schema of a type, null where it has none (any value, or a class that only Python knows)."""
    if type in (Any, object, None):
        return ANYTHING
    try:
        schema = type.model_json_schema() if hasattr(type, "model_json_schema") else msgspec.json.schema(type)
    except TypeError:
        return ANYTHING
    return msgspec.Raw(msgspec.json.encode(schema))


def misfit(schema: Mapping[str, Any], value: Any, whole: Mapping[str, Any] | None = None) -> str | None:
    """How a plain value fails the schema, None when nothing says that it does: what a sender can tell without the class."""
    whole = whole if whole is not None else schema
    if "$ref" in schema:
        return misfit(_referred(whole, str(schema["$ref"])), value, whole)
    if "anyOf" in schema:
        found = [misfit(each, value, whole) for each in schema["anyOf"]]
        return None if None in found else found[0]
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return None if value in allowed else f"{_short(value)} is none of {', '.join(map(repr, allowed))}"
    wanted = schema.get("type")
    if wanted is not None and not any(_is(value, each) for each in ([wanted] if isinstance(wanted, str) else wanted)):
        return f"{_short(value)} is not {_ARTICLE.get(str(wanted), wanted)}"
    return _inner_misfit(schema, value, whole)


def spelled(type: Any) -> str:
    """A type as users write it."""
    return str(getattr(type, "__name__", type)) if get_origin(type) is None else str(type).replace("typing.", "")


def _inner_misfit(schema: Mapping[str, Any], value: Any, whole: Mapping[str, Any]) -> str | None:
    if isinstance(value, Mapping):
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return f"{', '.join(map(repr, missing))} missing"
        for name, inner in schema.get("properties", {}).items():
            found = misfit(inner, value[name], whole) if name in value else None
            if found is not None:
                return f"{name!r}: {found}"
    elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            found = misfit(schema["items"], item, whole)
            if found is not None:
                return f"item {index}: {found}"
    return None


def _referred(whole: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    found: Any = whole
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _is(value: Any, wanted: str) -> bool:
    if wanted == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return wanted not in _CLASSES or isinstance(value, _CLASSES[wanted])


_CLASSES: dict[str, Any] = {
    "boolean": bool,
    "string": str,
    "null": type(None),
    "array": list | tuple | set | frozenset,
    "object": Mapping,
}
_ARTICLE = {
    "boolean": "true or false",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
