"""Every row of the bench is measured once with little work: the figures say nothing, but none may be missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import NOT_BARE
from tests.bench.peers import ROOT
from tests.bench.rows import BARE, OURS, ROWS


@pytest.mark.slow
def test_every_row_has_our_figure_and_that_of_the_bare_loop(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--rounds", "1", "--json", str(tmp_path / "figures.json")],
        cwd=ROOT,
        env={**os.environ, "BENCH_SCALE": "0.02", "PEERS": "0"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert len(rows) == len(ROWS)
    for row, told in zip(ROWS, rows, strict=True):
        assert told["medians"][OURS] > 0, row.work
        assert (told["medians"][BARE] is None) == (row.phase in NOT_BARE), row.work
        assert told["work"] in ended.stdout
