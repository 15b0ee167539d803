"""Prints the speed table. `PEERS=1` measures DBOS, duroxide and Kishu in the same session; nothing here asserts on time."""

import argparse
import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from tests.bench import peers
from tests.bench.measure import Contender, MeasurementFailed, figure_of
from tests.bench.rows import BARE, DBOS, DUROXIDE, KISHU, OURS, PEERS, ROWS, Figures, Row
from tests.bench.table import draw, write_json

# Cells and what is theirs alone.
OF_CELLS = frozenset({"cells", "cells_restored", "cells_size", "session", "session_size", "session_restored", "load"})
OURS_ALONE = frozenset(
    {"cells_many", "cells_drift", "frame_restored", "frame_put", "digest", "page", "page_waiting"}
    | {"replay", "replay_branches"}
)
# 50,000 steps take the peers minutes, and duroxide 5,000 as well; so do 1,000 cells Kishu.
NOT_DBOS = OURS_ALONE | OF_CELLS | {"cost", "huge_resume"}
NOT_DUROXIDE = NOT_DBOS | {"long_resume"}
NOT_KISHU = frozenset(row.phase for row in ROWS) - OF_CELLS
NOT_BARE = (OURS_ALONE | OF_CELLS | {"signal_across", "waiting_until", "waiting_memory"}) - {"cells", "cells_many"}
SLOW_SECONDS = 20.0  # what takes longer is measured once


def contenders(rows: list[Row]) -> list[Contender]:
    """Ours and the bare loop, and with PEERS=1 the peers of these rows, in the order they take turns."""
    here = Path(sys.executable)
    found = [
        Contender(OURS, here, "tests.bench.ours", "from durable_nb import connect, flow, step"),
        Contender(BARE, here, "tests.bench.bare", "import pysqlite3", NOT_BARE),
    ]
    if os.environ.get("PEERS", "0") in ("", "0"):
        return found
    for name, import_line, left_out, beside in (
        (DBOS, "from dbos import DBOS", NOT_DBOS, ()),
        (DUROXIDE, "import duroxide", NOT_DUROXIDE, ()),
        (KISHU, "import kishu", NOT_KISHU, ("ipykernel", "pandas", "scikit-learn", "matplotlib")),
    ):
        if any(row.phase not in left_out for row in rows):
            python = peers.python_of(name, *beside)
            found.append(Contender(name, python, f"tests.bench.peer_{name}", import_line, left_out))
    return found


def versions_of(found: list[Contender]) -> dict[str, str]:
    """Which versions stand in the table."""
    versions = {c.name: peers.version_of(c.python, c.name) for c in found if c.name in PEERS}
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
    rows = chosen_rows(options.only)
    found = contenders(rows)
    versions = versions_of(found)
    failures: dict[str, str] = {}
    all_figures: list[Figures] = []
    console = Console(stderr=True)
    for row in rows:
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
