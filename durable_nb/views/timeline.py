"""What a run asked for, when, and what came of it: as data, and as a small picture of text."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from durable_nb.durations import spoken
from durable_nb.history import events as e, wire
from durable_nb.history.failure import Failure
from durable_nb.history.summary import Asked, Attempt, asks as fold
from durable_nb.history.values import Value
from durable_nb.stores.shapes import Mail
from durable_nb.views.table import clock_text, readable
from durable_nb.views.values import arguments_form, arguments_text, failure_form, value_form, value_text

_WIDTH = 24  # characters of a bar
_ARGUMENTS = 60  # characters of the arguments that a line shows


class Line(NamedTuple):
    """An ask of the run. `outcome` is open, returned, raised, fired, received or dropped."""

    asked: Asked
    outcome: str
    ended_at: float | None
    arguments: Value | None
    run: str | None  # the other run that it is about, where the ask names it
    value: Value | None
    failure: Failure | None


def folded(rows: Iterable[e.Row], mail: Iterable[Mail] = ()) -> dict[int, Asked]:
    """Every ask with what became of it, the attempts that still lie in the inbox included; bad rows are left out."""
    posted = (
        e.Row(0, one.kind, one.ask, None, one.value, one.sent_at)
        for one in mail
        if one.ask is not None and one.kind in ("attempt", "attempt_failed")
    )
    return fold([*readable(rows), *readable(posted)])


def lines(rows: Sequence[e.Row], mail: Iterable[Mail] = ()) -> list[Line]:
    """The asks of a history in order."""
    by_seq = {row.seq: row for row in rows}
    dropped = {row.ref: row.at for row in rows if row.kind == "drop"}
    return [_line(asked, by_seq[asked.seq], dropped.get(asked.seq)) for asked in folded(rows, mail).values()]


def _line(asked: Asked, row: e.Row, dropped_at: float | None) -> Line:
    event = wire.event_of(row)
    arguments = event.arguments if isinstance(event, e.StepAsked | e.ChildAsked | e.StartAsked) else None
    run = event.run if isinstance(event, e.WatchAsked | e.LookAsked | e.TellAsked) else asked.child
    answer = asked.answer
    if answer is None:
        return Line(asked, "open" if dropped_at is None else "dropped", dropped_at, arguments, run, None, None)
    failure = wire.failure_of(answer) if answer.kind == "raised" else None
    return Line(asked, answer.kind, answer.at, arguments, run, _value(answer), failure)


def _value(answer: e.Row) -> Value | None:
    event = wire.event_of(answer)
    return event.value if isinstance(event, e.Returned | e.Received) else None


# as data


def line_form(line: Line) -> dict[str, Any]:
    """The ask as plain data, times in seconds since the epoch."""
    asked = line.asked
    return {
        "arguments": arguments_form(line.arguments) if line.arguments is not None else None,
        "at": asked.at,
        "attempts": [_attempt_form(one, line) for one in asked.attempts],
        "due": asked.due,
        "ended_at": line.ended_at,
        "failure": failure_form(line.failure) if line.failure is not None else None,
        "is_set_aside": asked.is_aside,
        "kind": asked.kind,
        "name": asked.name,
        "outcome": line.outcome,
        "retry_at": asked.retry_at,
        "run": line.run,
        "seq": asked.seq,
        "value": value_form(line.value) if line.value is not None else None,
    }


def _attempt_form(attempt: Attempt, line: Line) -> dict[str, Any]:
    return {
        "ended_at": attempt.ended_at,
        "failure": failure_form(attempt.failure) if attempt.failure is not None else None,
        "number": attempt.number,
        "outcome": _attempt_outcome(attempt, line),
        "started_at": attempt.started_at,
    }


def _attempt_outcome(attempt: Attempt, line: Line) -> str:
    if attempt.is_crashed:
        return "crashed"
    if attempt.is_interrupted:
        return "interrupted"
    if attempt.failure is not None:
        return "failed"
    return "open" if attempt.ended_at is None else line.outcome


# as text


def draw(lines: Sequence[Line], began: float, until: float) -> list[str]:
    """A line of text per ask with its bar between `began` and `until`, and one per attempt where there were several."""
    drawn: list[str] = []
    for line in lines:
        asked = line.asked
        bar = _bar(
            asked.at, line.ended_at if line.ended_at is not None else until, began, until, line.outcome == "open"
        )
        drawn.append(f"{asked.seq:>5}  {bar}  {_title(line)}: {_outcome(line, until)}")
        if len(asked.attempts) > 1:
            drawn += [f"{'':>{_WIDTH + 11}}{_attempt(one, line, until)}" for one in asked.attempts]
    return drawn


def _bar(start: float, end: float, began: float, until: float, is_open: bool) -> str:
    whole = max(until - began, 1e-9)
    left = min(_WIDTH - 1, max(0, int((start - began) / whole * _WIDTH)))
    right = min(_WIDTH, max(left + 1, round((end - began) / whole * _WIDTH)))
    return "·" * left + ("░" if is_open else "█") * (right - left) + "·" * (_WIDTH - right)


def _title(line: Line) -> str:
    asked = line.asked
    match asked.kind:
        case "timer":
            return "timer"
        case "signal":
            return f"signal `{asked.name}`"
        case "watch":
            return f"the end of run {line.run!r}"
        case "look":
            return f"`{asked.name}` in the state of run {line.run!r}"
        case "tell":
            return f"{asked.name} to run {line.run!r}"
    shown = arguments_text(line.arguments) if line.arguments is not None else ""
    shown = " ".join(shown.split())
    return f"{asked.name}({shown if len(shown) <= _ARGUMENTS else shown[: _ARGUMENTS - 1] + '…'})"


def _outcome(line: Line, until: float) -> str:
    asked, aside = line.asked, " (set aside by a retry)" if line.asked.is_aside else ""
    if line.outcome == "dropped":
        return f"given up after {spoken(max(0.0, (line.ended_at or until) - asked.at))}{aside}"
    if line.outcome == "fired":
        return f"fired after {spoken(max(0.0, (line.ended_at or until) - asked.at))}{aside}"
    if line.value is not None:
        shown = " ".join(value_text(line.value).split())
        shown = shown if len(shown) <= _ARGUMENTS else shown[: _ARGUMENTS - 1] + "…"
        return f"{shown} after {spoken(max(0.0, (line.ended_at or until) - asked.at))}{aside}"
    if line.failure is not None:
        return f"raised {line.failure.sentence} after {spoken(max(0.0, (line.ended_at or until) - asked.at))}{aside}"
    return _open(asked, until) + aside


def _open(asked: Asked, until: float) -> str:
    if asked.retry_at is not None:
        return f"attempt {len(asked.attempts) + 1} begins {clock_text(asked.retry_at)}"
    if asked.due is not None and not asked.attempts:
        return f"due {clock_text(asked.due)}"
    return f"open for {spoken(max(0.0, until - asked.at))}"


def _attempt(attempt: Attempt, line: Line, until: float) -> str:
    took = spoken(max(0.0, (attempt.ended_at if attempt.ended_at is not None else until) - attempt.started_at))
    failed = f": {attempt.failure.sentence}" if attempt.failure is not None else ""
    return f"attempt {attempt.number} {_attempt_outcome(attempt, line)} after {took}{failed}"
