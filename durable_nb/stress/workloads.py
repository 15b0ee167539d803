"""What the runs of a stress do: one flow for each way of working. Each result depends on the run's number."""

import random
import zlib

from durable_nb.flows.flow import flow
from durable_nb.flows.futures import gather, race
from durable_nb.flows.primitives import signal, sleep, timer
from durable_nb.flows.run import Run
from durable_nb.flows.step import step
from durable_nb.stress.workload import Workload

WIDTH = 20  # steps beside one another
LENGTH = 10  # steps one after another
CHILDREN = 3
SIGNALS = 2
SHORT = 0.005  # seconds


@step(name="stress.add")
def add(number: int, more: int) -> int:
    return number + more


@step(name="stress.make")
def make(number: int, size: int) -> bytes:
    """Bytes that no other run has, and that cannot be made smaller."""
    return random.Random(number).randbytes(size)


@step(name="stress.check")
def check(content: bytes) -> int:
    return zlib.crc32(content)


@flow(name="stress.fan_out")
def fan_out(number: int) -> int:
    return sum(gather(add.spawn(number, more) for more in range(WIDTH)).result())


@flow(name="stress.sequential")
def sequential(number: int) -> int:
    for _ in range(LENGTH):
        number = add(number, 1)
    return number


@flow(name="stress.payload")
def payload(number: int, size: int) -> int:
    return check(make(number, size))


@flow(name="stress.child")
def child(number: int, more: int) -> int:
    return add(number, more)


@flow(name="stress.children")
def children(number: int) -> int:
    return sum(gather(child.spawn(number, more) for more in range(CHILDREN)).result())


@flow(name="stress.signals")
def signals(number: int) -> int:
    for _ in range(SIGNALS):
        number = add(number, signal("go", int).result())
    return number


@flow(name="stress.timers")
def timers(number: int) -> int:
    sleep(SHORT)
    won = race(timer("1h"), timer(SHORT)).result()
    gather(timer(SHORT), timer(SHORT)).result()
    return add(number, won.index)


def _sends(run: Run) -> None:
    for more in range(SIGNALS):
        run.signal("go", more)


WORKLOADS = {
    each.name: each
    for each in (
        Workload("fan-out", fan_out, lambda number, size: WIDTH * number + sum(range(WIDTH))),
        Workload("sequential", sequential, lambda number, size: number + LENGTH),
        Workload(
            "large-payload",
            payload,
            lambda number, size: zlib.crc32(make.function(number, size)),
            lambda number, size: (number, size),
        ),
        Workload("children", children, lambda number, size: CHILDREN * number + sum(range(CHILDREN))),
        Workload("signals", signals, lambda number, size: number + sum(range(SIGNALS)), tell=_sends),
        Workload("timers", timers, lambda number, size: number + 1),
    )
}
