"""Random programs in the whole language, as data, and two flows that run them: a plain one and an async one.

A program is a list of executions, each a list of statements: a verb, then what it needs. Statements are generators that
yield what they wait for, so that both flows run the same ones. What comes out does not depend on when signals come, only
on their order: whoever drives a program sends them all before time goes on.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from durable_nb import (
    Cancelled,
    RunCancelled,
    continue_as_new,
    current_run,
    flow,
    gather,
    note,
    patched,
    race,
    signal,
    state,
    timer,
)
from tests.scenarios.everywhere import afetch, echo, fail
from tests.scenarios.test_futures import slow

Statement = list[Any]
Waits = Generator[Any, Any, None]
LATE = 7200.0  # seconds; a step that is slow takes an hour


class InTime(NamedTuple):
    """A future that is waited for with a timeout."""

    future: Any


class Both(NamedTuple):
    """Two sequences: one after the other in a plain flow, interleaved in an async one."""

    one: Waits
    other: Waits


@flow(name="talk.plain")
def plain(program: list[list[Statement]], seen: list[Any]) -> list[Any]:
    talk = Talk(plain, False, seen)
    try:
        now(talk.run(program[0]))
    except Cancelled:
        echo("tidied")
        raise
    if program[1:]:
        continue_as_new(program[1:], talk.seen)
    return talk.seen


@flow(name="talk.asynchronous")
async def asynchronous(program: list[list[Statement]], seen: list[Any]) -> list[Any]:
    talk = Talk(asynchronous, True, seen)
    try:
        await later(talk.run(program[0]))
    except asyncio.CancelledError:
        await afetch("tidied")
        raise
    if program[1:]:
        continue_as_new(program[1:], talk.seen)
    return talk.seen


FLOWS = (plain, asynchronous)


def now(waits: Waits) -> None:
    """Go through the statements of a plain flow."""
    resume: Callable[[], Any] = lambda: next(waits)  # noqa: E731 - it is replaced in the loop
    while True:
        try:
            wanted = resume()
        except StopIteration:
            return
        try:
            if isinstance(wanted, Both):
                value: Any = (now(wanted.one), now(wanted.other))
            else:
                value = wanted.future.result(timeout=LATE) if isinstance(wanted, InTime) else wanted.result()
        except Exception as error:
            resume = _throwing(waits, error)
        else:
            resume = _sending(waits, value)


async def later(waits: Waits) -> None:
    """Go through the statements of an async flow."""
    resume: Callable[[], Any] = lambda: next(waits)  # noqa: E731 - it is replaced in the loop
    while True:
        try:
            wanted = resume()
        except StopIteration:
            return
        try:
            if isinstance(wanted, Both):
                value: Any = await asyncio.gather(later(wanted.one), later(wanted.other))
            else:
                value = await (asyncio.wait_for(wanted.future, LATE) if isinstance(wanted, InTime) else wanted)
        except Exception as error:
            resume = _throwing(waits, error)
        else:
            resume = _sending(waits, value)


def _throwing(waits: Waits, error: Exception) -> Callable[[], Any]:
    return lambda: waits.throw(error)


def _sending(waits: Waits, value: Any) -> Callable[[], Any]:
    return lambda: waits.send(value)


class Talk:
    """Statements one after another; `seen` is what the code has come to know and what the run returns."""

    def __init__(self, flow: Any, is_async: bool, seen: list[Any]) -> None:
        self.flow = flow
        self.is_async = is_async
        self.seen = seen

    def run(self, body: list[Statement]) -> Waits:
        for verb, *rest in body:
            yield from getattr(self, f"do_{verb}")(*rest)

    def do_echo(self, value: int) -> Waits:
        if self.is_async:
            self.seen.append((yield afetch(value)))
        else:
            self.seen.append(echo(value))

    def do_fail(self) -> Waits:
        yield fail.spawn("no")

    def do_try(self, body: list[Statement]) -> Waits:
        try:
            yield from self.run(body)
        except (ValueError, TimeoutError, RunCancelled) as error:
            self.seen.append(f"caught {type(error).__name__}")

    def do_sleep(self, seconds: int) -> Waits:
        yield timer(seconds)

    def do_gather(self, kinds: list[str], return_exceptions: bool) -> Waits:
        found = yield gather([self.begun(kind) for kind in kinds], return_exceptions=return_exceptions)
        self.seen.append([one if isinstance(one, int | list) else str(one) for one in found])

    def do_spawn(self, kinds: list[str], between: list[Statement]) -> Waits:
        futures = [self.begun(kind) for kind in kinds]
        yield from self.run(between)
        self.seen.append((yield futures[-1]))

    def do_map(self, count: int, limit: int) -> Waits:
        self.seen.append((yield echo.map(range(count), limit=limit)))

    def do_race(self, loser: str, is_kept: bool) -> Waits:
        begun = self.begun(loser)
        won = yield race(begun.keep() if is_kept else begun, race(timer(60), signal("nobody")))
        self.seen.append([won.index, won.value.index])
        if is_kept:
            self.seen.append((yield begun))

    def do_hear(self, mailbox: str) -> Waits:
        try:
            self.seen.append((yield InTime(signal(mailbox))))
        except TimeoutError:
            self.seen.append("silence")

    def do_hear_any(self) -> Waits:
        won = yield race(signal("a"), signal("b"), timer(LATE))
        self.seen.append([won.index, won.value])

    def do_child(self, body: list[Statement]) -> Waits:
        self.seen.append((yield self.flow.spawn([body], [])))

    def do_children(self, bodies: list[list[Statement]]) -> Waits:
        self.seen.append((yield gather(self.flow.spawn([body], []) for body in bodies)))

    def do_free(self, value: int) -> Waits:
        run = self.flow.start([[["echo", value]]], [])
        self.seen.append(len(run.id) > 0)
        yield timer(1)

    def do_keep(self, key: str) -> Waits:
        state[key] = state.get(key, 0) + 1
        note(f"{key} {state[key]}")
        self.seen.append([state[key], patched(key), current_run().execution])
        yield timer(0)

    def do_both(self, one: list[Statement], other: list[Statement]) -> Waits:
        mine = [Talk(self.flow, self.is_async, []) for _ in range(2)]
        yield Both(mine[0].do_try(one), mine[1].do_try(other))
        self.seen.append([each.seen for each in mine])

    def begun(self, kind: str) -> Any:
        match kind:
            case "fail":
                return fail.spawn("no")
            case "slow":
                return slow.spawn(1)
            case "child":
                return self.flow.spawn([[["sleep", 100], ["echo", 3]]], [])
            case _:
                return afetch.spawn(2)


def programs(leaves: int) -> st.SearchStrategy[list[list[Statement]]]:
    """Programs of one to three executions."""
    small = st.integers(0, 3)
    kinds = st.lists(st.sampled_from(["echo", "fail", "slow", "child"]), min_size=1, max_size=3)
    alone = st.one_of(
        st.tuples(st.just("echo"), small),
        st.tuples(st.just("fail")),
        st.tuples(st.just("sleep"), small),
        st.tuples(st.just("gather"), kinds, st.booleans()),
        st.tuples(st.just("map"), small, st.integers(1, 2)),
        st.tuples(st.just("race"), st.sampled_from(["slow", "child"]), st.booleans()),
        st.tuples(st.just("free"), small),
    )
    bodies = st.lists(alone, max_size=2)
    leaf = st.one_of(
        alone,
        st.tuples(st.just("hear"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("hear_any")),
        st.tuples(st.just("keep"), st.sampled_from(["x", "y"])),
        st.tuples(st.just("child"), bodies),
        st.tuples(st.just("children"), st.lists(bodies, min_size=1, max_size=2)),
        st.tuples(st.just("both"), bodies, bodies),
    )

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        body = st.lists(inner, max_size=3)
        return st.one_of(st.tuples(st.just("try"), body), st.tuples(st.just("spawn"), kinds, body))

    statements = st.lists(st.recursive(leaf, larger, max_leaves=leaves), min_size=1, max_size=leaves)
    return st.lists(statements, min_size=1, max_size=3).map(_as_json)


def _as_json(value: Any) -> Any:
    return [_as_json(one) for one in value] if isinstance(value, list | tuple) else value
