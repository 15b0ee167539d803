"""A pointer into a history, moved by what the code asks. Live and replay are the same walk.

Every ask either meets the logged ask at the pointer or, at the end of the log, goes through the port, which appends rows;
the walk then goes on over those rows exactly as it would over old ones. So live and replay cannot differ in order.

The order that makes it checkable: answers are logged only while the code waits. Between two asks of which the first
did not wait, there is nothing but bookkeeping. What the code gives up is logged with its next ask (`drop`); a replay must
have given it up too when it comes to that row, and may give up more.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, Protocol

from durable_nb.engine import mismatch
from durable_nb.errors import Cancelled
from durable_nb.history.calls import Ask, difference
from durable_nb.history.events import ANSWERS, ASKS, CODE, ENDINGS, Cancelling, Row
from durable_nb.history.wire import KINDS, event_of
from durable_nb.where import calling_line


class Suspended(BaseException):
    """The run waits; its code is unwound and will be replayed. Let it pass."""


class Ticket:
    """An ask the code has made: its row in the log (None until it is there) and its answer."""

    __slots__ = ("answer", "ask", "is_dropped", "listener", "row")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.row: Row | None = None
        self.answer: Row | None = None
        self.is_dropped = False
        self.listener: Callable[[], None] | None = None  # told when the answer is revealed


class Wait:
    """What the code waits for, while it does. `see` reveals a row to it, and says whether the code goes on now."""

    __slots__ = ("cursor", "is_over", "tickets")

    def __init__(self, cursor: "Cursor", is_over: Callable[[], bool], tickets: Sequence[Ticket]) -> None:
        self.cursor = cursor
        self.is_over = is_over
        self.tickets = tickets  # what is named when somebody asks why the run waits

    def see(self, row: Row) -> bool:
        """Reveal the row; True when its wait is over, or what it saw made it ask or give up something."""
        cursor = self.cursor
        cursor.rows.append(row)
        cursor.position = len(cursor.rows)
        cursor.reveal(row)
        return cursor.is_stopped_by(self.is_over) or bool(cursor.dropped) or bool(cursor.unsent)


class Port(Protocol):
    """Where asks go when the log has no more to say."""

    def exchange(self, asks: Sequence[Ticket], wait: Wait | None, open: Mapping[int, Ticket]) -> Sequence[Row] | None:
        """Append the asks and return their rows; or show rows to `wait` until it has seen enough. None = suspend.

        Both come together for a single step only: then its row and its answer are returned, side by side, and `wait`
        has seen neither. `open` are all unanswered asks of the log.
        """
        ...


class Cursor:
    """The walk of one turn over the rows of a run (what a retry set aside is already left out)."""

    def __init__(self, rows: list[Row], port: Port) -> None:
        self.rows = rows
        self.port = port
        self.position = 0
        self.replayed_to = len(rows)  # rows before this were in the log when the turn began
        self.at = rows[0].at if rows else 0.0  # the time as the code sees it: that of the last row revealed to it
        self.open: dict[int, Ticket] = {}
        self.unsent: list[Ticket] = []
        self.dropped: dict[int, Ticket] = {}  # given up by the code, and no row says so yet
        self.cancelling: Row | None = None
        self.is_cancel_due = False
        self.closed: BaseException | None = None
        self.closed_line = ""
        self._forks: list[int] | None = None  # where they are; a run has them from its birth on or never
        with suppress(mismatch.Mismatch):  # the code meets it with its first ask
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
                self._saw(answer)
                return answer
        if position == len(rows) and not self.unsent and self.closed is None and not self.dropped:
            return self._call_live(ask)
        return self._wait_for(self.begin(ask))

    def _call_live(self, ask: Ask) -> Row:
        """At the end of the log: the port answers at once, or the code waits. The rows are this very ask and its answer."""
        ticket = Ticket(ask)
        wait = Wait(self, lambda: ticket.answer is not None, (ticket,))
        if ask.kind != "step":
            self.unsent.append(ticket)
            return self._wait_for(ticket)
        new = self.port.exchange((ticket,), wait, self.open)
        if new is None:
            self.close(Suspended())
        if len(new) == 2 and new[1][2] == new[0][0]:
            self.rows += new
            self.position += 2
            self._saw(new[1])
            return new[1]
        self.rows += new
        self.unsent.append(ticket)
        return self._wait_for(ticket)

    def begin(self, ask: Ask) -> Ticket:
        """Ask without waiting. The ask reaches the log with the next wait."""
        self._refuse_if_closed()
        ticket = Ticket(ask)
        self._pass_bookkeeping()
        if self.position < len(self.rows):
            row = self.rows[self.position]
            if row.kind not in CODE:
                self.close(mismatch.found_extra(row, ask, self.rows, calling_line()))
            self._bind(ticket, row)
        else:
            self.unsent.append(ticket)
        return ticket

    def is_in_the_log(self) -> bool:
        """Whether the next ask of the code meets a row; asked right before it is made."""
        self._pass_bookkeeping()
        return self.position < len(self.rows)

    def is_next(self, kind: str, name: str) -> bool:
        """Whether the log goes on, and with this very row: for what old histories do not have (`patched`)."""
        self._pass_bookkeeping()
        if self.position == len(self.rows):
            return True
        row = self.rows[self.position]
        return row.kind == kind and row.name == name

    def forks_ahead(self) -> list[Row]:
        """The `forked` rows that the code has not come past."""
        if self._forks is None:
            self._forks = [place for place, row in enumerate(self.rows) if row.kind == "forked"]
        if not self._forks:
            return []
        position = self.position
        while position < len(self.rows) and self.rows[position].kind not in SEEN:
            position += 1
        return [self.rows[place] for place in self._forks if place >= position]

    def drop(self, ticket: Ticket) -> None:
        """The code gives the ask up: whoever does it is told, an answer that still comes is shown to nobody."""
        if ticket.is_dropped or self.closed is not None:
            return
        if ticket.answer is not None and ticket.answer.kind != "received":
            return  # a signal that nobody has looked at goes back, though
        ticket.is_dropped = True
        breadcrumb = Ticket(Ask("drop", None, b"{}", ticket))
        if ticket.row is None:
            self.unsent.append(breadcrumb)
            return
        self.open.pop(ticket.row.seq, None)
        self.dropped[ticket.row.seq] = breadcrumb

    def wait(self, is_over: Callable[[], bool], tickets: Sequence[Ticket]) -> None:
        """Reveal rows one by one until it is over. Cancelled is raised here, once, when the run is being cancelled."""
        self._refuse_if_closed()
        wait = Wait(self, is_over, tickets)
        while not self.is_stopped_by(is_over):
            if self.position < len(self.rows):
                self._walk()
            else:
                self._exchange(wait)
        if self.is_cancel_due and not is_over():
            self.is_cancel_due = False
            raise self.cancelled()

    def cancelled(self) -> Cancelled:
        """The exception for a run that is being cancelled."""
        assert self.cancelling is not None
        event = event_of(self.cancelling)
        return Cancelled(event.reason if isinstance(event, Cancelling) else None)

    def is_stopped_by(self, is_over: Callable[[], bool]) -> bool:
        return self.is_cancel_due or is_over()

    def _wait_for(self, ticket: Ticket) -> Row:
        """The answer of an ask that nobody else holds: a cancelled run gives it up."""
        try:
            self.wait(lambda: ticket.answer is not None, (ticket,))
        except Cancelled:
            self.drop(ticket)
            raise
        assert ticket.answer is not None
        return ticket.answer

    def finish(self) -> list[Ticket]:
        """The code has ended: what is left of the log must not be an ask. Returns what never reached the log."""
        self._refuse_if_closed()
        for row in self.rows[self.position :]:
            if row.kind == "drop":
                self._meet_drop(row)
            elif row.kind in CODE:
                self.close(mismatch.found_end(row, self.rows, "its last line"))
        self.position = len(self.rows)
        return [ticket for ticket in self.unsent if ticket.ask.kind != "drop"]

    def close(self, reason: BaseException) -> NoReturn:
        """End the turn: this and every later ask raises the reason, and nothing is written any more."""
        self.closed = reason
        self.closed_line = calling_line()
        raise reason

    def reveal(self, row: Row) -> None:
        """Show a row that no code made: an answer, or that the run is being cancelled."""
        self._saw(row)
        if row.kind == "cancelling":
            self.cancelling = row
            self.is_cancel_due = True
        elif row.kind in ANSWERS and row.ref is not None:
            ticket = self.open.pop(row.ref, None)
            if ticket is not None:
                ticket.answer = row
                if ticket.listener is not None:
                    ticket.listener()

    def _refuse_if_closed(self) -> None:
        if self.closed is not None:
            raise self.closed

    def _exchange(self, wait: Wait) -> None:
        """What was asked goes to the log first; then the code waits."""
        if self.unsent or self.dropped:
            self.unsent += self.dropped.values()
            self.dropped = {}
            asks = list(self.unsent)
            rows = self.port.exchange(asks, None, self.open)
            if rows is None:
                self.close(Suspended())
            self.rows.extend(rows)
            return
        if self.port.exchange((), wait, self.open) is None:
            self.close(Suspended())

    def _walk(self) -> None:
        """Over one row of the log while the code waits."""
        row = self.rows[self.position]
        if row.kind in CODE and row.kind != "drop":
            if not self.unsent:
                self.close(mismatch.found_wait(row, self.rows, calling_line()))
            self._bind(self.unsent.pop(0), row)
            return
        self._step_over(row)
        self.reveal(row)

    def _bind(self, ticket: Ticket, row: Row) -> None:
        ask = ticket.ask
        found = difference(ask, row, getattr(ask.body, "check_arguments", True))
        if found is not None:
            self.close(mismatch.found_ask(row, ask, found, self.rows, calling_line()))
        self.position += 1
        ticket.row = row
        if row.kind in ASKS and not ticket.is_dropped:
            self.open[row.seq] = ticket

    def _pass_bookkeeping(self) -> None:
        """Rows that the code never sees: attempts, pauses, a retry's cut. They do not move its clock."""
        rows = self.rows
        while self.position < len(rows):
            row = rows[self.position]
            if row.kind in SEEN and row.kind != "drop":
                return
            self._step_over(row)

    def _step_over(self, row: Row) -> None:
        """Past a row that is no ask. Of what was given up, the code must have given it up by now."""
        if row.kind == "drop":
            self._meet_drop(row)
        elif row.kind not in KINDS:
            self.close(mismatch.found_unknown(row, self.rows, calling_line()))
        self.position += 1

    def _meet_drop(self, row: Row) -> None:
        if self.dropped.pop(row.ref or 0, None) is not None:
            return
        for place, ticket in enumerate(self.unsent):
            if ticket.ask.kind == "drop" and ticket.ask.body.row is not None and ticket.ask.body.row.seq == row.ref:
                del self.unsent[place]
                return
        self.close(mismatch.found_drop(row, self.rows, calling_line()))

    def _saw(self, row: Row) -> None:
        if row[5] > self.at:
            self.at = row[5]


SEEN = CODE | ANSWERS | ENDINGS | {"cancelling"}
