"""The verbs that change what a run does."""

from durable_nb.app import App
from durable_nb.cli.reading import Plain, why


def pause(app: App, id: str) -> Plain:
    """No further turn until it is resumed; a running step ends first."""
    app.pause(id)
    after = why(app, id)
    if after["status"] in ("paused", "completed", "failed", "cancelled"):
        return after
    return {**after, "why": f"{after['why']} It was told to pause, which it does with its next step."}


def resume(app: App, id: str) -> Plain:
    """A paused or parked run goes on."""
    app.resume(id)
    return _going_on(app, id)


def retry(app: App, id: str, redo: bool = False) -> Plain:
    """A failed run goes on just before its failure."""
    app.retry(id, redo)
    return _going_on(app, id)


def delete(app: App, id: str, force: bool = False) -> Plain:
    """The run is gone, with everything it has."""
    app.delete(id, force)
    return {"id": id, "status": None, "why": f"run {id!r} is deleted."}


def _going_on(app: App, id: str) -> Plain:
    after = why(app, id)
    living = [owner.label for owner in app.store.owners() if owner.is_alive and owner.key != app.owner()]
    if living:
        return {**after, "why": f"run {id!r} goes on, carried by whoever is first: {', '.join(living)}."}
    return {
        **after,
        "why": f"run {id!r} goes on as soon as somebody carries it; nobody has the log open: `durable worker`.",
    }
