"""What the log itself says about the runs that were called: each ended once, with the right result."""

from collections import Counter
from typing import NamedTuple

from durable_nb.app import App
from durable_nb.history.events import Row
from durable_nb.stores.shapes import RunRecord
from durable_nb.stress.load import LOST, Call
from durable_nb.stress.workload import Workload

_ENDED = ("completed", "failed", "cancelled")
WRONG, TWICE, LEFT = "wrong result", "ended more than once", "child not ended"


class Proof(NamedTuple):
    """The failures by class, those that the callers saw and those that only the log shows; the steps of each run."""

    failures: Counter[str]
    steps: dict[str, int]


def prove(app: App, workload: Workload, calls: list[Call], size: int) -> Proof:
    """Read every run of the calls with its children; a run that is fine has no failure, another has exactly one."""
    failures: Counter[str] = Counter()
    steps: dict[str, int] = {}
    for call in calls:
        record = app.store.run(call.id) if call.id else None
        family = app.store.tree(record.key) if record is not None else []
        histories = [app.store.history(member.key) for member in family]
        steps[call.id] = sum(_steps(rows) for rows in histories)
        failure = call.failure
        if failure is None:
            failure = _found(app, family, histories, workload.right(call.number, size))
        if failure is not None:
            failures[failure] += 1
    return Proof(failures, steps)


def _found(app: App, family: list[RunRecord], histories: list[list[Row]], right: int) -> str | None:
    """What is wrong in the log with a run whose caller got a result."""
    if not family:
        return LOST
    endings = [sum(row.kind in _ENDED for row in rows) for rows in histories]
    if max(endings) > 1:
        return TWICE
    if not endings[0] or family[0].status != "completed":
        return LOST
    if 0 in endings:
        return LEFT
    return None if app.client.outcome(family[0]) == right else WRONG


def _steps(rows: list[Row]) -> int:
    """How many steps have an answer."""
    asked = {row.seq for row in rows if row.kind == "step"}
    return sum(row.kind in ("returned", "raised") and row.ref in asked for row in rows)
