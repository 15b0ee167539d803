"""One flow lived through once, and again with a simulated crash at every commit: the same end, and nothing done twice.

A drive is what a user does with an open app: start, signal, wait. It is repeated from its first line after a crash, so
it gives its signals a key. Its last line returns the result, or raises.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from durable_nb import Run, connect, current_step, runs, step
from durable_nb.app import App
from durable_nb.client import ENDED
from durable_nb.errors import LogError
from durable_nb.testing import (
    CrashPoint,
    FakeClock,
    SimulatedCrash,
    abandon,
    crash_at,
    replay,
    run_to_end,
    run_until_idle,
)

WHENS = ("before commit", "after commit")
LIVES = 400  # more commits than any scenario has
DONE: list[tuple[str, int, str]] = []
"""What steps really did, outside of every log: the idempotency key, the attempt, what."""

Drive = Callable[[App], Any]


class Failed(NamedTuple):
    """How a life ended that raised."""

    type: str
    message: str


class Lived(NamedTuple):
    """The life without a crash."""

    result: Any
    kinds: list[str]
    did: Counter[str]
    crashes: int


def did(what: str) -> None:
    """One line of the ledger, from the body of a step."""
    me = current_step()
    DONE.append((me.idempotency_key, me.attempt, what))


@step(name="everywhere.echo")
def echo(value: Any) -> Any:
    did(f"echo {value}")
    return value


@step(name="everywhere.fail")
def fail(what: str) -> None:
    did(f"fail {what}")
    raise ValueError(what)


@step(name="everywhere.afetch")
async def afetch(value: Any) -> Any:
    did(f"afetch {value}")
    return value


@step(name="everywhere.afail")
async def afail(what: str) -> None:
    did(f"afail {what}")
    raise ValueError(what)


def kinds(id: str = "r") -> list[str]:
    """The row kinds of the run, without how it began."""
    return [row.kind for row in rows_of(id)][1:]


def rows_of(id: str = "r") -> Any:
    run = runs[id]
    return run.host.store.history(run.record.key)  # type: ignore[attr-defined]


def fits(flow: Any, id: str, folder: Path) -> Any:
    """The flow's code against its frozen history: it fits, and this is what it returns."""
    path = folder / "frozen.json"
    runs[id].freeze(path)
    return replay(path, flow)


def ended(app: App, id: str = "r") -> Any:
    """Carry the run to its end, time included."""
    return run_to_end(app, runs[id])


def told(run: Run, name: str, value: Any = None) -> None:
    """A signal that a repeated drive sends once, whatever became of the run."""
    if run.status not in ENDED:
        run.signal(name, value, key=name + repr(value))


def everywhere(flow: Any, drive: Drive, folder: Path, id: str = "r", at: set[int] | None = None) -> Lived:
    """Live once without a crash, then with one at every commit, or at some; the checks of this module's first line."""
    DONE.clear()
    clock = FakeClock()
    with connect(folder / "plain.durable.db", carriers=0, clock=clock, durability="process") as app:
        with crash_at() as count:
            result = _result(lambda: drive(app))
        assert count.commits < LIVES
        replayed = fits(flow, id, folder)
        _check_replayed(replayed, result, runs[id])
        lived = Lived(result, kinds(id), Counter(what for _, _, what in DONE), 2 * count.commits)
    _check_done()
    for when in WHENS:
        chosen = range(1, count.commits + 1) if at is None else sorted(at)  # beyond the last nothing crashes
        for number in chosen:
            _crash(flow, drive, folder / f"{when[:5].strip()}{number}.durable.db", id, number, when, lived)
    return lived


def _crash(flow: Any, drive: Drive, path: Path, id: str, number: int, when: str, lived: Lived) -> None:
    DONE.clear()
    clock = FakeClock()
    case = f"crash {when} {number}"
    with crash_at(number, when) as point:
        found = _first_life(drive, path, clock, point)
    if not point.is_dead:
        assert found == lived.result, f"{case}: {found}"
        return
    known = _answered(path)
    before = Counter(key for key, _, _ in DONE)
    with connect(path, carriers=0, clock=clock, durability="process") as app:
        found = _result(lambda: drive(app))
        assert found == lived.result, f"{case}: {found}"
        after = Counter(key for key, _, _ in DONE)
        assert {key for key in known if after[key] != before[key]} == set(), f"{case}: an answered step ran again"
        _check_replayed(fits(flow, id, path.parent), found, runs[id])
    _check_done()
    path.unlink()


def _first_life(drive: Drive, path: Path, clock: FakeClock, point: CrashPoint) -> Any:
    app = None
    try:
        app = connect(path, carriers=0, clock=clock, durability="process")
        found = _result(lambda: drive(app))
    except (SimulatedCrash, LogError):
        if not point.is_dead:
            raise
        found = None
    if app is not None:
        if not point.is_dead:
            with suppress(SimulatedCrash):  # it may die in its very last commit
                app.close()
        if point.is_dead:
            abandon(app)
    return found


def _result(drive: Callable[[], Any]) -> Any:
    try:
        return drive()
    except LogError:
        raise
    except Exception as error:
        if type(error) is AssertionError:
            raise
        return Failed(type(error).__name__, str(error))


def _check_replayed(replayed: Any, result: Any, run: Run) -> None:
    """The replay ends as the run did."""
    if run.status == "completed":
        assert run.result() == replayed
    elif run.status == "failed":
        assert isinstance(replayed, BaseException)
        assert (type(replayed).__name__, str(replayed)) == _result(run.result)


def _answered(path: Path) -> set[str]:
    """The idempotency keys whose outcome is in the log, admitted or in the inbox."""
    if not path.exists():
        return set()
    from pysqlite3 import dbapi2 as sqlite

    connection = sqlite.connect(path)
    try:
        found = connection.execute(_ANSWERED).fetchall()
    except sqlite.OperationalError:
        return set()  # it crashed before the tables were there
    finally:
        connection.close()
    return {f"{uid}/{execution}/{ask}" for uid, execution, ask in found}


_ANSWERED = """
select run.uid, 1 + (select count(*) from event c where c.run = run.key and c.kind = 'continued' and c.seq < answer.ref),
       answer.ref
from event answer join run on run.key = answer.run where answer.kind in ('returned', 'raised')
union
select run.uid, run.execution, inbox.ask from inbox join run on run.key = inbox.run
where inbox.kind in ('returned', 'raised')
"""


def _check_done() -> None:
    """A call has one key, and no attempt was made twice."""
    tries = Counter((key, attempt) for key, attempt, _ in DONE)
    assert max(tries.values(), default=1) == 1


__all__ = [
    "DONE", "Failed", "Lived", "afail", "afetch", "did", "echo", "ended", "everywhere", "fail", "fits", "kinds", "rows_of",
    "run_until_idle", "told",
]  # fmt: skip
