"""What people do with a log as a whole, as an app does it: prune, clean up, measure, hand runs on."""

import os
from typing import Any

from durable_nb.durations import Duration
from durable_nb.flows.run import Run
from durable_nb.management.export import Parcel, pack, unpack
from durable_nb.management.measures import Collected, Metrics, metrics
from durable_nb.management.retention import Pruned, prune
from durable_nb.steer.importing import take_in
from durable_nb.steer.steered import Steered


class Keeping(Steered):
    """The part of an app that looks after its log."""

    def prune(
        self,
        flow: Any = None,
        status: str | None = None,
        older_than: Duration | None = None,
        keep: int | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Remove ended runs that ended longer ago than that, or all but the `keep` newest of each flow."""
        self._check_open()
        return prune(self.store, self.now(), getattr(flow, "name", flow), status, older_than, keep, dry_run)

    def gc(self) -> Collected:
        """Remove payloads and code that nothing needs; what a run or a fork refers to stays."""
        self._check_open()
        return Collected(*self.store.gc(self.now()))

    def du(self) -> dict[str, int]:
        """Bytes that each table holds, and of the file."""
        return self.store.sizes()

    def metrics(self) -> Metrics:
        """The log in numbers, counted from its histories."""
        return metrics(self.store, self.now())

    def export_run(self, id: str, path: str | os.PathLike[str]) -> None:
        """Write the run to one file, with its payloads, its code and its output, signed."""
        pack(self.client.values, self.store, self.client.record(id), path)

    def import_run(self, path: str | os.PathLike[str], id: str | None = None, trust: bool = False) -> Run:
        """The run of such a file as a run of this log, under a new uid; it goes on if it had not ended.

        A file that another key has signed is refused, unless `trust` says that what is in it may execute here.
        """
        self._check_open()
        parcel: Parcel = unpack(path)
        made = take_in(self.client, parcel, id, trust)
        self._go_on()
        return Run(made, host=self)  # type: ignore[arg-type]  # an app is a host
