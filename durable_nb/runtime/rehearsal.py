"""Run a flow's code against a history with nobody to write or perform anything: does it fit?"""

from collections.abc import Callable, Sequence
from typing import Any

from durable_nb.engine.cursor import Cursor
from durable_nb.engine.replayer import Replayer
from durable_nb.engine.turn import Mismatched, Outcome, Raised as RaisedOutcome, Returned, Turn, run_turn
from durable_nb.flows.values import Values
from durable_nb.history import events as e, wire
from durable_nb.history.summary import effective
from durable_nb.runtime.reader import Reader


class Silence:
    """Where the output of code goes that is only replayed."""

    def write(self, ask: int | None, attempt: int, stream: str, text: str) -> str:
        return ""


def rehearse(rows: Sequence[e.Row], flow: Any, id: str, uid: str, values: Values) -> tuple[Outcome, str | None]:
    """One turn over the rows, and what is wrong with it: None when the code fits the history."""
    kept = effective(rows)
    own = [row for row in kept if row.kind not in e.ENDINGS]
    reader = Reader(values, lambda: own[-1].at, lambda reason, sentence: None)
    turn = Turn(id, uid, 1, None, Cursor(own, Replayer()), reader)
    turn.sink = Silence()
    started = wire.event_of(own[0])
    assert isinstance(started, e.Started)
    named = values.take_arguments(started.arguments, uid, 1, "started", f"flow `{flow.name}`")
    args, kwargs = flow.arguments.call_form(named)
    code: Callable[..., Any] = flow.new_code()
    outcome = run_turn(turn, lambda: code(*args, **kwargs))
    if isinstance(outcome, Mismatched):
        return outcome, outcome.mismatch.report
    if len(own) < len(kept) and not isinstance(outcome, Returned | RaisedOutcome):
        return outcome, f"the flow had ended ({kept[-1].kind}); now it waits for more"
    return outcome, None
