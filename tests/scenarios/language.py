"""Flows of the crash matrix for the whole language, within one run: futures, signals, own data.

What a step does that may be given up before it begins is written down as "perhaps …": it may run or not.
"""

from typing import Any

from durable_nb import (
    Queue,
    Run,
    Saga,
    SignalRejected,
    current_run,
    flow,
    gather,
    note,
    patched,
    race,
    signal,
    sleep,
    state,
    step,
    timer,
)
from tests.scenarios import shop
from tests.scenarios.drives import Drive, came, carried, tell, told, told_when_noted
from tests.scenarios.shop import add, bounded, fail, flaky, late, undo


@step(name="matrix.never", delay=3600)
def never(a: int) -> int:
    shop.note(f"never {a}")
    return a


@step(name="matrix.later", delay=0.05)
def later(a: int) -> int:
    shop.note(f"later {a}")
    return a


@step(name="matrix.perhaps")
def perhaps(a: int) -> int:
    shop.note(f"perhaps {a}")
    return a


@step(name="matrix.narrow", queue=Queue("matrix", concurrency=1))
def narrow(a: int) -> int:
    shop.note(f"narrow {a}")
    return a


@step(name="matrix.confirm")
def confirm(who: str, at: int) -> str:
    shop.note(f"confirm {who} {at}")
    return f"{who} at {at}"


# futures


@flow(name="matrix.mapped")
def mapped() -> Any:
    return add.map([1, 2, 3], limit=2).result()


@flow(name="matrix.map_fails")
def map_fails() -> Any:
    try:
        return fail.map(["a", "b"], limit=1).result()
    except ValueError as error:
        return str(error)


@flow(name="matrix.gathered")
def gathered() -> Any:
    return gather(add.spawn(1), late.spawn(2), bounded.spawn(3)).result()


@flow(name="matrix.gather_fails")
def gather_fails() -> Any:
    try:
        return gather(never.spawn(1), fail.spawn("no")).result()
    except ValueError as error:
        return [str(error), add(1)]


@flow(name="matrix.gather_fails_for_good")
def gather_fails_for_good() -> Any:
    return gather(fail.spawn("no"), never.spawn(1)).result()


@flow(name="matrix.gather_exceptions")
def gather_exceptions() -> Any:
    return [repr(one) for one in gather(add.spawn(1), fail.spawn("no"), return_exceptions=True).result()]


@flow(name="matrix.race_of_steps")
def race_of_steps() -> Any:
    won = race(never.spawn(1), add.spawn(1)).result()
    return [won.index, won.value, add(2)]


@flow(name="matrix.race_of_waits")
def race_of_waits() -> Any:
    return race(signal("never"), timer(0.01), timer(3600)).result().index


@flow(name="matrix.race_with_signal")
def race_with_signal() -> Any:
    won = race(never.spawn(1), signal("go"), timer(3600)).result()
    return [won.index, won.value, add(1)]


@flow(name="matrix.race_nested")
def race_nested() -> Any:
    won = race(gather(never.spawn(1), never.spawn(2)), race(signal("x"), timer(0.01))).result()
    return [won.index, won.value.index]


@flow(name="matrix.race_keep")
def race_keep() -> Any:
    kept = later.spawn(1).keep()
    won = race(kept, timer(0.001)).result()
    return [won.index, kept.result()]


@flow(name="matrix.race_fails")
def race_fails() -> Any:
    try:
        return race(never.spawn(1), fail.spawn("lost")).result()
    except ValueError as error:
        return [str(error), add(1)]


@flow(name="matrix.race_in_a_loop")
def race_in_a_loop() -> Any:
    """Steps that may have begun when they lose."""
    return [race(timer(0.001), perhaps.options(delay=0.05).spawn(n)).result().index for n in range(2)]


@flow(name="matrix.retries_beside")
def retries_beside() -> Any:
    return gather(flaky.spawn(1), flaky.spawn(2), add.spawn(1)).result()


@flow(name="matrix.delays_beside")
def delays_beside() -> Any:
    return late.map([1, 2, 3]).result()


@flow(name="matrix.queued")
def queued() -> Any:
    return gather(narrow.spawn(n) for n in range(3)).result()


@flow(name="matrix.saga_of_a_gather")
def saga_of_a_gather() -> Any:
    try:
        with Saga() as saga:
            for n in gather(add.spawn(1), add.spawn(2)).result():
                saga.undo(undo, f"{n}")
            gather(fail.spawn("in the saga"), never.spawn(1)).result()
    except ValueError as error:
        return str(error)


# signals


@flow(name="matrix.in_time")
def in_time() -> Any:
    return [signal("go").result(timeout=3600), add(1)]


@flow(name="matrix.too_late")
def too_late() -> Any:
    asked = signal("go")
    try:
        return asked.result(timeout=0.01)
    except TimeoutError:
        note("late")
    return [asked.result(), add(1)]


@flow(name="matrix.step_too_late")
def step_too_late() -> Any:
    begun = later.spawn(1)
    try:
        return begun.result(timeout=0.001)
    except TimeoutError:
        return [begun.result()]


@flow(name="matrix.letters")
def letters(count: int) -> Any:
    return [signal("item", int).result() for _ in range(count)]


@flow(name="matrix.taken_in_turns")
def taken_in_turns() -> Any:
    """The loser of each race gives back what it took, and what it would have taken."""
    found = []
    while len(found) < 3:
        won = race(signal("a"), signal("b")).result()
        found.append([won.index, won.value])
    return found


@flow(name="matrix.taken_and_given_back")
def taken_and_given_back() -> Any:
    kept, other = signal("a"), signal("b")
    other.result()  # by now the first one has its signal too
    won = race(other, kept).result()
    return [won.index, add(1), signal("a").result()]


@flow(name="matrix.sends_to_itself")
def sends_to_itself() -> Any:
    asked = signal("own")
    Run(current_run().id).signal("own", add(1))
    return asked.result()


@flow(name="matrix.resumed_step")
def resumed_step() -> Any:
    return [confirm.when_signalled(), add(1)]


def early() -> Any:
    if current_status() is None:
        Run("r").signal("item", 1, key="one", before_start=True)
        Run("r").signal("item", 7, key="one", before_start=True)  # the key is known
        Run("r").signal("item", 2, key="two", before_start=True)
    return came(letters["r"].start(2))


def current_status() -> str | None:
    try:
        return Run("r").status
    except LookupError:
        return None


def keyed() -> Any:
    run = letters["r"].start(2)
    for value in (1, 1, 2):
        tell(run, "item", value)
    return came(run)


def rejected() -> Any:
    run = letters["r"].start(1)
    try:
        tell(run, "item", "no number")
    except SignalRejected:
        pass  # the wait was open already
    tell(run, "item", 3)
    return came(run)


def resumed(flow: Any) -> Drive:
    def drive() -> Any:
        run = flow["r"].start()
        tell(run, f"step:{confirm.name}", ((("ann", 7)), {}))
        return came(run)

    return drive


# own data


@flow(name="matrix.counts")
def counts() -> Any:
    for n in range(3):
        state["n"] = state.get("n", 0) + 1
        note(f"at {n}")
        add(state["n"])
    del state["n"]
    return [len(state), state.setdefault("m", 5)]


@flow(name="matrix.patches")
def patches() -> Any:
    return [patched("newer"), add(1), patched("newer"), patched("newest")]


@flow(name="matrix.naps")
def naps() -> Any:
    state["before"] = add(1)
    sleep(0.01)
    note(state["before"])
    return add(state["before"])


ALONE = (
    mapped, map_fails, gathered, gather_fails, gather_fails_for_good, gather_exceptions, race_of_steps, race_of_waits,
    race_nested, race_keep, race_fails, race_in_a_loop, retries_beside, delays_beside, queued, saga_of_a_gather,
    step_too_late, sends_to_itself, counts, patches, naps,
)  # fmt: skip
LANGUAGE: dict[str, Drive] = {
    **{made.function.__name__: carried(made) for made in ALONE},
    "race_with_signal": told(race_with_signal, ("go", 1)),
    "in_time": told(in_time, ("go", 1)),
    "too_late": told_when_noted(too_late, ("go", 1)),
    "letters": told(letters, ("item", 1), ("item", 2), args=(2,)),
    "taken_in_turns": told(taken_in_turns, ("a", 1), ("b", 2), ("a", 3)),
    "taken_and_given_back": told(taken_and_given_back, ("a", 1), ("b", 2)),
    "early": early,
    "keyed": keyed,
    "rejected": rejected,
    "resumed_step": resumed(resumed_step),
}  # fmt: skip
