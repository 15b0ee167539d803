"""Runs one measurement of one contender in a fresh process and a fresh folder."""

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers import ROOT
from tests.bench.rows import IMPORT, Row

TIME_LIMIT = 300.0


class MeasurementFailed(Exception):
    """The contender's process ended without a figure."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is measured: an interpreter, the module with its measurements, and the import its users write."""

    name: str
    python: Path
    module: str
    import_line: str
    left_out: frozenset[str] = frozenset()

    def takes_part(self, row: Row) -> bool:
        return row.phase not in self.left_out


def figure_of(contender: Contender, row: Row) -> float:
    """One figure in the row's unit."""
    if row.phase == IMPORT:
        return _import_ms(contender)
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as folder:
        path = Path(folder) / "bench.db"
        if row.crash_phase is not None:
            dead = _run(contender, row.crash_phase, row.durability, path, crash_at=row.crash_at)
            if dead.returncode != -signal.SIGKILL:
                raise MeasurementFailed(f"{row.crash_phase} should have died by SIGKILL\n{_end_of(dead)}")
        return _figure(_run(contender, row.phase, row.durability, path))


def _run(
    contender: Contender, phase: str, durability: str, path: Path, crash_at: int | None = None
) -> subprocess.CompletedProcess[str]:
    code = f"from {contender.module} import main; main()"
    crash = {} if crash_at is None else {"BENCH_CRASH_AT": str(crash_at)}
    return _python(contender, [code, phase, durability, str(path)], crash)


def _import_ms(contender: Contender) -> float:
    code = (
        "import json, time; began = time.perf_counter(); "
        f"{contender.import_line}; "
        "print(json.dumps({'figure': (time.perf_counter() - began) * 1000}))"
    )
    return _figure(_python(contender, [code], {}))


def _python(contender: Contender, arguments: list[str], extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("BENCH_CRASH_AT", "PYTHONPATH")}
    try:
        return subprocess.run(
            [str(contender.python), "-c", *arguments],
            cwd=ROOT,
            env={**environment, **extra},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired as expired:
        raise MeasurementFailed(f"no figure after {TIME_LIMIT:.0f} s") from expired


def _figure(ended: subprocess.CompletedProcess[str]) -> float:
    try:
        return float(json.loads(ended.stdout.splitlines()[-1])["figure"])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise MeasurementFailed(_end_of(ended)) from error


def _end_of(ended: subprocess.CompletedProcess[str]) -> str:
    lines = (ended.stderr.strip() or ended.stdout.strip() or "no output").splitlines()
    return f"exit status {ended.returncode}: " + "\n".join(lines[-3:])
