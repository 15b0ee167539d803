"""Signals that cells wait for: the mailbox of the book's run."""

from typing import Any

import msgspec

from durable_nb.app import App
from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.values import payloads
from durable_nb.notebook.cells.book import Book
from durable_nb.stores.shapes import Mail
from durable_nb.views.sentences import Waits


class Mailbox:
    """The signals for the cells of one log."""

    def __init__(self, app: App, book: Book) -> None:
        self._app = app
        self._book = book

    def wait(self, cell: str, name: str, schema: msgspec.Raw) -> int:
        """The ask of a signal: the one that is open already, or a new one. The book is let go, saying what it waits for."""
        book = self._book
        ask = book.open_wait(name)
        rows: list[Row] = []
        if ask is None:
            ask = book.next
            rows.append(wire.row_of(e.SignalAsked(seq=ask, at=self._app.now(), name=name, type=schema)))
        waits = Waits(ask, "signal", name, None, msgspec.json.decode(schema))
        book.let_go(rows, f"cell `{cell}` waits for the signal `{name}`", [waits])
        return ask

    def mail(self, name: str) -> list[Mail]:
        """The signals of that name that have come, in order."""
        record = self._book.record
        found = self._app.store.mail(record.key) if record is not None else []
        return [one for one in found if one.kind == "signal" and one.name == name]

    def value(self, mail: Mail) -> Any:
        """What was sent."""
        value = wire.decode_value(mail.value)
        return self._app.values.take(value, self._book.uid, 0, "signal", f"the signal `{mail.name}`")

    def received(self, row: Row) -> Any:
        """What came of a wait."""
        event = wire.event_of(row)
        assert isinstance(event, e.Received)
        return self._app.values.take(event.value, self._book.uid, row.seq, "received", f"the signal `{event.name}`")

    def receive(self, ask: int, mail: Mail, refused: str | None = None) -> None:
        """Take a signal out of the mailbox: it was received, or refused because of its value."""
        kept = wire.decode_value(mail.value)
        seq, at, name = self._book.next, self._app.now(), mail.name or ""
        event: e.Received | e.SignalRejected
        if refused is None:
            event = e.Received(
                seq=seq, at=at, ref=ask, name=name, value=kept, mail=mail.seq, sender=mail.sender,
                sent_at=mail.sent_at, key=mail.key,
            )  # fmt: skip
        else:
            event = e.SignalRejected(
                seq=seq, at=at, ref=ask, name=name, value=kept, sentence=refused, sender=mail.sender, key=mail.key
            )
        row = self._app.values.mark_row(wire.row_of(event), self._book.uid)
        self._book.write([row], [(seq, digest) for digest in payloads(kept)], [mail.seq])
        if refused is None:
            self._book.let_go()  # only so the row says that nothing is waited for any more
