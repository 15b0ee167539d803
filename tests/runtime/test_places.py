"""What may be called where: in flow code, in a step's body, outside both, in a thread of a flow, in another run."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_nb import (
    App,
    BadOption,
    Future,
    NotInFlow,
    Retry,
    Saga,
    connect,
    current_run,
    current_step,
    flow,
    now,
    random,
    runs,
    sleep,
    step,
    timer,
    uuid4,
)
from durable_nb.flows import registry
from durable_nb.flows.flow import Flow
from durable_nb.testing import run_to_end


@step(name="places.double")
def double(n: int) -> int:
    return n * 2


@step(name="places.fetch")
async def fetch(n: int) -> int:
    await asyncio.sleep(0)
    return n + 1000


@step(name="places.keeper")
def keeper() -> None:
    """Travels by name, so flow code can hand on what no log could carry: keeper.future."""


@flow(name="places.plain")
def plain(n: int) -> int:
    return double(n)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(NotInFlow) as refused:
        call()
    return str(refused.value)


VERBS: dict[str, Callable[[], Any]] = {
    "sleep": lambda: sleep(1),
    "timer": lambda: timer(1),
    "timer at": lambda: timer(datetime.now(UTC) + timedelta(seconds=1)),
    "now": lambda: now(),
    "uuid4": lambda: uuid4(),
    "random": lambda: random(),
    "current_run": lambda: current_run(),
    "Saga": lambda: Saga(),
    "`places.double.spawn`": lambda: double.spawn(1),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verb_of_flows_is_refused_outside_a_flow_and_names_the_line(verb: str, durable_app: App) -> None:
    told = refusal(VERBS[verb])
    assert told.startswith(
        f"{verb.removesuffix(' at')} works in the code of a @flow only; it was called outside a flow"
    )
    assert "test_places.py, line " in told
    assert "lambda: " in told


@pytest.mark.parametrize("verb", VERBS)
def test_verb_of_flows_is_refused_in_a_step(verb: str, durable_app: App) -> None:
    @step(name="places.body")
    def body() -> str:
        return refusal(VERBS[verb])

    @flow(name="places.caller")
    def caller() -> str:
        return body()

    assert f"{verb.removesuffix(' at')} works in the code of a @flow only; it was called in a step's body" in caller()


def test_verbs_need_no_open_log_to_say_where_they_belong() -> None:
    with pytest.raises(NotInFlow, match="outside a flow"):
        sleep("1h")


def test_step_is_a_plain_function_outside_flows(durable_app: App) -> None:
    assert double(4) == 8
    assert asyncio.run(fetch(1)) == 1001
    assert step(len)("four") == 4


def test_step_called_in_a_step_is_a_plain_function(durable_app: App) -> None:
    @step(name="places.outer")
    def outer(n: int) -> int:
        return double(n) + asyncio.run(fetch(n))

    @flow(name="places.caller")
    def caller(n: int) -> int:
        return outer(n)

    assert caller["r"](3) == 6 + 1003
    assert [event.name for event in runs["r"].history if type(event).__name__ == "StepAsked"] == ["places.outer"]


def test_current_step_is_refused_in_flow_code_and_outside(durable_app: App) -> None:
    @flow(name="places.caller")
    def caller() -> str:
        return refusal(current_step)

    assert "body of a step" in caller()
    with pytest.raises(NotInFlow, match="body of a step"):
        current_step()


# flows in steps, flows in flows


def test_flow_without_id_in_a_step_is_refused_with_the_right_line(durable_app: App) -> None:
    @step(name="places.body")
    def body() -> list[str]:
        return [refusal(lambda: plain(1)), refusal(lambda: plain.start(1))]

    @flow(name="places.caller")
    def caller() -> list[str]:
        return body()

    for told in caller():
        assert "flow `places.plain` called in a step" in told
        assert "`places.plain[id](…)`" in told
        assert "test_places.py, line " in told


@pytest.mark.parametrize("elsewhere", [False, True])
def test_flow_with_an_id_in_a_step_is_an_ordinary_call(elsewhere: bool, durable_app: App) -> None:
    @step(name="places.body")
    def body(n: int) -> int:
        return plain["inner"](n) + 1

    used = body.options(timeout=60) if elsewhere else body

    @flow(name="places.caller")
    def caller(n: int) -> int:
        return used(n)

    assert caller["outer"](5) == 11
    assert runs["inner"].status == "completed"
    assert {owner.runs for owner in durable_app.store.owners()} == {0}


OTHER_RUNS: dict[str, Callable[[], Any]] = {
    "flow.start_many()": lambda: plain.start_many([1]),
    "flow[id].status": lambda: plain["other"].status,
    "flow[id].record": lambda: plain["other"].record,
    "flow[id].history": lambda: plain["other"].history,
    "flow[id].state": lambda: plain["other"].state,
    "flow[id].note": lambda: plain["other"].note,
    "flow[id].children": lambda: plain["other"].children,
    "flow[id].why()": lambda: plain["other"].why(),
    "flow[id].follow()": lambda: plain["other"].follow(),
    "flow[id].pause()": lambda: plain["other"].pause(),
    "flow[id].resume()": lambda: plain["other"].resume(),
    "flow[id].retry()": lambda: plain["other"].retry(),
    "flow[id].terminate()": lambda: plain["other"].terminate(),
    "flow[id].fork()": lambda: plain["other"].fork(),
    "flow[id].upgrade()": lambda: plain["other"].upgrade(),
    "flow[id].delete()": lambda: plain["other"].delete(),
    "runs[id]": lambda: runs["other"],
    "connect()": lambda: connect(":memory:"),
}


@pytest.mark.parametrize("call", OTHER_RUNS)
def test_other_runs_and_logs_are_refused_in_flow_code_with_the_line(call: str, durable_app: App) -> None:
    @flow(name="places.caller")
    def caller() -> str:
        return refusal(OTHER_RUNS[call])

    plain["other"](1)
    assert "test_places.py, line " in caller()


CHILDREN: dict[str, Callable[[], Any]] = {
    "flow()": lambda: plain(1),
    "flow.start()": lambda: plain.start(1).result(),
    "flow[id]()": lambda: plain["other"](1),
    "flow[id].start()": lambda: plain["other"].start(1).result(),
}


@pytest.mark.parametrize("call", CHILDREN)
def test_other_run_begun_in_flow_code_is_an_ask_and_not_a_call_of_the_client(call: str, durable_app: App) -> None:
    @flow(name="places.caller")
    def caller() -> Any:
        return CHILDREN[call]()

    assert run_to_end(durable_app, caller["r"].start()) == 2
    assert [row.kind for row in durable_app.store.history(runs["r"].record.key)][1] in ("child", "start")
    assert len(runs["r"].children) == 1


# threads


def in_a_thread(body: Callable[[], Any]) -> str:
    """Call the body in a thread that this code starts; the refusal it met."""
    told: list[str] = []

    def caught() -> None:
        try:
            body()
        except NotInFlow as refused:
            told.append(str(refused))

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join()
    return told[0] if told else "nothing was refused"


THREADED: dict[str, Callable[[], Any]] = {
    "step": lambda: double(1),
    "spawn": lambda: double.spawn(1),
    "sleep": lambda: sleep(1),
    "now": lambda: now(),
    "flow": lambda: plain(1),
    "result": lambda: keeper.future.result(),
}


@pytest.mark.parametrize("call", THREADED)
def test_durable_call_in_a_thread_of_a_flow_names_the_line_and_the_way_out(call: str, durable_app: App) -> None:
    @flow(name="places.caller")
    def caller() -> str:
        keeper.future = timer(1)
        return in_a_thread(THREADED[call])

    told = caller()
    assert "in a thread that the flow started" in told
    assert "test_places.py, line " in told
    assert "use .spawn(…)" in told


def test_thread_of_a_step_is_no_thread_of_a_flow(durable_app: App) -> None:
    @step(name="places.body")
    def body() -> list[int]:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(double(4)))
        thread.start()
        thread.join()
        return found

    @flow(name="places.caller")
    def caller() -> list[int]:
        return body()

    assert caller() == [8]


def test_thread_of_a_flow_goes_on_with_what_is_not_durable(durable_app: App) -> None:
    @flow(name="places.caller")
    def caller() -> list[int]:
        found: list[int] = []
        thread = threading.Thread(target=found.append, args=(1,))
        thread.start()
        thread.join()
        return found

    assert caller() == [1]


# colours


def test_async_step_called_plainly_in_a_flow_is_refused_with_the_right_line(durable_app: App) -> None:
    @flow(name="places.caller")
    def caller() -> str:
        return refusal(lambda: fetch(1))

    told = caller()
    assert "`places.fetch` is an async step" in told
    assert "`places.fetch.spawn(…).result()`" in told
    assert "test_places.py, line " in told
    assert "fetch(1)" in told


# futures


def test_future_of_another_run_is_refused(durable_app: App) -> None:
    @flow(name="places.giver")
    def giver() -> None:
        keeper.future = timer(0)

    @flow(name="places.taker")
    def taker() -> str:
        return refusal(keeper.future.result)

    giver()
    assert "belongs to the flow that made it" in taker()


def test_future_is_refused_outside_its_flow_and_in_a_step(durable_app: App) -> None:
    @step(name="places.body")
    def body() -> str:
        return refusal(keeper.future.result)

    @flow(name="places.giver")
    def giver() -> str:
        keeper.future = timer(0)
        return body()

    assert "belongs to the flow that made it" in giver()
    assert isinstance(keeper.future, Future)
    with pytest.raises(NotInFlow, match="belongs to the flow"):
        keeper.future.result()


# definitions


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


async def coroutine() -> int:
    return 1


NOT_FLOWS: dict[str, tuple[Any, str]] = {
    "generator": (generator, "is a generator"),
    "async generator": (async_generator, "is a generator"),
    "lambda": (lambda: 1, "a lambda cannot be a flow"),
    "class": (dict, "@flow goes on a function"),
    "value": (42, "@flow goes on a function"),
    "staticmethod": (staticmethod(coroutine), "a plain method"),
}


@pytest.mark.parametrize("what", NOT_FLOWS)
def test_what_cannot_be_a_flow_is_refused_at_its_definition(what: str) -> None:
    given, told = NOT_FLOWS[what]
    with pytest.raises(BadOption, match=told):
        flow(given)


@pytest.mark.parametrize("given", [generator, async_generator, 42, staticmethod(len)])
def test_what_cannot_be_a_step_is_refused_at_its_definition(given: Any) -> None:
    with pytest.raises(BadOption, match=r"@step|generator"):
        step(given)


@pytest.mark.parametrize("id", [42, None, 1.5, b"r", ("r",), slice(1)])
def test_id_that_is_not_text_is_a_type_error(id: Any) -> None:
    with pytest.raises(TypeError, match="a run id is text"):
        plain[id]


@pytest.mark.parametrize("id", ["", "a/b", "~mine", "line\nbreak", "x" * 201])
def test_id_that_cannot_be_used_is_a_value_error(id: str) -> None:
    with pytest.raises(ValueError, match="run id"):
        plain[id]


def test_flow_is_not_iterable() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(plain)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        "r" in plain  # type: ignore[operator]  # noqa: B015


def test_method_flow_is_called_on_the_class_only(durable_app: App) -> None:
    class Account:
        @flow(name="places.close")
        def close(self) -> str:
            return "closed"

    assert Account.close() == "closed"
    with pytest.raises(NotInFlow, match="on the class, not on an object"):
        Account().close()


def test_method_flow_of_a_class_whose_constructor_needs_arguments_is_refused(durable_app: App) -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        @flow(name="places.rename")
        def rename(self) -> str:
            return self.name

    with pytest.raises(BadOption, match="must work without arguments"):
        Named.rename()


BAD_OPTIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "flow": (lambda: flow(retries=3), "a flow has no option retries; it has name, version"),
    "flow.options": (lambda: plain.options(on_conflict="ignore"), "on_conflict='ignore'"),
    "flow delay": (lambda: plain.options(delay="soon"), "not a duration"),
    "step": (lambda: step(retries=3), "a step has no option retries; it has "),
    "step.options": (lambda: double.options(cpus=2), "a step has no option cpus; it has "),
    "step timeout": (lambda: step(timeout=0), "timeout"),
    "step isolate": (lambda: step(isolate="yes"), "isolate"),
    "step retry": (lambda: step(retry="often"), "retry='often'"),
    "retry policy": (lambda: step(retry={"times": 3}), "a retry policy has no times; it has "),
    "attempts": (lambda: Retry(max_attempts=0), "max_attempts=0"),
    "durability": (lambda: connect(":memory:", durability="some"), "durability='some'"),
    "carriers": (lambda: connect(":memory:", carriers=-1), "carriers=-1"),
}


@pytest.mark.parametrize("where", BAD_OPTIONS)
def test_option_that_makes_no_sense_is_refused_with_what_would(where: str) -> None:
    make, told = BAD_OPTIONS[where]
    with pytest.raises(BadOption) as refused:
        make()
    assert told in str(refused.value)


def test_refused_definition_is_not_registered(durable_app: App) -> None:
    with pytest.raises(BadOption):
        flow(generator)
    assert "generator" not in registry.names("flow")
    assert isinstance(plain, Flow)
    assert plain["still"](2) == 4
