"""The lives of `--crash-test`, in a process of their own: `python -m durable_nb.notebook.crashing FOLDER`.

The folder holds the cell and what it reads. Each life runs the cell against a log of its own, in a fork: one life to the
end, and then for every commit of that one two that are killed there, right before and right after, each with another
life that goes on. One JSON object a line says what came of each.
"""

import ast
import json
import os
import pickle
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from durable_nb.flows.source.texts import remember
from durable_nb.notebook.cells.digests import digest_of
from durable_nb.notebook.cells.graph import unpack
from durable_nb.notebook.restoring import define
from durable_nb.opening import connect
from durable_nb.stores import database

WHENS = ("before commit", "after commit")
CELL, LIFE, LOG = "cell.pickle", "life.json", "log.durable.db"
EMPTY = "empty"  # the folder of the log that was made once for all lives
MOST = 200  # commits that are crashed at; of more, so many evenly spread


def main(folder: Path) -> None:
    """All lives, one after another."""
    given = pickle.loads((folder / CELL).read_bytes())  # written by the kernel that started us, a moment ago
    space: dict[str, Any] = sys.modules["__main__"].__dict__
    values = unpack(given["head"], given["buffers"], {}, space)
    space.update(values)
    define(values.values())
    import_module("sqlite_utils")  # half a second, here and not in every life: each of them reads its log with it
    _forked(partial(_make, folder / EMPTY))
    plain = _lived(folder / "plain", given["source"], space, "", 0)
    _tell({"when": "", "number": 0, **plain})
    for when, number in _points(plain["commits"]):
        found = _lived(folder / f"{when[:6].strip()}-{number}", given["source"], space, when, number)
        _tell({"when": when, "number": number, **found})


def _points(commits: int) -> Iterator[tuple[str, int]]:
    numbers = range(1, commits + 1)
    for number in numbers if commits <= MOST else sorted({1 + n * commits // MOST for n in range(MOST)}):
        for when in WHENS:
            yield when, number


def _lived(folder: Path, source: str, space: dict[str, Any], when: str, number: int) -> dict[str, Any]:
    """A life that is killed at this commit and one that goes on; or, without a commit, a single one."""
    shutil.copytree(folder.parent / EMPTY, folder)
    status = _forked(partial(_live, folder, source, space, when, number))
    was_killed = os.WIFSIGNALED(status)
    if was_killed:
        status = _forked(partial(_live, folder, source, space, "", 0))
    if os.WIFSIGNALED(status) or not (folder / LIFE).exists():
        return {"was_killed": was_killed, "error": f"the process ended with status {status}", "commits": 0}
    found: dict[str, Any] = json.loads((folder / LIFE).read_text())
    return {"was_killed": was_killed, **found}


def _forked(life: Callable[[], None]) -> int:
    """Live in a fork; how it ended."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        life()
    except BaseException:  # noqa: BLE001 - the fork must not go on with what its parent was doing
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _make(folder: Path) -> None:
    """A log that every life begins with a copy of: making one takes longer than a life, and is no commit of the cell."""
    folder.mkdir()
    connect(folder / LOG, durability="process").close()


def _live(folder: Path, source: str, space: dict[str, Any], when: str, number: int) -> None:
    """Run the cell against the log in the folder; write what came of it."""
    before, error = dict(space), None
    with (
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        connect(folder / LOG, durability="process") as app,
    ):
        commits = _kill_at(when, number)
        try:
            exec(compile(ast.parse(source), remember("cell", source), "exec"), space)
        except Exception as raised:  # noqa: BLE001 - what a cell raises is what comes of it
            error = f"{type(raised).__name__}: {raised}"
        database.crash_point = None
        again = {row["name"]: row["again"] for row in app.log.query(_BEGUN)}
    bound = {name: digest_of(value).hex for name, value in space.items() if before.get(name, before) is not value}
    found = {"error": error, "bound": bound, "again": again, "commits": commits[WHENS[0]]}
    (folder / LIFE).write_text(json.dumps(found))


_BEGUN = """
select ask.name as name, count(*) as again from event more
join event ask on ask.run = more.run and ask.seq = more.ref and ask.kind = 'step'
where more.kind = 'attempt' group by ask.name
"""


def _kill_at(when: str, number: int) -> dict[str, int]:
    counts, lock = dict.fromkeys(WHENS, 0), threading.Lock()

    def point(now: str) -> None:
        with lock:
            counts[now] += 1
            if now == when and counts[now] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    database.crash_point = point
    return counts


def _tell(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
