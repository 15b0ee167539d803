"""The verbs that look: plain data of runs, never a decoded value."""

from collections.abc import Iterable, Iterator
from typing import Any

from durable_nb.app import App
from durable_nb.durations import as_datetime
from durable_nb.history import events as e, wire
from durable_nb.stores.shapes import Query, RunRecord
from durable_nb.verbs.exits import Exit, exit_of_status
from durable_nb.views import sentences
from durable_nb.views.table import EventRow, table
from durable_nb.views.timeline import draw, folded, line_form, lines
from durable_nb.views.values import arguments_form, failure_form, value_form

Plain = dict[str, Any]

RUN_KEYS = (
    "began_at",
    "ended_at",
    "execution",
    "flow",
    "id",
    "reason",
    "sentence",
    "status",
    "took",
    "uid",
    "updated_at",
    "version",
)
LS_KEYS = ("next", "runs", "totals")
WORKER_KEYS = ("host", "id", "is_alive", "label", "pid", "runs", "seen_at", "started_at")
SHOW_KEYS = tuple(
    sorted(
        (*RUN_KEYS, "arguments", "asks", "code", "events", "failure", "is_trusted", "origin", "output", "result", "why")
    )
)
DRAWN = 40  # asks that `show` draws, the last ones
EVENT_KEYS = ("at", "data", "kind", "name", "ref", "seq", "what")


def moment(at: float | None) -> str | None:
    """ISO 8601, UTC."""
    return None if at is None else as_datetime(at).isoformat(timespec="microseconds").replace("+00:00", "Z")


def ls(
    app: App,
    status: str | None = None,
    flow: str | None = None,
    search: str | None = None,
    limit: int = 50,
    before: str | None = None,
    workers: bool = False,
) -> Plain:
    """Runs, newest first; `before` goes on after the last id of the page before. Or who has the log open."""
    if workers:
        return {"workers": [_worker(app, owner) for owner in app.store.owners()]}
    key = app.record(before).key if before is not None else None
    found = app.store.find(Query(flow, status, search, None, key, limit + 1))
    now = app.clock.now()
    return {
        "next": found[limit - 1].id if len(found) > limit else None,
        "runs": [_run(record, now) for record in found[:limit]],
        "totals": dict(sorted(app.store.counts().items())),
    }


def _worker(app: App, owner: Any) -> Plain:
    return {
        "host": owner.host,
        "id": owner.key,
        "is_alive": owner.is_alive,
        "label": owner.label,
        "pid": owner.pid,
        "runs": owner.runs,
        "seen_at": moment(owner.seen_at),
        "started_at": moment(owner.started_at),
    }


def _run(record: RunRecord, now: float) -> Plain:
    until = record.ended_at if record.ended_at is not None else now
    return {
        "began_at": moment(record.created_at),
        "ended_at": moment(record.ended_at),
        "execution": record.execution,
        "flow": record.flow,
        "id": record.id,
        "reason": record.reason,
        "sentence": sentences.short(record, now),
        "status": record.status,
        "took": round(max(0.0, until - record.created_at), 6),
        "uid": record.uid,
        "updated_at": moment(record.updated_at),
        "version": record.version,
    }


def show(app: App, id: str) -> Plain:
    """Everything about one run that fits on a page."""
    record, now = app.record(id), app.clock.now()
    rows, mail = app.store.history(record.key), app.store.mail(record.key)
    ended = wire.decode_ended(record.outcome) if record.outcome is not None else None
    asked = lines(rows, mail)
    until = record.ended_at if record.ended_at is not None else now
    return {
        **_run(record, now),
        "arguments": arguments_form(wire.decode_value(record.arguments)),
        "asks": [_with_moments(line_form(line)) for line in asked],
        "code": record.code,
        "events": len(rows),
        "failure": failure_form(ended.failure) if ended is not None and ended.failure is not None else None,
        "is_trusted": app.is_trusted,
        "origin": record.origin,
        "output": [{**piece._asdict(), "at": moment(piece.at)} for piece in app.output(id)],
        "picture": draw(asked[-DRAWN:], record.created_at, until),
        "result": value_form(ended.value) if ended is not None and ended.value is not None else None,
        "why": _why(app, record, now),
    }


def _with_moments(form: Plain) -> Plain:
    """Times as people and other programs read them."""
    changed: Plain = {name: moment(form[name]) for name in form if name in ("due", "retry_at") or name.endswith("_at")}
    changed |= {"at": moment(form["at"])} if "at" in form else {}
    if "attempts" in form:
        changed["attempts"] = [_with_moments(one) for one in form["attempts"]]
    return {**form, **changed}


def _why(app: App, record: RunRecord, now: float) -> str:
    """As run.why(), but one row that cannot be read does not silence it."""
    owners = {owner.key: owner.label for owner in app.store.owners()} if record.owner is not None else {}
    asks = folded(app.store.history(record.key), app.store.mail(record.key))
    return sentences.why(record, asks, now, owners.get(record.owner or 0), app.client.obstacles(record, asks))


def why(app: App, id: str) -> Plain:
    """What the run is doing or waiting for."""
    record = app.record(id)
    return {"id": record.id, "status": record.status, "why": _why(app, record, app.clock.now())}


def tree(app: App, id: str) -> Plain:
    """The run and all below it."""
    family, now = app.store.tree(app.record(id).key), app.clock.now()
    ids = {record.key: record.id for record in family}
    runs = [{**_run(record, now), "parent": ids.get(record.parent or 0)} for record in family]
    return {"runs": runs, "text": app.tree(id)}


def du(app: App) -> Plain:
    """Bytes by table, and of the file."""
    return {"bytes": dict(sorted(app.du().items()))}


def history(app: App, id: str) -> Iterator[Plain]:
    """Its events, in order."""
    return map(_event, table(app.store.history(app.record(id).key)))


def follow(app: App, id: str) -> Iterator[Plain]:
    """Its events, those that come as they come, until it ends or waits for a person."""
    app.record(id)
    return map(_event, table(_followed(app, id)))


def _followed(app: App, id: str) -> Iterable[e.Row]:
    for event in app.follow(id):
        yield wire.row_of(event)


def _event(row: EventRow) -> Plain:
    data = {name: moment(part) if name in ("due", "retry_at") else part for name, part in row.data.items()}
    return {**row._asdict(), "at": moment(row.at), "data": data}


def followed_exit(last: Plain | None) -> Exit:
    """How the run ended, from its last event."""
    return exit_of_status(last["kind"]) if last is not None else Exit.DONE
