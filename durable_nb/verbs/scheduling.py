"""The verbs of schedules: what starts when, and that it stops or goes on."""

from durable_nb.app import App
from durable_nb.flows.schedule import Schedule
from durable_nb.stores.shapes import ScheduleRecord
from durable_nb.verbs.reading import Plain, moment

RECORD_KEYS = ("created_at", "flow", "id", "is_paused", "misfire", "next_at", "sentence", "spec", "tz")


def list_(app: App) -> Plain:
    """All of them, by id."""
    return {"schedules": [_plain(record) for record in app.timetable.records()]}


def next_(app: App, id: str, count: int = 5) -> Plain:
    """When it starts its next runs; never while it is paused."""
    return {"id": id, "times": [moment(at.timestamp()) for at in _schedule(app, id).times(count)]}


def pause(app: App, id: str) -> Plain:
    """It starts nothing until it is resumed."""
    _schedule(app, id).pause()
    return _plain(app.timetable.record(id))


def resume(app: App, id: str) -> Plain:
    """It goes on with its next tick."""
    _schedule(app, id).resume()
    return _plain(app.timetable.record(id))


def drop(app: App, id: str) -> Plain:
    """It starts nothing any more."""
    _schedule(app, id).delete()
    return {"id": id}


def _schedule(app: App, id: str) -> Schedule:
    return Schedule(app.timetable.record(id).id, app)


def _plain(record: ScheduleRecord) -> Plain:
    return {
        "created_at": moment(record.created_at),
        "flow": record.flow,
        "id": record.id,
        "is_paused": record.paused,
        "misfire": record.misfire,
        "next_at": None if record.paused else moment(record.next_at),
        "sentence": record.sentence,
        "spec": record.spec,
        "tz": record.tz,
    }
