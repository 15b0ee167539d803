"""The options of one `%%durable`, checked."""

import datetime
import re
import typing
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple

from durable_nb.durations import seconds
from durable_nb.errors import BadOption

POLICIES = ("inputs", "code", "always", "never", "ask")
_NAME = re.compile(r"[^\W\d][\w.\-]*")


class Awaited(NamedTuple):
    """A signal that the cell waits for: its name, its type as written, and the type."""

    name: str
    spelled: str
    type: Any


class CellOptions(NamedTuple):
    """What stands behind `%%durable`."""

    name: str | None = None
    attempts: int = 1
    timeout: float | None = None
    delay: float = 0.0
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    awaited: tuple[Awaited, ...] = ()
    reuse: str = "inputs"
    plan: bool = False
    crash_test: bool = False
    quiet: bool = False


def checked(given: Namespace, namespace: Mapping[str, Any], reuse: str, quiet: bool) -> CellOptions:
    """The options as they were parsed, with the types of signals found in the namespace; BadOption."""
    name = given.name
    if name is not None and not _NAME.fullmatch(name):
        raise BadOption(f"{name!r} is no name for a durable cell; take letters, digits, `_`, `-` or `.`")
    return CellOptions(
        name=name,
        attempts=_attempts(given.retry),
        timeout=_positive("--timeout", given.timeout),
        delay=_span("--delay", given.delay) if given.delay else 0.0,
        inputs=_names("--in", given.inputs),
        outputs=_names("--out", given.outputs),
        awaited=tuple(_awaited(one, namespace) for one in given.awaited or ()),
        reuse=given.reuse or reuse,
        plan=given.plan,
        crash_test=given.crash_test,
        quiet=given.quiet or quiet,
    )


def _attempts(given: int | None) -> int:
    if given is not None and given < 1:
        raise BadOption(f"--retry {given}: at least one attempt is needed")
    return given or 1


def _positive(option: str, given: str | None) -> float | None:
    if given is None:
        return None
    span = _span(option, given)
    if span <= 0:
        raise BadOption(f"{option} {given}: a cell needs some time")
    return span


def _span(option: str, given: str) -> float:
    try:
        return seconds(given)
    except BadOption as error:
        raise BadOption(f"{option}: {error}") from None


def _names(option: str, given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    for name in names:
        if not name.isidentifier():
            raise BadOption(f"{option} {given}: {name!r} is not the name of a variable")
    return names


def _awaited(given: str, namespace: Mapping[str, Any]) -> Awaited:
    """`approve` or `approve:bool`; the type is an expression of the notebook."""
    name, _, spelled = given.partition(":")
    if not name.isidentifier():
        raise BadOption(f"--await {given}: {name!r} is not a name; the signal's value becomes a variable of that name")
    if not spelled:
        return Awaited(name, "any value", Any)
    scope = {"Any": Any, **_typing(), **namespace}
    try:
        return Awaited(name, spelled, eval(spelled, scope))
    except Exception as error:  # noqa: BLE001 - it is an expression of the user
        raise BadOption(f"--await {given}: the type {spelled!r} is not known here ({error})") from None


def _typing() -> dict[str, Any]:
    return {
        "Literal": typing.Literal,
        "Optional": typing.Optional,
        "datetime": datetime.datetime,
        "date": datetime.date,
    }
