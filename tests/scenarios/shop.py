"""The flows of the crash matrix. Every step writes a line into a ledger before it ends: what really happened, and how often."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from durable_nb import Retry, Saga, current_run, current_step, flow, now, random, sleep, step, timer, uuid4

LEDGER = Path(os.environ.get("LEDGER", "ledger.txt"))
KILL_BETWEEN = int(os.environ.get("KILL_BETWEEN", "0"))
_betweens = 0


def note(what: str) -> None:
    """One line: the idempotency key, the attempt, what. O_APPEND, so that a kill never leaves half a line behind."""
    me = current_step()
    line = f"{me.idempotency_key}\t{me.attempt}\t{what}\n"
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


def between() -> None:
    """Flow code that computes: the process may die right here."""
    global _betweens
    if current_run().is_replaying:
        return
    _betweens += 1
    if _betweens == KILL_BETWEEN:
        os.kill(os.getpid(), signal.SIGKILL)


@step
def add(a: int, b: int = 1) -> int:
    note(f"add {a} {b}")
    return a + b


@step
def fail(what: str) -> None:
    note(f"fail {what}")
    raise ValueError(what)


@step(retry=Retry(max_attempts=4, first=0.001, factor=1, jitter=0))
def flaky(until: int) -> int:
    note(f"flaky {until}")
    if failures() < until:
        raise ConnectionError(f"not yet {until}")
    return until


def failures() -> int:
    """How many attempts of the present call have written a line, the present one not counted."""
    key = current_step().idempotency_key
    return sum(1 for line in LEDGER.read_text().splitlines() if line.startswith(key + "\t")) - 1


@step(delay=0.01)
def late(a: int) -> int:
    note(f"late {a}")
    return a * 10


@step(timeout=30)
def bounded(a: int) -> int:
    note(f"bounded {a}")
    return a + 100


@step
async def fetch(a: int) -> int:
    note(f"fetch {a}")
    return a + 1000


@step
def big(size: int) -> bytes:
    note(f"big {size}")
    return bytes(range(256)) * (size // 256)


@step
def measure(data: bytes) -> int:
    note(f"measure {len(data)}")
    return len(data)


@step
def undo(what: str) -> str:
    note(f"undo {what}")
    return what


@step
def shape(value: Any) -> Any:
    note("shape")
    return (value, {1, 2}, {3: "three"})


@flow
def one() -> int:
    return add(1)


@flow
def sequence(n: int) -> int:
    total = 0
    for _ in range(n):
        total = add(total, b=2)
        between()
    return total


@flow
def nothing() -> str:
    return "done"


@flow
def branch(n: int) -> str:
    total = add(n)
    between()
    if total % 2:
        return f"odd {add(total)}"
    return f"even {add(total, 3)}"


@flow
def caught() -> list[str]:
    seen = []
    for what in ("a", "b"):
        try:
            fail(what)
        except ValueError as error:
            seen.append(str(error))
        between()
    return [*seen, str(add(1))]


@flow
def uncaught() -> None:
    add(1)
    between()
    fail("for good")


@flow
def retried() -> list[int]:
    return [flaky(0), flaky(2), add(5)]


@flow
def exhausted() -> str:
    try:
        flaky(99)
    except ConnectionError as error:
        return f"gave up: {error}"
    return "never"


@flow
def compensated() -> str:
    try:
        with Saga() as saga:
            first = add(1)
            saga.undo(undo, f"first {first}")
            between()
            second = add(first)
            saga.undo(undo, f"second {second}")
            fail("in the saga")
    except ValueError as error:
        return f"compensated after {error}"
    return "never"


@flow
def sleeper() -> int:
    before = add(1)
    sleep(0.01)
    between()
    return add(before)


@flow
def long_sleeper() -> int:
    before = add(1)
    sleep(0.08)
    return add(before)


@flow
def timers() -> list[int]:
    first, second = timer(0.02), timer(0.01)
    n = add(1)
    second.result()
    first.result()
    return [n, add(n)]


@flow
def values() -> list[Any]:
    a, b = str(uuid4()), random().random()
    between()
    first = shape([a, b])  # a replay with other values would not fit the logged arguments
    c = str(uuid4())
    second = shape([c, now().isoformat()])
    return [first[0] == [a, b], second[0][0] == c, len({a, c})]


@flow
def delayed() -> int:
    return late(add(1))


@flow
def elsewhere() -> int:
    return bounded(add(bounded(1)))


@flow
def spawned() -> list[int]:
    futures = [bounded.spawn(n) for n in range(3)]
    here = add(7)
    between()
    return [here, *(future.result() for future in futures)]


@flow
def asynchronous() -> list[int]:
    first, second = fetch.spawn(1), fetch.spawn(2)
    return [second.result(), first.result(), add(3)]


@flow
def large() -> list[int]:
    data = big(200_000)
    between()
    return [measure(data), measure(data), len(big(1024))]


@flow
def shapes() -> str:
    return repr(shape({"a": (1, 2.5, None), "b": b"\x00\xff"}))


@flow
def nested(n: int) -> int:
    def inner(k: int) -> int:
        return add(k) if k <= 0 else inner(k - 1) + add(k)

    return inner(n)


@flow
def forgetful() -> int:
    bounded.spawn(1)
    return add(2)


class Account:
    """A method flow: every run works on an object of its own."""

    def __init__(self) -> None:
        self.balance = 0

    @step
    def read(self, amount: int) -> int:
        note(f"read {amount}")
        return amount * 2

    @flow
    def deposit(self, *amounts: int) -> int:
        for amount in amounts:
            self.balance += self.read(amount)
            between()
        return self.balance


FLOWS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "one": (one, ()),
    "sequence": (sequence, (4,)),
    "nothing": (nothing, ()),
    "branch odd": (branch, (2,)),
    "branch even": (branch, (1,)),
    "caught": (caught, ()),
    "uncaught": (uncaught, ()),
    "retried": (retried, ()),
    "exhausted": (exhausted, ()),
    "compensated": (compensated, ()),
    "sleeper": (sleeper, ()),
    "long sleeper": (long_sleeper, ()),
    "timers": (timers, ()),
    "values": (values, ()),
    "delayed": (delayed, ()),
    "elsewhere": (elsewhere, ()),
    "spawned": (spawned, ()),
    "asynchronous": (asynchronous, ()),
    "large": (large, ()),
    "shapes": (shapes, ()),
    "nested": (nested, (3,)),
    "forgetful": (forgetful, ()),
    "method": (Account.deposit, (1, 2, 3)),
}


def wait_for_row(path: str, sql: str) -> None:
    """Wait until a row is there, as another process would see it."""
    from pysqlite3 import dbapi2 as sqlite

    connection = sqlite.connect(f"file:{path}?mode=ro", uri=True)
    deadline = time.monotonic() + 20
    while not connection.execute(sql).fetchone():
        if time.monotonic() > deadline:
            raise AssertionError(f"no row: {sql}")
    connection.close()
