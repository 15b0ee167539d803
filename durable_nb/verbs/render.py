"""Plain data to something readable. On a terminal with colours, elsewhere as whole, plain lines."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from durable_nb.verbs.reading import Plain

_WIDE = 20_000  # columns where nothing may be cut or folded
_STYLES = {
    "completed": "green",
    "failed": "red",
    "parked": "magenta",
    "paused": "yellow",
    "running": "cyan",
    "attention": "yellow",
    "broken": "red",
    "fine": "green",
}
# Text of a log is somebody else's: nothing in it may steer the terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def clean(text: object) -> str:
    return str(text).translate(_CONTROLS)


def one_line(text: object) -> str:
    return " ".join(clean(text).split())


def text_of(text: object, style: str = "") -> Text:
    return Text(clean(text), style=style)


def status_of(status: str) -> Text:
    return Text(clean(status), style=_STYLES.get(status, ""))


def table_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Columns without lines around them; too long a cell is folded on a terminal, never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else text_of(cell) for cell in row))
    return table


def section(title: str, *parts: RenderableType) -> Group:
    return Group(Text(), Text(title, style="bold"), *parts)


def print_out(shown: RenderableType) -> None:
    """To standard output."""
    if sys.stdout.isatty():
        Console(highlight=False, markup=False, emoji=False).print(shown, soft_wrap=isinstance(shown, Text))
        return
    click.echo(plain_text(shown))


def plain_text(shown: RenderableType) -> str:
    """Whole lines without colours."""
    console = Console(
        width=_WIDE,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=True,
    )
    with console.capture() as captured:
        console.print(shown)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def say_error(text: str) -> None:
    """One red line on standard error."""
    click.secho(one_line(text), fg="red", err=True)


def whole_seconds(at: str | None) -> str:
    """'2026-11-20 14:02:11' of a moment in JSON."""
    return "" if at is None else at[:19].replace("T", " ")


def milliseconds(at: str) -> str:
    return at[:23].replace("T", " ")


def spread(data: Plain) -> str:
    """'order='a', amount=9.5' of arguments in JSON form."""
    return ", ".join(f"{name}={value_words(value)}" for name, value in data.items())


def value_words(value: dict[str, Any]) -> str:
    if "json" in value:
        return str(value["json"]) if not isinstance(value["json"], str) else repr(value["json"])
    return f"{value['preview']} [{value['codec']}, {value['size']:,} bytes]"
