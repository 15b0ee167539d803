"""The fold of a history: what counts after a retry, and what each ask has come to."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from durable_nb.errors import Corrupt
from durable_nb.history import events as e, wire
from durable_nb.history.failure import Failure


def effective(rows: Sequence[e.Row]) -> list[e.Row]:
    """The rows that replay sees: what a retry has set aside is left out, finished outcomes of earlier asks stay."""
    if not any(row.kind == "retried" for row in rows):
        return list(rows)
    kept: list[e.Row] = []
    for row in rows:
        if row.kind != "retried":
            kept.append(row)
            continue
        retried = wire.event_of(row)
        assert isinstance(retried, e.Retried)
        kept = [old for old in kept if _survives(old, retried.cut)]
        kept.append(row)
    return kept


def _survives(row: e.Row, cut: int) -> bool:
    if row.seq < cut:
        return True
    return row.kind in ("returned", "fired", "received") and row.ref is not None and row.ref < cut and row.seq != cut


def started_of(rows: Sequence[e.Row]) -> e.Started:
    """How an execution began, from its history; Corrupt when that does not begin as every history does."""
    started = wire.event_of(rows[0]) if rows else None
    if not isinstance(started, e.Started):
        raise Corrupt("the history does not begin with event 1 (started): rows were removed from the log")
    return started


class Attempt(Struct, kw_only=True):
    """One try of a step: when it began, how it ended."""

    number: int
    started_at: float
    ended_at: float | None = None
    failure: Failure | None = None
    is_crashed: bool = False
    is_interrupted: bool = False
    is_past: bool = False  # a person has looked at it since (retry, resume): it counts against nothing any more


class Asked(Struct, kw_only=True):
    """An ask with its attempts and its answer."""

    seq: int
    kind: str
    name: str | None
    at: float
    due: float | None = None
    attempts: list[Attempt] = []
    answer: e.Row | None = None
    retry_at: float | None = None
    is_aside: bool = False
    is_dropped: bool = False
    child: str | None = None  # the id that was given to a child
    rejected: list[e.SignalRejected] = []

    @property
    def failed_attempts(self) -> int:
        """How many attempts failed since the last retry by a person; these use the budget."""
        return sum(1 for attempt in self.attempts if attempt.failure is not None and not attempt.is_past)

    @property
    def crashes(self) -> int:
        """How many attempts in a row, up to now, were begun and never heard of again."""
        count = 0
        for attempt in reversed(self.attempts):
            if attempt.failure is not None or attempt.is_interrupted or attempt.is_past:
                break
            count += 1
        return count


def asks(rows: Iterable[e.Row]) -> dict[int, Asked]:
    """Every ask of a history by its seq, with what became of it; what a retry set aside is marked, not left out."""
    found: dict[int, Asked] = {}
    for row in rows:
        if row.kind in e.ASKS:
            found[row.seq] = _opened(row)
        elif row.kind == "retried":
            _set_aside(found, row)
        elif row.kind == "drop" and row.ref in found:
            found[row.ref].is_dropped = True
        elif row.kind in ("resumed", "forked"):
            for asked in found.values():
                _forgive(asked)
        elif row.ref is not None and row.ref in found:
            _follow(found[row.ref], row)
    return found


def _opened(row: e.Row) -> Asked:
    event = wire.event_of(row)
    asked = Asked(seq=row.seq, kind=row.kind, name=row.name, at=row.at)
    if isinstance(event, e.TimerAsked):
        asked.due = event.due
    elif isinstance(event, e.ChildAsked):
        asked.child = event.id
    elif isinstance(event, e.WatchAsked):
        asked.child = event.run
    elif isinstance(event, e.StepAsked):
        asked.due = event.due
        if event.due is None and not event.elsewhere:
            asked.attempts = [Attempt(number=1, started_at=row.at)]
    return asked


def _set_aside(found: dict[int, Asked], row: e.Row) -> None:
    retried = wire.event_of(row)
    assert isinstance(retried, e.Retried)
    for asked in found.values():
        if asked.seq >= retried.cut:
            asked.is_aside = True
        elif asked.answer is not None and not _survives(asked.answer, retried.cut):
            asked.answer = None
            _forgive(asked)


def _forgive(asked: Asked) -> None:
    for attempt in asked.attempts:
        attempt.is_past = True


def _follow(asked: Asked, row: e.Row) -> None:
    if row.kind in e.ANSWERS:
        asked.answer = row
        asked.retry_at = None
        if asked.attempts:
            asked.attempts[-1].ended_at = row.at
            if row.kind == "raised":
                asked.attempts[-1].failure = wire.failure_of(row)
        return
    event = wire.event_of(row)
    match event:
        case e.AttemptStarted():
            if asked.attempts and asked.attempts[-1].ended_at is None:
                asked.attempts[-1].ended_at, asked.attempts[-1].is_crashed = row.at, True
            asked.attempts = [*asked.attempts, Attempt(number=event.attempt, started_at=row.at)]
            asked.retry_at = None
        case e.AttemptFailed():
            if asked.attempts:
                asked.attempts[-1].ended_at, asked.attempts[-1].failure = row.at, event.failure
            asked.retry_at = event.retry_at
        case e.AttemptInterrupted():
            if asked.attempts:
                asked.attempts[-1].ended_at, asked.attempts[-1].is_interrupted = row.at, True
        case e.SignalRejected():
            asked.rejected = [*asked.rejected, event]
        case _:
            raise AssertionError(f"a {row.kind} row refers to an ask")
