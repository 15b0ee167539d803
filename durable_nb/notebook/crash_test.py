"""`--crash-test`: a copy of the cell is killed at every commit, begun again, and compared with one that was not."""

import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from durable_nb.errors import Refused
from durable_nb.notebook.cells.graph import pack
from durable_nb.notebook.crashing import CELL, WHENS
from durable_nb.notebook.looking import Look
from durable_nb.notebook.saying import Progress
from durable_nb.notebook.session import Session


class Case(NamedTuple):
    """What came of a life that was killed, and of the one after it."""

    when: str
    number: int
    was_killed: bool
    difference: str  # "" = as without the crash
    again: tuple[str, ...]  # steps that were begun a second time


def crash_test(session: Session, seen: Look) -> None:
    """Do it, with progress, and print the grid."""
    with tempfile.TemporaryDirectory(prefix="durable-crash-") as folder, Progress(session.shell) as progress:
        _write(session, seen, Path(folder))
        lives = _lives(Path(folder))
        plain = next(lives, None)
        if plain is None or plain["error"]:
            raise Refused(f"without any crash the copy of the cell failed: {plain and plain['error']}")
        cases = []
        for found in lives:
            cases.append(_case(plain, found))
            progress.tell(f"crashed at commit {found['number']} of {plain['commits']}")
    print(grid(plain["commits"], cases))


def _write(session: Session, seen: Look, folder: Path) -> None:
    """The cell and all it reads, for a process that has never seen this notebook."""
    space = session.shell.user_ns
    values = {name: space[name] for name in seen.inputs.found if name in space}
    packed = pack(values, {}, space)
    if packed.unstorable:
        name, why = next(iter(packed.unstorable.items()))
        raise Refused(f"--crash-test cannot take `{name}` into another process: {why}")
    source = session.shell.transform_cell(seen.source)
    buffers = [bytearray(buffer) for buffer in packed.buffers]
    (folder / CELL).write_bytes(pickle.dumps({"source": source, "head": packed.head, "buffers": buffers}))


def _lives(folder: Path) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "durable_nb.notebook.crashing", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
            told = process.stderr.read().strip()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise Refused(f"the copy of the cell could not be run: {told.splitlines()[-1] if told else 'it said nothing'}")


def _case(plain: dict[str, Any], found: dict[str, Any]) -> Case:
    if found["error"] != plain["error"]:
        difference = found["error"] or "no error"
    else:
        bound, expected = found.get("bound", {}), plain["bound"]
        differing = [name for name in {**bound, **expected} if bound.get(name) != expected.get(name)]
        difference = f"`{differing[0]}` differs" if differing else ""
    return Case(found["when"], found["number"], found["was_killed"], difference, tuple(found.get("again", ())))


def grid(commits: int, cases: list[Case]) -> str:
    """Crash point by outcome, and what was done twice."""
    by_point = {(one.when, one.number): one for one in cases}
    numbers = sorted({one.number for one in cases})
    lines = [f"{commits} commits; the cell was killed at each and begun again", "commit  killed before  killed after"]
    for number in numbers:
        shown = [_outcome(by_point.get((when, number))) for when in WHENS]
        lines.append(f"{number:>6}  {shown[0]:<13}  {shown[1]}".rstrip())
    wrong = [one for one in cases if one.difference]
    lines.append(
        f"{len(wrong)} of {len(cases)} ended otherwise: {wrong[0].difference} (killed {wrong[0].when} {wrong[0].number})"
        if wrong
        else f"all {len(cases)} ended as without a crash"
    )
    again = sorted({name for one in cases for name in one.again})
    for name in again:
        where = ", ".join(f"{one.when} {one.number}" for one in cases if name in one.again)
        lines.append(
            f"`{name}` ran twice when killed {where}: what it does to the world must bear that "
            "(current_step().idempotency_key)"
        )
    return "\n".join(lines)


def _outcome(case: Case | None) -> str:
    if case is None or not case.was_killed:
        return "-"
    return case.difference or ("same, again" if case.again else "same")
