"""What a store must do for `durable trust` beside the histories: write what lies there again with other signatures."""

from collections.abc import Sequence
from typing import Protocol

from durable_nb.stores.shapes import Mail


class Signing(Protocol):
    """Verbs that change marks and nothing else; each is one transaction."""

    def replace_beside(
        self, run: int, state: Sequence[tuple[str, bytes]], note: bytes | None, outcome: bytes | None
    ) -> None:
        """State, note and outcome of a run; None = it stays as it is."""
        ...

    def replace_mail(self, mails: Sequence[Mail]) -> None:
        """Mail of runs."""
        ...

    def early(self) -> list[tuple[str, Mail]]:
        """The signals that wait for runs to begin, with the ids of those, in order."""
        ...

    def replace_early(self, signals: Sequence[Mail]) -> None:
        """Such signals."""
        ...
