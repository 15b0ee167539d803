"""Programs as data, and one flow that runs them: whatever a generator can think of becomes a durable run.

A program is a list of statements, each a list of JSON: its verb, then what it needs. Every call of a step gets a label,
counted in the order of the code, so that a call can be known again in another run of the same program. Labels of spawned
calls are negative: whether one that is never awaited runs is up to chance.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from durable_nb import Retry, Saga, current_step, flow, now, random, sleep, step, timer, uuid4

LEDGER: list[tuple[str, int, int]] = []
"""What really happened, outside of every log: the idempotency key, the attempt, the label of the call."""

ALWAYS = 99  # a flaky step that never succeeds
_ATTEMPTS = 3

SAMPLES: tuple[Callable[[], Any], ...] = (
    lambda: 7,
    lambda: "seven",
    lambda: [1, [2.5, None], {"three": True}],
    lambda: (1, (2,), "three"),
    lambda: {1: "one", (2, 3): "two"},
    lambda: {3, 1, 2},
    lambda: b"\x00\xff",
    lambda: Decimal("1.10"),
    lambda: datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
    lambda: float("inf"),
    lambda: ValueError("as a value"),
    lambda: bytes(range(256)) * 300,
)


def note(label: int) -> None:
    me = current_step()
    LEDGER.append((me.idempotency_key, me.attempt, label))


@step(name="programs.echo")
def echo(label: int, value: Any) -> Any:
    note(label)
    return value


@step(name="programs.make")
def make(label: int, sample: int) -> Any:
    note(label)
    return SAMPLES[sample]()


@step(name="programs.fail")
def fail(label: int, what: str) -> None:
    note(label)
    raise ValueError(what)


@step(name="programs.flaky", retry=Retry(max_attempts=_ATTEMPTS, first=2, factor=2, jitter=0.5))
def flaky(label: int, until: int) -> int:
    note(label)
    if sum(1 for _, _, one in LEDGER if one == label) <= until:
        raise ConnectionError(f"not yet {until}")
    return until


@step(name="programs.late", delay=3)
def late(label: int, value: int) -> int:
    note(label)
    return value


@step(name="programs.bounded", timeout=60)
def bounded(label: int, value: int) -> int:
    note(label)
    return value


@flow(name="programs.interpret")
def interpret(program: list[Any]) -> list[Any]:
    return Machine().run(program)


class Machine:
    """Runs statements one after another; `seen` is what the code has come to know and what the run returns."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.labels = 0

    def run(self, program: list[Any]) -> list[Any]:
        for verb, *rest in program:
            getattr(self, f"do_{verb}")(*rest)
        return self.seen

    def label(self) -> int:
        self.labels += 1
        return self.labels

    def do_echo(self, sample: int) -> None:
        value = make(self.label(), sample)
        again = echo(self.label(), value)
        self.seen.append(f"{type(again).__name__} {str(again)[:40] if not isinstance(again, set) else sorted(again)}")

    def do_loop(self, times: int, body: list[Any]) -> None:
        for _ in range(times):
            self.run(body)

    def do_branch(self, value: int, one: list[Any], other: list[Any]) -> None:
        self.run(one if echo(self.label(), value) % 2 else other)

    def do_nest(self, depth: int, body: list[Any]) -> None:
        def inner(left: int) -> None:
            if left:
                inner(left - 1)
                self.seen.append(echo(self.label(), left))
            else:
                self.run(body)

        inner(depth)

    def do_fail(self) -> None:
        fail(self.label(), "a step's failure")

    def do_raise(self) -> None:
        raise KeyError("the flow's own failure")

    def do_try(self, body: list[Any]) -> None:
        try:
            self.run(body)
        except Exception as error:
            self.seen.append(f"caught {type(error).__name__}: {error}")

    def do_flaky(self, until: int) -> None:
        self.seen.append(flaky(self.label(), until))

    def do_late(self, value: int) -> None:
        self.seen.append(late(self.label(), value))

    def do_bounded(self, value: int) -> None:
        self.seen.append(bounded(self.label(), value))

    def do_saga(self, bodies: list[Any]) -> None:
        with Saga() as saga:
            for body in bodies:
                done = echo(self.label(), len(self.seen))
                saga.undo(echo, self.label(), f"undo {done}")
                self.run(body)

    def do_sleep(self, seconds: int) -> None:
        before = now()
        sleep(seconds)
        self.seen.append((now() - before).total_seconds() >= seconds)

    def do_timers(self, due: list[int], order: list[int]) -> None:
        timers = [timer(seconds) for seconds in due]
        self.seen.append(echo(self.label(), len(timers)))
        for index in order:
            timers[index % len(timers)].result()

    def do_spawn(self, kinds: list[str], order: list[int], between: list[Any]) -> None:
        futures = [self.spawned(kind) for kind in kinds]
        self.run(between)
        for index in order:
            try:
                self.seen.append(futures[index % len(futures)].result())
            except Exception as error:
                self.seen.append(f"spawned {type(error).__name__}: {error}")

    def spawned(self, kind: str) -> Any:
        label = -self.label()
        match kind:
            case "fail":
                return fail.spawn(label, "a spawned step's failure")
            case "flaky":
                return flaky.spawn(label, 1)
            case "late":
                return late.spawn(label, label)
            case "bounded":
                return bounded.spawn(label, label)
            case _:
                return echo.spawn(label, label)

    def do_chance(self) -> None:
        drawn = [str(uuid4()), random().random(), now().isoformat()]
        self.seen.append(echo(self.label(), drawn) == drawn)


def programs(leaves: int) -> st.SearchStrategy[list[Any]]:
    """Programs of about that many statements."""
    small = st.integers(0, 3)
    leaf = st.one_of(
        st.tuples(st.just("echo"), st.integers(0, len(SAMPLES) - 1)),
        st.tuples(st.just("fail")),
        st.tuples(st.just("raise")),
        st.tuples(st.just("chance")),
        st.tuples(st.just("flaky"), st.sampled_from([0, 1, 2, ALWAYS])),
        st.tuples(st.just("late"), small),
        st.tuples(st.just("bounded"), small),
        st.tuples(st.just("sleep"), small),
        st.tuples(st.just("timers"), st.lists(small, min_size=1, max_size=3), st.lists(small, max_size=4)),
    )

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        body = st.lists(inner, max_size=3)
        kinds = st.lists(st.sampled_from(["echo", "fail", "flaky", "late", "bounded"]), min_size=1, max_size=3)
        return st.one_of(
            st.tuples(st.just("loop"), st.integers(0, 2), body),
            st.tuples(st.just("branch"), small, body, body),
            st.tuples(st.just("nest"), st.integers(0, 2), body),
            st.tuples(st.just("try"), body),
            st.tuples(st.just("saga"), st.lists(body, max_size=3)),
            st.tuples(st.just("spawn"), kinds, st.lists(small, max_size=4), body),
        )

    statements = st.recursive(leaf, larger, max_leaves=leaves)
    return st.lists(statements, min_size=1, max_size=leaves).map(_as_json)


def _as_json(value: Any) -> Any:
    return [_as_json(one) for one in value] if isinstance(value, list | tuple) else value
