"""What a workload is, and which there are; their flows are in `workloads`, which reads their source when imported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from durable_nb.flows.flow import Flow
from durable_nb.flows.run import Run

NAMES = ("fan-out", "sequential", "large-payload", "children", "signals", "timers")


def only_number(number: int, size: int) -> tuple[Any, ...]:
    return (number,)


def says_nothing(run: Run) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Workload:
    """A flow, what a run of it must come to (`size` is that of a payload), what it gets, and is told after its start."""

    name: str
    flow: Flow[..., Any]
    right: Callable[[int, int], int]
    arguments: Callable[[int, int], tuple[Any, ...]] = only_number
    tell: Callable[[Run], None] = says_nothing
