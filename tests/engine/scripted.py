"""A log that is written by a script: every step answers after its own time, nothing runs and no clock is read.

`story_of` runs a program live, and then again in every other way: replayed from the finished log, begun cold from every
prefix of the log, and kept in memory from wait to wait. All of them must tell the same story.
"""

import asyncio
import gc
import json
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any

from durable_nb.engine.cursor import Cursor, Suspended, Ticket, Wait
from durable_nb.engine.loop import FlowLoop
from durable_nb.history.calls import Ask, plain_step
from durable_nb.history.events import ANSWERS, ASKS, CODE, Row

STARTED = Row(1, "started", None, "f", b"{}", 100.0)
Program = Callable[[], Coroutine[Any, Any, Any]]
Story = tuple[Any, list[Any]]


class StepError(Exception):
    """What a step of the script raises."""


class Script:
    """The port of a run: answers by time, the earliest first. `takes` is by name of the step; "!" in a name fails."""

    def __init__(
        self, rows: list[Row], takes: Mapping[str, float] | None = None, is_patient: bool = True, tick: float = 0.0
    ) -> None:
        self.head = rows[-1].seq
        self.now = rows[-1].at
        self.takes = takes or {}
        self.is_patient = is_patient  # else every wait suspends
        self.tick = tick  # what the code takes between two waits
        self.pending: dict[int, tuple[float, int, Row]] = {}
        for row in rows:
            self._note(row)

    def exchange(self, asks: Sequence[Ticket], wait: Wait | None, open: Mapping[int, Ticket]) -> list[Row] | None:
        self.now += self.tick
        seqs: dict[Ticket, int] = {}
        rows = []
        for ticket in asks:
            ask = ticket.ask
            dropped = ask.body.row.seq if ask.kind == "drop" and ask.body.row else seqs.get(ask.body)
            rows.append(self._append(ask.kind, dropped, ask.name, ask.data))
            seqs[ticket] = self.head
        if wait is None:
            return rows
        if asks:  # a blocking step: its answer comes with it when it is the next
            is_next = self.is_patient and min(self.pending.values())[1] == self.head
            return [*rows, self.answer()] if is_next else rows
        while self.is_patient and self.pending:
            rows.append(self.answer())
            if wait.see(rows[-1]):
                return rows
        return rows or None

    def answer(self) -> Row:
        """The next answer."""
        due, _, ask = min(self.pending.values())
        self.now = max(self.now, due)
        if ask.kind == "timer":
            return self._append("fired", ask.seq, None, b"{}")
        if "!" in (ask.name or ""):
            return self._append("raised", ask.seq, None, b'{"type":"StepError","message":"%s"}' % ask.name.encode())
        return self._append("returned", ask.seq, None, ask.data.replace(b'{"arguments":', b"", 1)[:-1])

    def cancel(self) -> Row:
        """Somebody cancels the run."""
        return self._append("cancelling", None, None, b'{"reason":"enough","sender":"me","until":999.0}')

    def _append(self, kind: str, ref: int | None, name: str | None, data: bytes) -> Row:
        self.head += 1
        row = Row(self.head, kind, ref, name, data, self.now)
        self._note(row)
        return row

    def _note(self, row: Row) -> None:
        if row.kind == "step":
            self.pending[row.seq] = (row.at + self.takes.get(row.name or "", 1.0), row.seq, row)
        elif row.kind == "timer":
            self.pending[row.seq] = (json.loads(row.data)["due"], row.seq, row)
        elif row.ref is not None:
            self.pending.pop(row.ref, None)


class Step:
    """A durable step as flows will make them: asked where it is called, awaited at most once."""

    def __init__(self, name: str, value: Any = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.ticket = self.loop.cursor.begin(step_ask(name, value))

    def __await__(self) -> Generator[Any, None, Any]:
        if self.ticket.answer is None:
            waiter = self.loop.waiter(lambda: self.loop.cursor.drop(self.ticket))
            self.ticket.listener = waiter.settle
            yield from waiter
        return value_of(self.ticket.answer)


def step_ask(name: str, value: Any = None) -> Ask:
    return Ask("step", name, plain_step(json.dumps(value).encode()))


def value_of(row: Row | None) -> Any:
    assert row is not None
    content = json.loads(row.data)
    if row.kind == "raised":
        raise StepError(content["message"])
    return content["json"]


async def step(name: str, value: Any = None) -> Any:
    """Awaited where it is called: the answer is the value that it was given."""
    return await Step(name, value)


def plain_call(name: str, value: Any = None) -> Any:
    """A blocking step in the middle of a task."""
    loop = asyncio.get_running_loop()
    with loop.outside():
        return value_of(loop.cursor.call(step_ask(name, value)))


def go(program: Program, cursor: Cursor, loop: FlowLoop | None = None) -> tuple[Any, FlowLoop]:
    """Run the program as far as it goes: its outcome ("waits" when it waits) and its loop, still open."""
    loop = loop or FlowLoop(cursor)
    try:
        result = loop.go_on() if loop.is_resumable else loop.run(program())
    except Suspended:
        return "waits", loop
    except Exception as error:
        result = error
    assert cursor.finish() == []
    return result, loop


def live(program: Program, takes: Mapping[str, float] | None = None, prefix: Sequence[Row] = (STARTED,)) -> Story:
    """From this prefix of a log to the end, in one turn."""
    rows = list(prefix)
    cursor = Cursor(rows, Script(rows, takes))
    result, loop = go(program, cursor)
    loop.close()
    return plain(result), cursor.rows


def kept(program: Program, takes: Mapping[str, float] | None = None) -> Story:
    """Kept in memory: a suspension at every wait, one new row, and on. A blocking step unwinds the code: then a replay."""
    rows = [STARTED]
    script = Script(rows, takes, is_patient=False)
    cursor = Cursor(rows, script)
    result, loop = go(program, cursor)
    while result == "waits":
        cursor.rows.append(script.answer())
        if loop.is_resumable:
            cursor.closed = None
        else:
            loop.close()
            cursor = Cursor(cursor.rows, script)
            loop = FlowLoop(cursor)
        result, loop = go(program, cursor, loop)
    loop.close()
    return plain(result), cursor.rows


def story_of(program: Program, takes: Mapping[str, float] | None = None) -> Story:
    """The live story, after every other way to run the program has told the same one."""
    result, rows = live(program, takes)
    once_more, others = kept(program, takes)
    assert once_more == result
    assert told(others) == told(rows)
    for length in range(1, len(rows) + 1):
        again, longer = live(program, takes, rows[:length])
        assert again == result, f"cold from {length} of {len(rows)} events"
        assert told(longer) == told(rows), f"cold from {length} of {len(rows)} events"
        evict(program, rows[:length])
    gc.collect()
    return result, rows


def evict(program: Program, rows: Sequence[Row]) -> None:
    """Put the flow away where it waits after these rows: nothing may be written or warned of."""
    cursor = Cursor(list(rows), Script(list(rows), is_patient=False))
    result, loop = go(program, cursor)
    count = len(cursor.rows)
    loop.close()
    assert len(cursor.rows) == count
    assert result != "waits" or cursor.closed is not None


def suspended(program: Program, rows: Sequence[Row] = (STARTED,)) -> tuple[Cursor, FlowLoop]:
    """As far as the program goes before anything is answered."""
    cursor = Cursor(list(rows), Script(list(rows), is_patient=False))
    result, loop = go(program, cursor)
    assert result == "waits"
    return cursor, loop


def told(rows: Sequence[Row]) -> list[Any]:
    """Asks and answers in their order, and who was given up. When a `drop` is written depends on where a turn began."""
    place = {row.seq: number for number, row in enumerate(row for row in rows if row.kind in ASKS)}
    said = [
        (row.kind, row.name, row.data, place.get(row.ref or 0), row.at)
        for row in rows
        if row.kind in CODE | ANSWERS and row.kind != "drop"
    ]
    return [*said, sorted(place[row.ref or 0] for row in rows if row.kind == "drop")]


def asked(rows: Sequence[Row]) -> list[str]:
    """Names of the asks; timers are called "timer"."""
    return [row.name or row.kind for row in rows if row.kind in ASKS]


def dropped(rows: Sequence[Row]) -> list[str]:
    """What was given up."""
    named = {row.seq: row.name or row.kind for row in rows}
    return [named[row.ref or 0] for row in rows if row.kind == "drop"]


def plain(result: Any) -> Any:
    return f"{type(result).__name__}: {result}" if isinstance(result, BaseException) else result
