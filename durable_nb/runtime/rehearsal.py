"""Run a flow's code against a history with nobody to write or perform anything: does it fit?"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from durable_nb.engine.cursor import Cursor
from durable_nb.engine.replayer import Replayer
from durable_nb.engine.turn import (
    CancelledRun,
    Continued,
    Mismatched,
    Outcome,
    Raised as RaisedOutcome,
    Returned,
    Turn,
    run_turn,
)
from durable_nb.flows.values import Values
from durable_nb.history import events as e, wire
from durable_nb.history.summary import effective, started_of
from durable_nb.runtime.reader import Reader


class Who(Protocol):
    """Whose history it is: a run's row, or what was frozen of it."""

    @property
    def id(self) -> str: ...

    @property
    def uid(self) -> str: ...

    @property
    def execution(self) -> int: ...

    @property
    def version(self) -> str | None: ...


class Silence:
    """Where the output of code goes that is only replayed."""

    def write(self, ask: int | None, attempt: int, stream: str, text: str) -> str:
        return ""


def rehearse(rows: Sequence[e.Row], flow: Any, run: Who, values: Values) -> tuple[Outcome, str | None]:
    """One turn over the rows, and what is wrong with it: None when the code fits the history."""
    kept = effective(rows)
    own = [row for row in kept if row.kind not in e.ENDINGS]
    values = values.reading()
    reader = Reader(values, lambda: own[-1].at, lambda reason, sentence: None)
    turn = Turn(run.id, run.uid, run.execution, run.version, Cursor(own, Replayer()), reader)
    turn.sink = Silence()
    turn.state = dict(started_of(own).state)
    named = values.started_with(own, run.uid, flow.name)
    args, kwargs = flow.arguments.call_form(named)
    code: Callable[..., Any] = flow.new_code()
    outcome = run_turn(turn, lambda: flow.run(turn, code, args, kwargs))
    if isinstance(outcome, Mismatched):
        return outcome, outcome.mismatch.report
    is_over = isinstance(outcome, Returned | RaisedOutcome | CancelledRun | Continued)
    if len(own) < len(kept) and not is_over and not _is_cut_off(kept[-1]):
        return outcome, f"the flow had ended ({kept[-1].kind}); now it waits for more"
    return outcome, None


def _is_cut_off(row: e.Row) -> bool:
    event = wire.event_of(row)
    return isinstance(event, e.RunCancelled) and event.is_cut_off
