"""Runs that wait for the end of another: news of it is mail, put in the transaction that ends the run."""

from collections.abc import Sequence

from durable_nb.stores.library import Connection
from durable_nb.stores.mailing import ENDED, SQL, put_mail
from durable_nb.stores.shapes import NewMail


def watch(connection: Connection, by: int, watches: Sequence[tuple[str, int]], now: float) -> int:
    """Have `by` told when each run ends; of those that have, or that nobody has, at once. The number of the last mail."""
    mark = 0
    for id, ask in watches:
        found = connection.execute(SQL["addressee"], (id,)).fetchone()
        if found is not None and found[2] not in ENDED:
            connection.execute(SQL["watch"], (found[0], by, ask))
        else:
            mark = put_mail(connection, by, _news("gone" if found is None else "ended", id, ask), now)
    return mark


def end_watches(connection: Connection, run: int, now: float) -> None:
    """The run has ended: its watchers are told, and it watches nobody any more."""
    watches = connection.execute(SQL["watches_of"], (run,)).fetchall()
    if not watches:
        return
    connection.execute(SQL["forget_watches"], (run,))
    for watched, by, ask, id in watches:
        if watched == run:
            put_mail(connection, by, _news("ended", id, ask), now)


def watchers(connection: Connection, run: int) -> list[tuple[int, NewMail]]:
    """The news for every watcher of a run that is about to be deleted, and with it the watches."""
    watches = connection.execute(SQL["watches_of"], (run,)).fetchall()
    return [(by, _news("gone", id, ask)) for watched, by, ask, id in watches if watched == run]


def _news(kind: str, id: str, ask: int) -> NewMail:
    return NewMail(kind, ask, None, id, None, b"{}", f"run {id}", True)
