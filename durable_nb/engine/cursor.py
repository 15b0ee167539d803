"""A pointer into a history, moved by what the code asks. Live and replay are the same walk.

Every ask either meets the logged ask at the pointer or, at the end of the log, goes through the port, which appends rows;
the walk then goes on over those rows exactly as it would over old ones. So live and replay cannot differ in order.

The order that makes it checkable: answers are logged only while the code waits. Between two asks of which the first
did not wait, there is nothing but bookkeeping.
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol

from durable_nb.engine import mismatch
from durable_nb.history.calls import Ask, difference
from durable_nb.history.events import ANSWERS, ASKS, ENDINGS, Row
from durable_nb.where import calling_line


class Suspended(BaseException):
    """The run waits; its code is unwound and will be replayed. Let it pass."""


class Ticket:
    """An ask the code has made: its row in the log (None until it is there) and its answer."""

    __slots__ = ("answer", "ask", "row")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.row: Row | None = None
        self.answer: Row | None = None


class Port(Protocol):
    """Where asks go when the log has no more to say."""

    def exchange(
        self, asks: Sequence[Ask], waiting: Sequence[Ticket], open: Mapping[int, Ticket]
    ) -> Sequence[Row] | None:
        """Append the asks and return the new rows, at least one answer to a waiting ticket among them; None = suspend.

        `waiting` may hold tickets of these very asks; without any the port just appends. `open` are all unanswered ones.
        """
        ...


class Cursor:
    """The walk of one turn over the rows of a run (what a retry set aside is already left out)."""

    def __init__(self, rows: list[Row], port: Port) -> None:
        self.rows = rows
        self.port = port
        self.position = 0
        self.replayed_to = len(rows)  # rows before this were in the log when the turn began
        self.at = 0.0
        self.open: dict[int, Ticket] = {}
        self.unsent: list[Ticket] = []
        self.closed: BaseException | None = None
        self.closed_line = ""
        self._pass_bookkeeping()

    @property
    def is_replaying(self) -> bool:
        return self.position < self.replayed_to

    def call(self, ask: Ask) -> Row:
        """Ask and wait for the answer."""
        position, rows = self.position, self.rows
        if position + 1 < len(rows) and self.closed is None and not self.unsent:
            row, answer = rows[position], rows[position + 1]
            is_same = row[4] == ask.data and row[3] == ask.name and row[1] == ask.kind
            if is_same and answer[2] == row[0] and answer[1] in ANSWERS:
                # The ask and its answer stand side by side: nearly every step of a replay.
                self.position = position + 2
                self._saw(row)
                self._saw(answer)
                return answer
        if position == len(rows) and not self.unsent and self.closed is None:
            return self._call_live(ask)
        return self.wait(self.begin(ask))

    def _call_live(self, ask: Ask) -> Row:
        """At the end of the log: the port answers at once, or the code waits. The rows are this very ask and its answer."""
        ticket = Ticket(ask)
        new = self.port.exchange((ask,), (ticket,), self.open)
        if new is None:
            self.close(Suspended())
        elif len(new) == 2 and new[1][2] == new[0][0]:
            self.rows += new
            self.position += 2
            self._saw(new[0])
            self._saw(new[1])
            return new[1]
        else:
            self.rows += new
            self.unsent.append(ticket)
        return self.wait(ticket)

    def begin(self, ask: Ask) -> Ticket:
        """Ask without waiting. The ask reaches the log with the next wait."""
        self._refuse_if_closed()
        ticket = Ticket(ask)
        self._pass_bookkeeping()
        if self.position < len(self.rows):
            row = self.rows[self.position]
            if row.kind in ANSWERS:
                self.close(mismatch.found_extra(row, ask, self.rows, calling_line()))
            self._bind(ticket, row)
        else:
            self.unsent.append(ticket)
        return ticket

    def wait(self, ticket: Ticket) -> Row:
        """The answer of a ticket; rows before it are revealed one by one on the way."""
        self._refuse_if_closed()
        while ticket.answer is None:
            if self.position < len(self.rows):
                self._reveal()
            else:
                self._exchange((ticket,))
        return ticket.answer

    def finish(self) -> list[Ask]:
        """The code has ended: what is left of the log must not be an ask. Returns the asks that never reached the log."""
        self._refuse_if_closed()
        for row in self.rows[self.position :]:
            if row.kind in ASKS:
                self.close(mismatch.found_end(row, self.rows, "its last line"))
        self.position = len(self.rows)
        return [ticket.ask for ticket in self.unsent]

    def close(self, reason: BaseException) -> NoReturn:
        """End the turn: this and every later ask raises the reason, and nothing is written any more."""
        self.closed = reason
        self.closed_line = calling_line()
        raise reason

    def _refuse_if_closed(self) -> None:
        if self.closed is not None:
            raise self.closed

    def _exchange(self, waiting: Sequence[Ticket]) -> None:
        rows = self.port.exchange([ticket.ask for ticket in self.unsent], waiting, self.open)
        if rows is None:
            self.close(Suspended())
        self.rows.extend(rows)

    def _reveal(self) -> None:
        row = self.rows[self.position]
        if row.kind in ASKS:
            if not self.unsent:
                self.close(mismatch.found_wait(row, self.rows, calling_line()))
            self._bind(self.unsent.pop(0), row)
            return
        self.position += 1
        self._saw(row)
        if row.kind in ANSWERS and row.ref is not None:
            ticket = self.open.pop(row.ref, None)
            if ticket is not None:
                ticket.answer = row

    def _bind(self, ticket: Ticket, row: Row) -> None:
        ask = ticket.ask
        found = difference(ask, row, getattr(ask.body, "check_arguments", True))
        if found is not None:
            if row.kind in ENDINGS:
                self.close(mismatch.found_extra(row, ask, self.rows, calling_line()))
            self.close(mismatch.found_ask(row, ask, found, self.rows, calling_line()))
        self.position += 1
        self._saw(row)
        ticket.row = row
        self.open[row.seq] = ticket

    def _pass_bookkeeping(self) -> None:
        """Rows that the code never sees: attempts, pauses, a retry's cut."""
        rows = self.rows
        while self.position < len(rows):
            row = rows[self.position]
            if row.kind in ASKS or row.kind in ANSWERS or row.kind in ENDINGS:
                return
            self.position += 1
            self._saw(row)

    def _saw(self, row: Row) -> None:
        if row[5] > self.at:
            self.at = row[5]
