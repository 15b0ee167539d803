"""The verbs that carry runs: worker, and run."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import click

from durable_nb.app import App
from durable_nb.cli.load import flow_of, see_folder, stem
from durable_nb.client import new_id
from durable_nb.codec import values as codec
from durable_nb.codec.preview import preview
from durable_nb.durations import spoken
from durable_nb.errors import BadOption, RunParked, RunPaused, Untrusted
from durable_nb.flows.flow import Flow
from durable_nb.flows.run import checked_id
from durable_nb.history import wire
from durable_nb.history.failure import Failure
from durable_nb.notebook.where import log_beside
from durable_nb.opening import connect
from durable_nb.stores.shapes import Query
from durable_nb.verbs.exits import Exit, exit_of_status
from durable_nb.verbs.given import named
from durable_nb.verbs.logs import chosen
from durable_nb.verbs.reading import Plain
from durable_nb.verbs.render import say_error
from durable_nb.views.values import failure_form, value_form

RUN_KEYS = ("failure", "flow", "id", "result", "status")
_RECENT = 50  # runs that are looked at for one to go on with
_LOOK = 0.05  # seconds between looks whether everything is done
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


# worker


def worker(
    url: str, carriers: int = 4, workers: int = 32, durability: str = "full", until_idle: bool = False, tags: str = ""
) -> Plain:
    """Carry the runs of a log until a signal comes, or until nothing is due."""
    if not carriers:
        raise BadOption("--carriers 0 carries nothing; give at least 1")
    see_folder(Path.cwd())
    since, before = time.monotonic(), _counts(url)
    with _Stop() as stop:
        click.echo(f"worker {os.getpid()} carries {url} with {carriers} carriers and {workers} workers")
        sys.stdout.flush()
        with connect(url, carriers=carriers, workers=workers, durability=durability, tags=_tags(tags)) as app:
            _wait(app, stop, until_idle)
            after = app.store.counts()
    ended = ", ".join(_more(before, after)) or "no run ended"
    return {"line": f"worker {os.getpid()} ends after {spoken(time.monotonic() - since)}: {ended}"}


def _tags(text: str) -> list[str]:
    return [tag for tag in (part.strip() for part in text.split(",")) if tag]


def _counts(url: str) -> dict[str, int]:
    """As they are before this process does anything, which it may only in a log that is trusted."""
    with connect(url, carry=False) as app:
        if not app.is_trusted:
            raise Untrusted
        return app.store.counts()


def _more(before: dict[str, int], after: dict[str, int]) -> Iterator[str]:
    for status in ("completed", "failed", "cancelled", "parked"):
        more = after.get(status, 0) - before.get(status, 0)
        if more > 0:
            yield f"{more} {status}"


class _Stop:
    """Within its block, a signal asks for an orderly end; a second one of its kind is as deadly as ever.

    A flag and no event: a handler that sets one can find the lock of it held by the very thread that it interrupts.
    """

    spares_commits = True  # read by the store: this handler never raises in the middle of a commit

    def __init__(self) -> None:
        self.is_asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Stop":
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (None, signal.SIG_IGN):  # what the caller has us ignore stays ignored: nohup means it
                self._before[number] = handler
                signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
        signal.signal(number, self._before[number])


def _wait(app: App, stop: _Stop, until_idle: bool) -> None:
    """Until told to stop; or until two looks in a row find nothing to do, for claimed work shows a moment later.

    It is looked again and again: a signal that comes right before a wait without end, or to another thread, does not end it.
    """
    idle = 0
    while not stop.is_asked:
        time.sleep(_LOOK)
        idle = idle + 1 if until_idle and _is_idle(app) else 0
        if idle == 2:
            return


def _is_idle(app: App) -> bool:
    runtime = app.runtime
    assert runtime is not None
    due = app.next_due()
    if due is not None and due <= app.clock.now():
        return False
    held = sum(owner.runs for owner in app.store.owners() if owner.key == runtime.owner)
    return not held and not runtime.workers.busy and not runtime.carriers.has_backlog


# run


def run(
    log: str | None, target: str, id: str | None = None, params: tuple[str, ...] = (), out: str | None = None
) -> Plain:
    """Carry a run of the flow, or of the notebook, here, begun or not, until it ends or waits for a person."""
    order = (_order_of_notebook if target.endswith(".ipynb") else _order)(log, target, params, out)
    if id is not None:
        checked_id(id)  # before there is a log
    with connect(order.log) as app:
        id = id or _unfinished(app, order) or new_id()
        click.echo(f"run {id}", err=True)
        try:
            _carry(app, order, id)
        except KeyboardInterrupt as stopped:
            raise KeyboardInterrupt(_kept(app, id)) from stopped
        except (RunParked, RunPaused) as waits:
            raise type(waits)(f"{waits} `durable resume {id}` lets it go on") from waits
        except (Exception, SystemExit):
            if app.store.run(id) is None or app.record(id).status not in ("failed", "cancelled"):
                raise  # not what the flow came to, but why it could not be carried
        return _outcome(app, id)


class _Order(NamedTuple):
    """What is to be run, and in which log."""

    log: str
    flow: Flow[..., Any]
    arguments: dict[str, Any]
    is_notebook: bool = False


def _order(log: str | None, target: str, params: tuple[str, ...], out: str | None) -> _Order:
    if out is not None:
        raise BadOption(f"--out is for notebooks; {target} is none")
    log = chosen(log, Path.cwd()) or str(Path.cwd() / f"{stem(target)}.durable.db")
    return _Order(log, flow_of(target), _parameters(params))


def _order_of_notebook(log: str | None, target: str, params: tuple[str, ...], out: str | None) -> _Order:
    """Paths are whole, so that whoever goes on with the run elsewhere finds the same files."""
    from durable_nb.notebook.headless import notebook  # noqa: PLC0415 - its flow takes the name `notebook`

    path = Path(target).resolve()
    if not path.is_file():
        raise BadOption(f"there is no notebook {target}")
    arguments = {"path": str(path), "parameters": _parameters(params), "out": out and str(Path(out).resolve())}
    return _Order(log or str(log_beside(path)), notebook, arguments, is_notebook=True)


def _parameters(params: tuple[str, ...]) -> dict[str, Any]:
    return dict(named(text, "-p") for text in params)


def _unfinished(app: App, order: _Order) -> str | None:
    """The same command was given before, without an id either, and did not come to its end."""
    if not order.is_notebook or not app.is_trusted:
        return None
    for record in app.store.find(Query(flow=order.flow.name, limit=_RECENT)):
        if app.arguments(record.id) == order.arguments:
            return record.id if record.status not in ("completed", "cancelled") else None
    return None


def _carry(app: App, order: _Order, id: str) -> None:
    run = order.flow[id]
    try:
        run(**order.arguments)
    except RunParked:
        if not order.is_notebook or app.record(id).reason != "crashes":
            raise
        app.resume(id)  # the command was killed again and again, and whoever gives it wants it tried once more
        run(**order.arguments)


def _kept(app: App, id: str) -> str:
    record = app.store.run(id)
    if record is None:
        return f"run {id!r} was not begun"
    if record.status == "paused":
        return f"run {id!r} is paused, {record.sentence}; `durable resume {id}`, then the same command goes on"
    return f"run {id!r} is kept, and the same command goes on with it"


def _outcome(app: App, id: str) -> Plain:
    record = app.record(id)
    ended = wire.decode_ended(record.outcome) if record.outcome is not None else wire.Ended(0)
    shown = None
    if ended.value is not None:
        result = app.client.outcome(record)
        shown = result if isinstance(result, str) else _shown(result)
    if ended.failure is not None:
        say_error(f"run {id!r} failed: {_said(ended.failure)}")
    return {
        "failure": failure_form(ended.failure) if ended.failure is not None else None,
        "flow": record.flow,
        "id": id,
        "result": value_form(ended.value) if ended.value is not None else None,
        "status": record.status,
        "text": shown,
    }


def _said(failure: Failure) -> str:
    """In one line. What we raise ourselves says all in its message."""
    sentence = failure.message if failure.type.startswith("durable_nb.errors.") else failure.sentence
    return f"{sentence} ({failure.where})" if failure.where else sentence


def _shown(result: object) -> str:
    """JSON where it is all that, so that a shell can go on with it."""
    json = codec.plain_json(result)
    return json.decode() if json is not None else preview(result)


def run_exit(data: Plain) -> Exit:
    return exit_of_status(data["status"])
