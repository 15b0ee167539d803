"""Prints the speed table. `PEERS=1` measures DBOS and duroxide in the same session; nothing here asserts on time."""

import argparse
import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from tests.bench import peers
from tests.bench.measure import Contender, MeasurementFailed, figure_of
from tests.bench.rows import BARE, DBOS, DUROXIDE, OURS, ROWS, Figures, Row
from tests.bench.table import draw, write_json

# Replay alone can be called in ours only; 50,000 steps take the peers minutes, and duroxide 5,000 as well.
NOT_DBOS = frozenset({"replay", "replay_branches", "cost", "huge_resume"})
NOT_DUROXIDE = NOT_DBOS | {"long_resume"}
NOT_BARE = frozenset({"replay", "replay_branches", "signal_across", "waiting_until", "waiting_memory"})
SLOW_SECONDS = 20.0  # what takes longer is measured once


def contenders() -> list[Contender]:
    """Ours and the bare loop, and with PEERS=1 the peers, in the order they take turns."""
    here = Path(sys.executable)
    found = [
        Contender(OURS, here, "tests.bench.ours", "from durable_nb import connect, flow, step"),
        Contender(BARE, here, "tests.bench.bare", "import pysqlite3", NOT_BARE),
    ]
    if os.environ.get("PEERS", "0") not in ("", "0"):
        found += [
            Contender(DBOS, peers.python_of(DBOS), "tests.bench.peer_dbos", "from dbos import DBOS", NOT_DBOS),
            Contender(
                DUROXIDE, peers.python_of(DUROXIDE), "tests.bench.peer_duroxide", "import duroxide", NOT_DUROXIDE
            ),
        ]
    return found


def versions_of(found: list[Contender]) -> dict[str, str]:
    """Which versions stand in the table."""
    versions = {c.name: peers.version_of(c.python, c.name) for c in found if c.name in (DBOS, DUROXIDE)}
    try:
        versions[OURS] = version("durable_nb")
    except PackageNotFoundError:
        versions[OURS] = "not installed"
    return versions


def measure_row(row: Row, found: list[Contender], rounds: int, failures: dict[str, str]) -> Figures:
    """The rounds of one row: everybody's first, then everybody's second, because the machine is never equally busy."""
    figures = Figures(row)
    finished: set[str] = set()
    for _ in range(rounds):
        for contender in found:
            if contender.name in finished or not contender.takes_part(row):
                continue
            began = time.perf_counter()
            try:
                figures.rounds.setdefault(contender.name, []).append(figure_of(contender, row))
            except MeasurementFailed as failed:
                failures[f"{contender.name}, {row.work} {row.durability}".rstrip()] = str(failed)
                finished.add(contender.name)
            if time.perf_counter() - began > SLOW_SECONDS:
                finished.add(contender.name)
    return figures


def chosen_rows(only: str | None) -> list[Row]:
    return [row for row in ROWS if only is None or only in f"{row.work} {row.phase} {row.durability}"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender is measured (default 3)")
    parser.add_argument("--only", metavar="TEXT", help="only the rows whose name contains TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to FILE")
    options = parser.parse_args()
    found = contenders()
    versions = versions_of(found)
    failures: dict[str, str] = {}
    all_figures: list[Figures] = []
    console = Console(stderr=True)
    for row in chosen_rows(options.only):
        console.print(f"measuring {row.work} {row.durability}".rstrip(), style="dim", highlight=False)
        all_figures.append(measure_row(row, found, options.rounds, failures))
    draw(all_figures, versions, options.rounds)
    for name, reason in failures.items():
        console.print(f"not measured: {name}: {reason}", style="red", highlight=False, markup=False, soft_wrap=True)
    if options.json is not None:
        write_json(options.json, all_figures, versions)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
