"""Drives of the crash matrix: what a user does with an open log. Repeated from the first line after a kill."""

from collections.abc import Callable
from typing import Any

from durable_nb import Refused, Run, SignalRejected, runs
from durable_nb.client import ENDED

Drive = Callable[[], Any]
PATIENCE = 60.0


def carried(flow: Any, *args: Any) -> Drive:
    """Start it and wait for its end. A second life looks at what failed, and does not retry it."""
    return lambda: came(flow.options(on_conflict="attach")["r"].start(*args))


def told(flow: Any, *signals: tuple[str, Any], args: tuple[Any, ...] = ()) -> Drive:
    """Start it, tell it these, wait for its end."""

    def drive() -> Any:
        run = flow.options(on_conflict="attach")["r"].start(*args)
        for name, value in signals:
            tell(run, name, value)
        return came(run)

    return drive


def told_when_noted(flow: Any, *signals: tuple[str, Any]) -> Drive:
    """The same, once the flow has said its note."""

    def drive() -> Any:
        run = flow.options(on_conflict="attach")[
            "r"
        ].start()  # a second life looks at what failed, and does not retry it
        run.wait_for_note(timeout=PATIENCE)
        for name, value in signals:
            tell(run, name, value)
        return came(run)

    return drive


def cancelled(flow: Any, *others: str) -> Drive:
    """Start it, cancel it once it has said its note; what came of it, and of the others."""

    def drive() -> Any:
        run = flow.options(on_conflict="attach")[
            "r"
        ].start()  # a second life looks at what failed, and does not retry it
        run.wait_for_note(timeout=PATIENCE)
        try:
            run.cancel("enough")
        except Refused:
            assert run.status in ENDED  # in the life before
        return [came(run), *(came(runs[id]) for id in others)]

    return drive


def with_others(flow: Any, *others: str) -> Drive:
    """Start it; what came of it, and of the runs that it began."""

    def drive() -> Any:
        run = flow.options(on_conflict="attach")[
            "r"
        ].start()  # a second life looks at what failed, and does not retry it
        return [came(run), *(came(runs[id]) for id in others)]

    return drive


def came(run: Run) -> Any:
    """The result, or the failure in words."""
    try:
        return run.result(PATIENCE)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def tell(run: Run, name: str, value: Any) -> None:
    """A signal that is told once, however often the drive is repeated."""
    if run.status not in ENDED:
        try:
            run.signal(name, value, key=f"{name} {value!r}")
        except SignalRejected:
            raise  # the wait was open already, and says what it takes
        except Refused:
            assert run.status in ENDED  # it has ended meanwhile
