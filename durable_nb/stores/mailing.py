"""Mail: what those who do not hold a run have to say to it, and signals for runs that are still to come."""

from collections.abc import Sequence
from typing import Any

from durable_nb.stores.database import Database
from durable_nb.stores.library import Connection
from durable_nb.stores.queries import statements
from durable_nb.stores.shapes import Mail, Message, NewMail, Told

SQL = statements("mailing")
ENDED = frozenset({"completed", "failed", "cancelled"})
EARLY = 7 * 24 * 3600.0  # seconds that a signal waits for the start of its run


class Mailing:
    """The verbs of those who write to runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mail(self, run: int, after: int = 0) -> list[Mail]:
        return [Mail._make(each) for each in self._database.read(SQL["mail"], (run, after))]

    def tell(self, run: int, mail: NewMail, now: float) -> bool:
        return self._database.transact(lambda connection: put_mail(connection, run, mail, now) > 0)

    def signal(self, id: str, mail: NewMail, now: float, before_start: bool) -> Told:
        def work(connection: Connection) -> Told:
            found = connection.execute(SQL["addressee"], (id,)).fetchone()
            if found is None:
                return Told(_put_early(connection, id, mail, now) if before_start else "unknown", None)
            key, _, status = found
            # Before the look at the status: what was put once was not refused, whatever became of the run since.
            if _is_repeated(connection, key, mail):
                return Told("repeated", key)
            if status in ENDED:
                return Told("ended", key)
            put_mail(connection, key, mail, now)
            return Told("told", key)

        return self._database.transact(work)


def put_mail(connection: Connection, run: int, mail: NewMail, now: float) -> int:
    """Put mail, raise the run's mark, remember the key of a signal; the number, 0 when the run is gone or ended."""
    columns: dict[str, Any] = {"run": run, "kind": mail.kind, "ask": mail.ask, "attempt": mail.attempt}
    columns |= {"name": mail.name, "mail_key": mail.key, "value": mail.value, "sender": mail.sender, "now": now}
    put = connection.execute(SQL["tell"], columns).fetchall()
    if not put:
        return 0
    number = int(put[0][0])
    connection.execute(SQL["raise_mail"], (run, number, now, mail.wakes))
    if _has_key(mail):
        connection.execute(SQL["know_key"], (run, mail.name, mail.key))
    return number


def put_messages(connection: Connection, messages: Sequence[Message], now: float) -> dict[int, int]:
    """Put each for its run, if that is still there; run -> its mark, for those that got any."""
    marks: dict[int, int] = {}
    for message in messages:
        found = connection.execute(SQL["addressee"], (message.run,)).fetchone()
        if found is None or (message.uid is not None and message.uid != found[1]):
            continue
        run = int(found[0])
        if _is_repeated(connection, run, message.mail):
            continue
        number = put_mail(connection, run, message.mail, now)
        if number:
            marks[run] = number
    return marks


def put_back(connection: Connection, run: int, mails: Sequence[Mail]) -> None:
    """Insert mail that was deleted again, where it was."""
    connection.executemany(SQL["put_back"], [(mail.seq, run, *mail[1:]) for mail in mails])


def take_early(connection: Connection, run: int, id: str, at: float) -> int:
    """Move what waits for the id into the inbox of its new run; the run's mark."""
    if not connection.execute(SQL["is_early"], (id,)).fetchone()[0]:
        return 0
    connection.execute(SQL["take_early"], (run, id, at - EARLY))
    connection.execute(SQL["know_early_keys"], (run, id, at - EARLY))
    connection.execute(SQL["drop_early"], (id,))
    (marked,) = connection.execute(SQL["mark_early"], (run,)).fetchall()
    return int(marked[0])


def _put_early(connection: Connection, id: str, mail: NewMail, now: float) -> str:
    connection.execute(SQL["forget_early"], (now - EARLY,))
    signal = (id, mail.name, mail.key, mail.value, mail.sender, now)
    return "early" if connection.execute(SQL["put_early"], signal).rowcount else "repeated"


def _is_repeated(connection: Connection, run: int, mail: NewMail) -> bool:
    if not _has_key(mail):
        return False
    return bool(connection.execute(SQL["is_key_known"], (run, mail.name, mail.key)).fetchone()[0])


def _has_key(mail: NewMail) -> bool:
    return mail.kind == "signal" and mail.key is not None
