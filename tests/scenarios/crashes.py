"""Run flows of the crash matrix, killed at every commit in turn, and report what each restart made of them.

`python -m tests.scenarios.crashes FOLDER FLOW…` prints one JSON document for each flow. It forks a fresh process for
every life, before any log is open, so that a case costs milliseconds and every kill is a real one. Lives mostly wait, so
several cases live side by side.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from durable_nb import Run, connect, runs
from durable_nb.flows import registry
from durable_nb.flows.flow import Flow
from durable_nb.runtime.rehearsal import rehearse
from durable_nb.stores import database
from tests.scenarios import shop
from tests.scenarios.asynchrony import ASYNCHRONY
from tests.scenarios.families import FAMILIES
from tests.scenarios.language import LANGUAGE

WHENS = ("before commit", "after commit")
SIDE_BY_SIDE = 4
MORE = 2  # commits beyond those counted: threads do not always write in the same pieces
DRIVES = {**LANGUAGE, **ASYNCHRONY, **FAMILIES}
FLOWS = [*shop.FLOWS, *DRIVES]


class Case(NamedTuple):
    """A flow, and where its first life ends; at number 0 nowhere."""

    flow: str
    when: str
    number: int

    @property
    def folder(self) -> str:
        return f"{self.flow}-{self.when[:7]}-{self.number}".replace(" ", "_")


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    plain = side_by_side(folder, [Case(name, "plain", 0) for name in names])
    cases = [
        Case(name, when, number)
        for name in names
        for when, most in counted(folder, name).items()
        for number in range(1, most + 1)
    ]
    found = side_by_side(folder, cases)
    for name in names:
        killed = [each for each in found if each["flow"] == name and each["was_killed"]]
        print(json.dumps({"flow": name, "plain": next(p for p in plain if p["flow"] == name), "cases": killed}))


def counted(folder: Path, name: str) -> dict[str, int]:
    """How many moments there were to be killed at."""
    commits, betweens = json.loads((folder / Case(name, "plain", 0).folder / "counts.json").read_text())
    return {**dict.fromkeys(WHENS, commits + MORE), "between": betweens}


def side_by_side(folder: Path, cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Live every case, several at a time, each in a process of its own."""
    waiting, living, found = list(reversed(list(cases))), dict[int, Case](), []
    while waiting or living:
        while waiting and len(living) < SIDE_BY_SIDE:
            one = waiting.pop()
            living[begun(lambda one=one: lived(folder / one.folder, one))] = one
        pid, status = os.wait()
        one = living.pop(pid)
        if status != 0:
            raise SystemExit(f"{one} ended with {status}, see {folder / one.folder}")
        found.append(json.loads((folder / one.folder / "case.json").read_text()))
    return found


def lived(folder: Path, one: Case) -> None:
    """One life that may be killed, then another one; what was in the log and the ledger after each."""
    folder.mkdir(parents=True)
    shop.LEDGER = folder / "ledger.txt"
    shop.LEDGER.touch()
    status = os.waitpid(begun(lambda: live(folder, one)), 0)[1]
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not was_killed and status != 0:
        raise SystemExit(f"the first life of {one} ended with {status}, see {folder}")
    found: dict[str, Any] = {**one._asdict(), "was_killed": was_killed}
    found["first"] = {"ledger": ledger(), "answered": answered(folder)}
    if was_killed:
        status = os.waitpid(begun(lambda: live(folder, Case(one.flow, "plain", 0))), 0)[1]
        if status != 0:
            raise SystemExit(f"the second life of {one} ended with {status}, see {folder}")
    found["second"] = {"ledger": ledger(), "answered": answered(folder)}
    found["result"] = (folder / "result.txt").read_text()
    (folder / "case.json").write_text(json.dumps(found))


def live(folder: Path, one: Case) -> None:
    """Drive the flow to its end, or until the process dies; every history must fit the code then."""
    shop.KILL_BETWEEN, shop._betweens = one.number if one.when == "between" else 0, 0
    commits = kill_at(one.number, one.when)
    with connect(folder / "log.durable.db", durability="process") as app:
        result = drive(one.flow)
        for run in runs():
            record = run.record
            rows = app.store.history(record.key, record.base)
            wrong = rehearse(rows, flow_of(run), record, app.values)[1]
            assert wrong is None, wrong
        left = app.store.next_due()
        assert left is None, f"something is still due when all is over: {left}"
    (folder / "result.txt").write_text(repr(result))
    (folder / "counts.json").write_text(json.dumps([commits[WHENS[0]], shop._betweens]))


def flow_of(run: Run) -> Flow[..., Any]:
    found = registry.lookup("flow", run.record.flow)
    assert isinstance(found, Flow)
    return found


def drive(name: str) -> Any:
    """Start the flow, or find it begun, and do what its user does."""
    if name not in shop.FLOWS:
        return DRIVES[name]()
    flow, args = shop.FLOWS[name]
    try:
        return flow.options(on_conflict="attach")["r"](*args)  # what failed is looked at, not retried
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def kill_at(number: int, when: str) -> dict[str, int]:
    """The process dies at its `number`-th commit; the commits so far."""
    counts, lock = dict.fromkeys(WHENS, 0), threading.Lock()

    def point(now: str) -> None:
        with lock:
            counts[now] += 1
            if now == when and counts[now] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    database.crash_point = point
    return counts


def begun(life: Callable[[], None]) -> int:
    """A process that lives this life; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        life()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ledger() -> list[list[str]]:
    return [line.split("\t") for line in shop.LEDGER.read_text().splitlines()]


def answered(folder: Path) -> list[str]:
    """The idempotency keys whose outcome is in the log."""
    path = folder / "log.durable.db"
    if not path.exists():
        return []
    from pysqlite3 import dbapi2 as sqlite

    connection = sqlite.connect(path)
    try:
        rows = connection.execute(ANSWERED).fetchall()
    except sqlite.OperationalError:
        rows = []  # killed before the tables were there
    finally:
        connection.close()
    return [f"{uid}/{execution}/{ask}" for uid, execution, ask in rows]


ANSWERED = """
select run.uid, 1 + (select count(*) from event c where c.run = run.key and c.kind = 'continued' and c.seq < answer.ref),
       answer.ref
from event answer join run on run.key = answer.run where answer.kind in ('returned', 'raised')
union
select run.uid, run.execution, inbox.ask from inbox join run on run.key = inbox.run
where inbox.kind in ('returned', 'raised')
"""


if __name__ == "__main__":
    main()
