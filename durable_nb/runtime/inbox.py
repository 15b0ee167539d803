"""The mail of a run as its carrier holds it: in order, signals by mailbox, orders apart."""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable

from durable_nb.stores.shapes import Mail

_ORDERS = ("pause",)


class Inbox:
    """What was read from the store and is not in the history yet. Signals stay until somebody takes his turn at them."""

    def __init__(self) -> None:
        self.read_to = 0  # the newest mail that was read
        self.orders: list[Mail] = []
        self._news: list[Mail] = []
        self._mailboxes: dict[str, list[Mail]] = defaultdict(list)

    def add(self, mails: Iterable[Mail]) -> None:
        """Mail that was read, in its order."""
        for mail in mails:
            self.read_to = max(self.read_to, mail.seq)
            if mail.kind == "signal":
                self._mailboxes[mail.name or ""].append(mail)
            elif mail.kind in _ORDERS:
                self.orders.append(mail)
            else:
                self._news.append(mail)

    def give_back(self, mail: Mail) -> None:
        """A signal that was taken and not looked at, to its old place."""
        insort(self._mailboxes[mail.name or ""], mail, key=lambda one: one.seq)

    def oldest(self, mailboxes: Iterable[str]) -> Mail | None:
        """The next mail in order: of signals only those whose mailbox somebody waits at."""
        found = self._news[0] if self._news else None
        for name in mailboxes:
            box = self._mailboxes.get(name)
            if box and (found is None or box[0].seq < found.seq):
                found = box[0]
        return found

    def take(self, mail: Mail) -> None:
        """Out of the inbox."""
        box = self._mailboxes[mail.name or ""] if mail.kind == "signal" else self._news
        box.remove(mail)

    @property
    def has_signals(self) -> bool:
        return any(self._mailboxes.values())

    @property
    def cancel(self) -> Mail | None:
        """The order to end, if there is one: it must not wait for a wait."""
        return next((mail for mail in self._news if mail.kind == "cancel"), None)
