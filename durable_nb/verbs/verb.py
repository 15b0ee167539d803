"""What a verb is: everything that the shell and the notebook need to offer it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import click
from rich.console import RenderableType

from durable_nb.verbs.exits import Exit

On = Literal["app", "log", "perhaps", "named", "nothing"]
"""What `call` gets first: an open app, the path of an existing log, the path or None, that which was named, or nothing."""


def _done(data: Any) -> Exit:
    return Exit.DONE


@dataclass(frozen=True, slots=True)
class Verb:
    """`call` gives plain data, `show` makes it readable. `keys` documents the JSON; without them there is no --json."""

    name: str
    help: str
    call: Callable[..., Any]
    show: Callable[[Any], RenderableType | None]
    on: On = "app"
    params: tuple[Callable[[], click.Parameter], ...] = ()
    keys: tuple[str, ...] = ()
    is_lines: bool = False  # an iterator: one object, and one line, after another
    exit_code: Callable[[Any], Exit] = _done


def argument(name: str, **more: Any) -> Callable[[], click.Parameter]:
    """An argument; made anew for every command that is built of the verb."""
    return lambda: click.Argument([name], **more)


def option(*names: str, **more: Any) -> Callable[[], click.Parameter]:
    return lambda: click.Option(names, **more)


RUN = argument("id", metavar="ID")
STATUSES = ("pending", "running", "waiting", "paused", "parked", "completed", "failed", "cancelled")
