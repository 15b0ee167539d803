"""Run one flow of the shop, killed at every commit in turn, and report what each restart made of it.

`python -m tests.scenarios.crashes FLOW FOLDER` prints one JSON document. It forks a fresh process for every case, before
any log is open, so that a case costs milliseconds and every kill is a real one.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durable_nb import connect, runs
from durable_nb.stores import database
from tests.scenarios import shop


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    report: dict[str, Any] = {"flow": name, "cases": []}
    report["plain"] = case(folder / "plain", name)
    for when in ("before commit", "after commit"):
        for number in range(1, 200):
            found = case(folder / f"{when[:5]}-{number}".strip(), name, kill_commit=(number, when))
            if not found["was_killed"]:
                break
            report["cases"].append({"when": when, "number": number, **found})
    for number in range(1, 50):
        found = case(folder / f"between-{number}", name, kill_between=number)
        if not found["was_killed"]:
            break
        report["cases"].append({"when": "between", "number": number, **found})
    print(json.dumps(report))


def case(folder: Path, name: str, kill_commit: tuple[int, str] | None = None, kill_between: int = 0) -> dict[str, Any]:
    """One life that may be killed, then another one; what was in the log and the ledger after each."""
    folder.mkdir(parents=True)
    os.environ["LEDGER"] = str(folder / "ledger.txt")
    shop.LEDGER = folder / "ledger.txt"
    shop.LEDGER.touch()
    status = in_child(lambda: live(folder, name, kill_commit, kill_between))
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not was_killed and status != 0:
        raise SystemExit(f"the first life of {name} ended with {status}, see {folder}")
    found: dict[str, Any] = {"was_killed": was_killed, "first": {"ledger": ledger(), "answered": answered(folder)}}
    if was_killed:
        status = in_child(lambda: live(folder, name, None, 0))
        if status != 0:
            raise SystemExit(f"the second life of {name} ended with {status}, see {folder}")
    found["second"] = {"ledger": ledger(), "answered": answered(folder)}
    found["result"] = (folder / "result.txt").read_text()
    return found


def live(folder: Path, name: str, kill_commit: tuple[int, str] | None, kill_between: int) -> None:
    flow, args = shop.FLOWS[name]
    shop.KILL_BETWEEN, shop._betweens = kill_between, 0
    if kill_commit is not None:
        kill_at(*kill_commit)
    with connect(folder / "log.durable.db", durability="process") as app:
        try:
            begun = app.store.run("r") is not None
            result = runs["r"].result(30) if begun else flow["r"](*args)
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        (folder / "result.txt").write_text(repr(result))


def kill_at(number: int, when: str) -> None:
    """The process dies at its `number`-th commit."""
    counts = {"before commit": 0, "after commit": 0}

    def point(now: str) -> None:
        counts[now] += 1
        if now == when and counts[now] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    database.crash_point = point


def in_child(life: Callable[[], None]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    code = 1
    try:
        life()
        code = 0
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
        rows = connection.execute(
            "select run.uid, answer.ref from event answer join run on run.key = answer.run "
            "where answer.kind in ('returned', 'raised') "
            "union select run.uid, inbox.ask from inbox join run on run.key = inbox.run "
            "where inbox.kind in ('returned', 'raised')"
        ).fetchall()
    except sqlite.OperationalError:
        rows = []  # killed before the tables were there
    finally:
        connection.close()
    return [f"{uid}/1/{ask}" for uid, ask in rows]


if __name__ == "__main__":
    main()
