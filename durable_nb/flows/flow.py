"""@flow: a function that becomes a run when it is called. `checkout["order-1"](…)` carries it here and now."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from durable_nb.durations import Duration, seconds
from durable_nb.engine.turn import Turn
from durable_nb.errors import BadOption, NotInFlow
from durable_nb.flows import children
from durable_nb.flows.advice import advise
from durable_nb.flows.futures import Future
from durable_nb.flows.host import StartOptions, current_host
from durable_nb.flows.place import step_place, turn_here, turn_or_none
from durable_nb.flows.policy import checked_priority
from durable_nb.flows.registry import public_name, register
from durable_nb.flows.run import Run, checked_id
from durable_nb.flows.schedule import Schedule
from durable_nb.flows.signature import Arguments
from durable_nb.where import calling_line

P = ParamSpec("P")
R = TypeVar("R")

_POLICIES = ("match", "attach", "reject", "replace")


class Flow(Generic[P, R]):
    """A flow definition. It is not iterable, and `flow[42]` is a TypeError: ids are text."""

    __iter__ = None

    def __init__(self, function: Callable[P, R], name: str, options: StartOptions, owner: type | None = None) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.options_ = options
        self.owner = owner  # the class of a method flow, once known
        self.is_async = inspect.iscoroutinefunction(function)
        self.is_method = owner is not None
        self.arguments = Arguments(function, f"flow `{name}`", skip_self=owner is not None)

    def __getitem__(self, id: str) -> Run:
        return Run(checked_id(id), self, self.options_)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Carry a new run with an automatic id here and return its result; in a flow, call it as a child.

        An async flow is begun in the background and the run returned: `await` it.
        """
        turn = self._turn()
        if turn is not None:
            return children.call(turn, self, None, args, kwargs, self.options_)  # type: ignore[no-any-return]
        if self.is_async:
            return self.start(*args, **kwargs)  # type: ignore[return-value]
        result: R = current_host().carry(self, None, args, kwargs, self.options_)
        return result

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Start a new run with an automatic id in the background; in a flow, one that outlives it."""
        turn = self._turn()
        if turn is not None:
            return Run(children.start(turn, self, None, args, kwargs, self.options_), self, self.options_)
        host = current_host()
        return Run(host.start(self, None, args, kwargs, self.options_), self, self.options_, host)

    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """Begin a child beside the flow; `.result()` waits for it."""
        return children.spawn(turn_here(f"`{self.name}.spawn`"), self, None, args, kwargs, self.options_)

    def start_many(self, calls: Iterable[Any]) -> list[Run]:
        """Start a run for each item in the background, many in one commit: a tuple holds arguments, or (id, arguments)."""
        if turn_or_none() is not None:
            raise NotInFlow(f"start_many works outside flows; use .map or .spawn in a flow, at {calling_line()}")
        host = current_host()
        return [Run(id, self, self.options_, host) for id in host.start_many(self, calls, self.options_)]

    def schedule(
        self,
        spec: str,
        *args: Any,
        id: str | None = None,
        tz: str = "UTC",
        misfire: str = "one",
        **kwargs: Any,
    ) -> Schedule:
        """Start a run at every tick of "0 6 * * *" (in the zone `tz`) or "every 10m", with these arguments.

        The runs are named `<id>@<time>` and take the newest code; `id` is the flow's name unless given. Ticks that came
        while nobody carried runs are skipped, made up for by one run, or by all.
        """
        if turn_or_none() is not None:
            raise NotInFlow(f"schedule works outside flows, at {calling_line()}; do it in a step")
        host = current_host()
        made = Schedule(host.timetable.put(self, args, kwargs, spec, id, tz, misfire).id, host)
        host.look()
        return made

    def _turn(self) -> Turn | None:
        """The turn of the calling flow; refuses steps, whose second attempt would begin a second run."""
        if step_place() is not None:
            raise NotInFlow(
                f"flow `{self.name}` called in a step, at {calling_line()}: give it an id, `{self.name}[id](…)`, "
                "so that a second attempt of the step finds the same run"
            )
        return turn_or_none()

    def options(
        self,
        *,
        on_conflict: str = "match",
        delay: Duration | None = None,
        version: str | None = None,
        priority: int | None = None,
    ) -> "Flow[P, R]":
        """The same flow, started in another way. Runs and steps of a higher priority go before others; 0 is usual."""
        if on_conflict not in _POLICIES:
            raise BadOption(f"on_conflict={on_conflict!r}: it is one of {', '.join(_POLICIES)}")
        wait = seconds(delay) if delay is not None else self.options_.delay
        options = StartOptions(
            on_conflict,
            wait,
            version if version is not None else self.options_.version,
            checked_priority(priority) if priority is not None else self.options_.priority,
        )
        return Flow(self.function, self.name, options, self.owner)

    def __get__(self, instance: Any, owner: type | None = None) -> "Flow[..., R]":
        if instance is not None:
            raise NotInFlow(
                f"call a method flow on the class, not on an object: `{self.name}[id](…)`; every run makes its own object"
            )
        if owner is None:
            return self
        _check_constructor(owner, self.name)
        bound: Flow[..., R] = Flow(self.function, self.name, self.options_, owner)
        return bound

    def __set_name__(self, owner: type, name: str) -> None:
        """A method flow: recovery finds it by name, so the registry must know its class."""
        register("flow", Flow(self.function, self.name, self.options_, owner))

    def new_code(self) -> Callable[..., Any]:
        """What a turn runs: the function, or the method on a fresh object."""
        if self.owner is None:
            return self.function
        return functools.partial(self.function, self.owner())

    def run(self, turn: Turn, code: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the code as a turn does; an async flow on a loop of its own."""
        if not self.is_async:
            return code(*args, **kwargs)
        from durable_nb.engine.loop import FlowLoop  # noqa: PLC0415 - asyncio is 60 ms of import that plain flows never need

        turn.loop = FlowLoop(turn.cursor)
        return turn.loop.run(code(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<flow {self.name}{inspect.signature(self.function)}>"


def _check_constructor(owner: type, name: str) -> None:
    try:
        inspect.signature(owner).bind()
    except TypeError as cause:
        raise BadOption(
            f"flow `{name}` is a method, so `{owner.__name__}()` must work without arguments: {cause}"
        ) from None
    except ValueError:
        return  # a class without a readable signature; its construction will tell


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...


@overload
def flow(*, name: str | None = None, version: str | None = None) -> Callable[[Callable[P, R]], Flow[P, R]]: ...


def flow(function: Any = None, /, *, name: str | None = None, version: str | None = None, **unknown: Any) -> Any:
    """Make a function (or a method of a class with a no-argument constructor) a durable flow."""
    if unknown:
        raise BadOption(f"a flow has no option {', '.join(sorted(unknown))}; it has name, version")
    if function is None:
        return lambda function: _defined(function, name, version)
    return _defined(function, name, version)


def _defined(function: Any, name: str | None, version: str | None) -> Flow[..., Any]:
    _check(function)
    made: Flow[..., Any] = Flow(function, name or public_name(function), StartOptions(version=version))
    advise(function, made.name)
    register("flow", made)
    return made


def _check(function: Any) -> None:
    if isinstance(function, staticmethod | classmethod):
        raise BadOption("a method flow is a plain method; leave out @staticmethod and @classmethod")
    if not inspect.isfunction(function):
        _refuse_definition(f"@flow goes on a function, not on {function!r}")
    name = function.__qualname__
    if function.__name__ == "<lambda>":
        _refuse_definition("a lambda cannot be a flow; define it with def, so that its code can be stored and named")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        _refuse_definition(f"`{name}` is a generator; a flow is a plain def that returns its result")


def _refuse_definition(sentence: str) -> NoReturn:
    raise BadOption(sentence)
