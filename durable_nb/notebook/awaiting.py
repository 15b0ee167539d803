"""`--await approve:bool`: a cell that begins when somebody has sent a signal, from wherever and whenever."""

from collections.abc import Sequence
from typing import Any

from durable_nb.errors import SignalRejected
from durable_nb.flows.expected import Expected
from durable_nb.notebook.cells.book import CELLS
from durable_nb.notebook.options import Awaited
from durable_nb.notebook.saying import Notice
from durable_nb.notebook.session import Session


def await_signals(session: Session, cell: str, awaited: Sequence[Awaited]) -> dict[str, int]:
    """Wait for each in turn; its value becomes the variable of its name. Returns their asks.

    The kernel may die and be started meanwhile. A signal belongs to the cell until the cell has ended well.
    """
    return {one.name: _await(session, cell, one) for one in awaited}


def _await(session: Session, cell: str, one: Awaited) -> int:
    expected = Expected(one.type)
    mailbox = session.log.mailbox
    unspent = session.held_book().unspent(cell, one.name)
    if unspent is not None and unspent.ref is not None:
        session.shell.user_ns[one.name] = expected.convert(mailbox.received(unspent))
        return unspent.ref
    ask = mailbox.wait(cell, one.name, expected.schema)
    with Notice(session.shell) as notice:
        while True:
            for mail in mailbox.mail(one.name):
                refused: str | None = None
                value: Any = None
                try:
                    value = expected.convert(mailbox.value(mail))
                except SignalRejected as error:
                    refused = str(error)
                session.held_book()
                mailbox.receive(ask, mail, refused)
                if refused is None:
                    session.shell.user_ns[one.name] = value
                    return ask
                mailbox.wait(cell, one.name, expected.schema)
            notice.wait(f"`{cell}` waits for the signal `{one.name}` ({one.spelled})", how_to_send(session, one))


def how_to_send(session: Session, one: Awaited) -> str:
    """The lines that send it, from a notebook and from a shell."""
    value = "true" if one.type is bool else "VALUE"
    return (
        f"%durable signal {CELLS} {one.name} {value}\n"
        f"durable signal --log {session.log.url} '{CELLS}' {one.name} {value}"
    )
