"""The verbs that change what a run does."""

from durable_nb.app import App
from durable_nb.errors import BadOption, Refused
from durable_nb.flows.expected import checked_mailbox
from durable_nb.verbs.given import named, value_of
from durable_nb.verbs.reading import Plain, why


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


_TOLD = {
    "told": "has the signal",
    "repeated": "had that key before; nothing was put",
    "early": "has not begun; the signal is kept for it for seven days",
}


def signal(
    app: App, id: str, name: str, value: str | None = None, key: str | None = None, early: bool = False
) -> Plain:
    """Put a signal into the mailbox of a run."""
    told = app.signal(id, checked_mailbox(name), None if value is None else value_of(value), key, early)
    return {"id": id, "told": told, "why": f"run {id!r} {_TOLD[told]}."}


def cancel(app: App, id: str, reason: str = "") -> Plain:
    """Ask the run to end; its flow may clean up."""
    app.cancel(id, reason)
    after = why(app, id)
    if after["status"] == "cancelled":
        return after
    return {**after, "why": f"run {id!r} was told to end. {after['why']}"}


def terminate(app: App, id: str, reason: str = "") -> Plain:
    """End the run at once."""
    app.terminate(id, reason)
    return why(app, id)


def fork(
    app: App,
    id: str,
    at: int | None = None,
    new: str | None = None,
    results: tuple[str, ...] = (),
    params: tuple[str, ...] = (),
    copy_signals: bool = False,
    preview: bool = False,
) -> Plain:
    """Begin a second run that goes on from an event of this one, or say what that would be."""
    made = app.fork(id, at, new, "copy" if copy_signals else "leave")
    for text in results:
        step, equals, value = text.partition("=")
        if not equals:
            raise BadOption(f"--result {text!r} is not STEP=VALUE, STEP being a name or the number of an ask")
        made = made.with_result(int(step) if step.isdecimal() else step, value_of(value))
    if params:
        made = made.with_arguments(**dict(named(text, "-p") for text in params))
    if not preview:
        begun = made.start()
        return {**_going_on(app, begun.id), "origin": id}
    seen = made.preview()
    if seen.misfit is not None:
        raise Refused(str(seen))
    again = [one._asdict() for one in seen.again]
    return {
        "again": again,
        "at": seen.at,
        "code": seen.code,
        "id": new,
        "kept": seen.kept,
        "origin": id,
        "why": str(seen),
    }


def upgrade(app: App, id: str) -> Plain:
    """Go on with the newest code."""
    app.upgrade(id)
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
