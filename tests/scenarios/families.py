"""Flows of the crash matrix that reach further than one history: children, others, executions, and being cancelled."""

import asyncio
from typing import Any

from durable_nb import (
    Cancelled,
    Run,
    RunCancelled,
    continue_as_new,
    current_run,
    flow,
    gather,
    note,
    race,
    runs,
    signal,
    sleep,
    state,
    state_of,
    timer,
)
from tests.scenarios.drives import PATIENCE, Drive, came, cancelled, carried, told, with_others
from tests.scenarios.language import never
from tests.scenarios.shop import add, fail, fetch

# children


@flow(name="matrix.leaf")
def leaf(a: int) -> Any:
    return add(a)


@flow(name="matrix.aleaf")
async def aleaf(a: int) -> Any:
    return await fetch(a)


@flow(name="matrix.spoiled")
def spoiled() -> None:
    fail("spoiled")


@flow(name="matrix.waiting")
def waiting() -> Any:
    return signal("never").result()


@flow(name="matrix.child_called")
def child_called() -> Any:
    return [leaf(1), add(10)]


@flow(name="matrix.children_spawned")
def children_spawned() -> Any:
    return gather(leaf.spawn(1), aleaf.spawn(2)).result()


@flow(name="matrix.child_named")
def child_named() -> Any:
    return leaf["kid"](1)


@flow(name="matrix.child_failing")
def child_failing() -> Any:
    try:
        return spoiled()
    except ValueError as error:
        return [str(error), add(1)]


@flow(name="matrix.children_failing_for_good")
def children_failing_for_good() -> Any:
    return gather(waiting["kid"].spawn(), spoiled.spawn()).result()


@flow(name="matrix.child_cancelled")
def child_cancelled() -> Any:
    kid = waiting["kid"].spawn()
    add(1)  # the child has begun
    Run("kid").cancel("by its parent")
    try:
        return kid.result()
    except RunCancelled as error:
        return str(error)


@flow(name="matrix.child_loses")
def child_loses() -> Any:
    return race(waiting["kid"].spawn(), timer(0.01)).result().index


@flow(name="matrix.grandchildren")
def grandchildren() -> Any:
    return child_called["middle"]()


@flow(name="matrix.async_children")
async def async_children() -> Any:
    return await asyncio.gather(aleaf(1), aleaf["kid"](2))


@flow(name="matrix.detached")
def detached() -> Any:
    leaf["free"].start(1)
    return add(10)


@flow(name="matrix.watched")
def watched() -> Any:
    return [leaf["free"].start(1).result(), add(10)]


@flow(name="matrix.speaks")
def speaks() -> Any:
    leaf_state = keeper["free"].start()
    return [leaf_state.result(), state_of("free")["n"], state_of("free").get("none")]


@flow(name="matrix.keeper")
def keeper() -> Any:
    state["n"] = add(1)
    return state["n"]


@flow(name="matrix.sender")
def sender() -> Any:
    listener["free"].start()
    return [Run("free").signal("go", add(1)), Run("free").result()]


@flow(name="matrix.listener")
def listener() -> Any:
    return signal("go", int).result()


# executions


@flow(name="matrix.counter")
def counter(n: int = 1) -> Any:
    add(n)
    if n < 3:
        continue_as_new(n + 1)
    return [n, current_run().execution]


@flow(name="matrix.acounter")
async def acounter(n: int = 1) -> Any:
    await fetch(n)
    if n < 3:
        continue_as_new(n=n + 1)
    return [n, current_run().execution]


@flow(name="matrix.carries")
def carries(n: int = 1) -> Any:
    state["total"] = state.get("total", 0) + n
    note(f"at {n}")
    if n < 3:
        continue_as_new(n + 1)
    return [dict(state), add(n)]


@flow(name="matrix.adder")
def adder(total: int = 0, n: int = 1) -> Any:
    total += signal("item", int).result()
    if n < 3:
        continue_as_new(total, n + 1)
    return total


@flow(name="matrix.gives_on")
def gives_on(n: int = 1) -> Any:
    """A signal that came and was not looked at goes to the next execution."""
    if n == 1:
        signal("a")
        signal("b").result()
        continue_as_new(2)
    return signal("a").result()


@flow(name="matrix.begins_and_goes_on")
def begins_and_goes_on(n: int = 1) -> Any:
    if n == 1:
        leaf["free"].start(1)
        continue_as_new(2)
    return add(n)


@flow(name="matrix.leaves_open")
def leaves_open(n: int = 1) -> Any:
    if n == 1:
        never.spawn(1)
        waiting["kid"].spawn()
        timer(3600)
        add(n)
        continue_as_new(2)
    return add(n)


@flow(name="matrix.children_of_executions")
def children_of_executions(n: int = 1) -> Any:
    found = leaf(n)
    if n < 2:
        continue_as_new(n + 1)
    return found


# cancelled


@flow(name="matrix.tidies")
def tidies() -> Any:
    try:
        note("waits")
        signal("never").result()
    except Cancelled:
        sleep(0.005)
        add(1)
        raise


@flow(name="matrix.async_tidies")
async def async_tidies() -> Any:
    try:
        note("waits")
        await gather(signal("never"), never.spawn(1))
    except asyncio.CancelledError:
        await fetch(1)
        raise


@flow(name="matrix.returns_instead")
def returns_instead() -> Any:
    note("waits")
    try:
        return gather(never.spawn(1), timer(3600)).result()
    except Cancelled:
        return [add(1)]


@flow(name="matrix.cancelled_parent")
def cancelled_parent() -> Any:
    kid = waiting["kid"].spawn()
    note("waits")
    return kid.result()


def terminated() -> Any:
    run = cancelled_parent["r"].start()
    run.wait_for_note(timeout=PATIENCE)
    if run.record.ended_at is None:
        run.terminate("now")
    came(run), came(runs["kid"])  # both name the process
    return [run.status, runs["kid"].status]


FAMILIES: dict[str, Drive] = {
    **{made.function.__name__: carried(made) for made in (
        child_called, children_spawned, child_named, child_failing, child_cancelled, grandchildren, async_children, watched,
        speaks, sender, counter, acounter, carries, children_of_executions,
    )},
    "children_failing_for_good": with_others(children_failing_for_good, "kid"),
    "child_loses": with_others(child_loses, "kid"),
    "detached": with_others(detached, "free"),
    "begins_and_goes_on": with_others(begins_and_goes_on, "free"),
    "leaves_open": with_others(leaves_open, "kid"),
    "adder": told(adder, ("item", 1), ("item", 2), ("item", 3)),
    "gives_on": told(gives_on, ("a", 1), ("b", 2)),
    "tidies": cancelled(tidies),
    "async_tidies": cancelled(async_tidies),
    "returns_instead": cancelled(returns_instead),
    "cancelled_parent": cancelled(cancelled_parent, "kid"),
    "terminated": terminated,
}  # fmt: skip
