"""Momentary leases: a run is held to be steered, whatever its status, and let go with the commit that steers it."""

from durable_nb.client import Client
from durable_nb.errors import LogError, Refused
from durable_nb.stores.protocol import MailArrived
from durable_nb.stores.shapes import Commit, Release, RunRecord


class Seizure:
    """Takes runs and lets them go."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.store

    def take(self, record: RunRecord) -> RunRecord:
        """The run, held by us; Refused when somebody carries it."""
        seized = self._store.seize(record.key, self._client.owner())
        if seized is None:
            raise Refused(f"run {record.id!r} is being carried right now; try again in a moment")
        return seized

    def write(self, *commits: Commit) -> None:
        """All of them or none; when they cannot be written, the leases end all the same."""
        while True:
            try:
                self._store.commit_all(commits)
                return
            except MailArrived:
                commits = tuple(map(self._informed, commits))
            except LogError:
                for commit in commits:
                    self._store.give_back(commit.run, commit.lease, commit.at)
                raise

    def put_down(self, seized: RunRecord) -> None:
        """Let go of it with nothing done."""
        now = self._client.now()
        if seized.status == "waiting":  # mail that came meanwhile has woken nobody
            self.write(Commit(seized.key, seized.lease, seized.mail, [], now, release=as_it_was(seized, now)))
        else:
            self._store.give_back(seized.key, seized.lease, now)

    def _informed(self, commit: Commit) -> Commit:
        """The commit, knowing of the mail that has come meanwhile."""
        present = self._store.run_by_key(commit.run)
        return commit if present is None else commit._replace(mail=present.mail)


def as_it_was(seized: RunRecord, now: float) -> Release:
    """What a momentary lease leaves behind. A waiting run looks for mail, which wakes nobody who is held."""
    ready_at = now if seized.status == "waiting" else seized.ready_at
    return Release(seized.status, ready_at, seized.reason, seized.sentence, seized.waits, seized.outcome)
