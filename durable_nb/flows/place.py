"""What the present code is inside of: a flow, a step's body, or neither; and who may not be here at all."""

import threading
from collections.abc import Callable
from typing import Any, NoReturn

from msgspec import Struct

from durable_nb.engine.turn import Turn, place
from durable_nb.errors import NotInFlow
from durable_nb.where import calling_line


class Interrupt(Struct):
    """Whether somebody wants the step to stop."""

    is_set: bool = False


Recall = Callable[[int], int]  # how far an earlier attempt of this ask has come, by its own word


class StepPlace:
    """Inside the body of a step: which attempt of what this is."""

    __slots__ = ("ask", "attempt", "execution", "id", "name", "recall", "sink", "stop", "uid")

    def __init__(self, id: str, uid: str, execution: int, ask: int, name: str, attempt: int, recall: Recall) -> None:
        self.id = id
        self.uid = uid
        self.execution = execution
        self.ask = ask
        self.name = name
        self.attempt = attempt
        self.recall = recall
        self.stop = Interrupt()
        self.sink: Any = None  # where its output goes, heartbeats too


class ForeignThread:
    """A thread that flow code has started: nothing durable can be done in it."""


_foreign = ForeignThread()


def turn_or_none() -> Turn | None:
    """The turn when the caller is flow code, None elsewhere; refuses threads that flow code started."""
    here = place.get()
    if here.__class__ is Turn:
        return here
    if here.__class__ is ForeignThread:
        raise NotInFlow(
            f"a durable call in a thread that the flow started, at {calling_line()}; replay could not repeat it: "
            "use .spawn(…) instead of a thread"
        )
    return None


def turn_here(verb: str) -> Turn:
    """The turn, or NotInFlow: the verb needs one."""
    turn = turn_or_none()
    if turn is None:
        refuse(verb, "in a step's body" if isinstance(place.get(), StepPlace) else "outside a flow")
    return turn


def refuse(verb: str, where: str) -> NoReturn:
    raise NotInFlow(f"{verb} works in the code of a @flow only; it was called {where}, at {calling_line()}")


def step_place() -> StepPlace | None:
    here = place.get()
    return here if isinstance(here, StepPlace) else None


def watch_threads() -> None:
    """Mark every thread that flow code starts from now on (once per process)."""
    if getattr(threading.Thread.start, "_durable_nb", False):
        return
    plain_start = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if place.get().__class__ is Turn:
            run = self.run

            def marked() -> None:
                place.set(_foreign)
                run()

            self.run = marked  # type: ignore[method-assign]
        plain_start(self)

    start._durable_nb = True  # type: ignore[attr-defined]
    threading.Thread.start = start  # type: ignore[method-assign]
