"""Draws the figures as one table, or as JSON."""

import json
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.rows import BARE, OURS, PEERS, Figures

NONE = "–"
AHEAD = 20  # how many times as fast as the peers we want to be
NOTES = """\
bare: one begin immediate, one insert … select and one commit for each commit of a lone run, in pysqlite3, WAL, NORMAL
for process and FULL for full; a one-step run is three of them. of bare: our speed beside it, the median of each round's
ratio; above 100 % comes from group commit. DBOS: WAL with NORMAL or FULL, its mailboxes looked at each 10 ms, set by us
(faster than as shipped). duroxide: NORMAL in every row, the best settings for each row. Kishu: in a kernel without a
page, which saves it the storing of the notebook. over plain: the median cell less the median of plain cells in the same
kernel, as a front end sees it. ahead: our speed beside the fastest of them; of files, how many times smaller."""


def draw(all_figures: list[Figures], versions: dict[str, str], rounds: int) -> None:
    """Print the table and how to read it."""
    table = Table(title=f"durable_nb bench, medians of {rounds} interleaved rounds", title_justify="left")
    table.add_column("work", no_wrap=True)
    table.add_column("durability", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for heading in ("ours", "bare", "of bare", *(_named(peer, versions) for peer in PEERS), "ahead"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("reach", no_wrap=True)
    table.add_column("", no_wrap=True)
    for figures in all_figures:
        table.add_row(*_cells(figures))
    # Outside a terminal rich would squeeze the table into 80 columns.
    screen = Console()
    console = screen if screen.is_terminal else Console(width=190)
    console.print(table)
    console.print(NOTES, style="dim", highlight=False, soft_wrap=True)
    for figures in all_figures:
        ahead = figures.times_ahead()
        is_behind = ahead is not None and ahead < AHEAD
        if figures.row.why_not_more and (is_behind or _is_reached(figures) is False):
            name = f"{figures.row.work} {figures.row.durability}".rstrip()
            beside = f", {_number(ahead)} × ahead" if is_behind else ""
            console.print(f"{name}{beside}: {figures.row.why_not_more}", highlight=False, soft_wrap=True)


def write_json(path: Path, all_figures: list[Figures], versions: dict[str, str]) -> None:
    """The same figures, every round, for a program to read."""
    rows = [
        {
            "work": figures.row.work,
            "durability": figures.row.durability,
            "unit": figures.row.unit,
            "medians": {name: figures.of(name) for name in (OURS, BARE, *PEERS)},
            "rounds": figures.rounds,
            "speed_beside_bare": figures.speed_beside(OURS, BARE),
            "times_ahead": figures.times_ahead(),
            "reach": figures.row.reach,
            "is_reached": _is_reached(figures),
        }
        for figures in all_figures
    ]
    machine = {"python": platform.python_version(), "system": platform.platform(), "versions": versions}
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2, ensure_ascii=False) + "\n")


def _named(peer: str, versions: dict[str, str]) -> str:
    return f"{peer} {versions[peer]}" if peer in versions else peer


def _cells(figures: Figures) -> tuple[str, ...]:
    beside_bare, ahead = figures.speed_beside(OURS, BARE), figures.times_ahead()
    is_reached = _is_reached(figures)
    return (
        figures.row.work,
        figures.row.durability,
        figures.row.unit,
        _number(figures.of(OURS)),
        _number(figures.of(BARE)),
        NONE if beside_bare is None else f"{beside_bare:.0%}",
        *(_number(figures.of(peer)) for peer in PEERS),
        NONE if ahead is None else f"{_number(ahead)} ×",
        figures.row.reach,
        "" if is_reached is None else "[green]yes[/]" if is_reached else "[red]no[/]",
    )


def _is_reached(figures: Figures) -> bool | None:
    if figures.row.is_reached is None or figures.of(OURS) is None:
        return None
    return figures.row.is_reached(figures)


def _number(value: float | None) -> str:
    if value is None:
        return NONE
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}" if value < 1 else f"{value:.2f}"
