"""The verbs that remove what is old, and those that hand runs from log to log."""

from durable_nb.app import App
from durable_nb.verbs.reading import Plain, why


def prune(
    app: App,
    flow: str | None = None,
    status: str | None = None,
    older_than: str | None = None,
    keep: int | None = None,
    dry_run: bool = False,
) -> Plain:
    """Remove ended runs, or say which would go."""
    found = app.prune(flow, status, older_than, keep, dry_run)
    return {"dry_run": dry_run, "ids": list(found.ids), "runs": found.runs}


def gc(app: App) -> Plain:
    """Remove what nothing needs any more."""
    return app.gc()._asdict()


def export(app: App, id: str, file: str) -> Plain:
    """Write a run to a file."""
    app.export_run(id, file)
    return {"id": id, "why": f"run {id!r} is in {file}; `durable import {file}` makes it a run of another log."}


def import_(app: App, file: str, id: str | None = None, trust: bool = False) -> Plain:
    """Make the run of a file a run of this log."""
    made = app.import_run(file, id, trust)
    return {**why(app, made.id), "id": made.id}
