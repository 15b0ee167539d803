"""Keep so many runs in flight for a while, and take the time of each."""

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from durable_nb.app import App
from durable_nb.flows.host import StartOptions
from durable_nb.flows.run import Run
from durable_nb.stress.workload import Workload

PATIENCE = 60.0  # seconds for the last runs to end
LOST = "lost"


class Settings(NamedTuple):
    """What a stress is done with; figures of different settings are not compared."""

    concurrency: int = 4
    in_flight: int = 20
    payload: int = 100 * 1024
    durability: str = "full"


class Call(NamedTuple):
    """One run as its caller saw it: from the call of `start` to the result in hand, seconds since the load began."""

    number: int
    id: str  # "" when it could not be started
    began: float
    ended: float
    failure: str | None  # the class of what was raised, or `lost`: it did not end


class Load(NamedTuple):
    """All calls, and for how long new runs were started. What ended later is of the drain."""

    calls: list[Call]
    window: float

    @property
    def in_window(self) -> list[Call]:
        return [call for call in self.calls if call.failure is None and call.ended <= self.window]


def load(app: App, workload: Workload, settings: Settings, seconds: float, patience: float = PATIENCE) -> Load:
    """As many callers as runs may be in flight, each with the next run as soon as its last one has ended."""
    calls: list[Call] = []
    defects: list[BaseException] = []
    numbers, stop = count(), threading.Event()
    since = time.perf_counter()

    def elapsed() -> float:
        return time.perf_counter() - since

    def call_until_the_end() -> None:
        try:
            while elapsed() < seconds and not stop.is_set():
                calls.append(_call(app, workload, next(numbers), settings.payload, elapsed, patience))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            defects.append(error)
            stop.set()

    callers = [
        threading.Thread(target=call_until_the_end, name=f"stress-{n}", daemon=True) for n in range(settings.in_flight)
    ]
    try:
        for caller in callers:
            caller.start()
        stop.wait(seconds)  # a Ctrl-C ends it at once
    finally:
        window = min(seconds, elapsed())
        stop.set()
        for caller in callers:
            caller.join()
    if defects:
        raise defects[0]
    return Load(sorted(calls), window)


def _call(app: App, workload: Workload, number: int, size: int, elapsed: Callable[[], float], patience: float) -> Call:
    began, id, failure = elapsed(), "", None
    try:
        id = app.start(workload.flow, None, workload.arguments(number, size), {}, StartOptions())
        workload.tell(Run(id, workload.flow, host=app))
        app.result(id, patience)
    except TimeoutError:
        failure = LOST
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what is counted
        failure = type(error).__name__
    return Call(number, id, began, elapsed(), failure)
