"""@step: a function whose outcome is logged when a flow calls it, and a plain function everywhere else."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from durable_nb.codec.digest import digest, digest_bytes
from durable_nb.codec.values import plain_json
from durable_nb.durations import Duration
from durable_nb.engine.turn import Turn
from durable_nb.errors import BadOption, NotInFlow
from durable_nb.flows.futures import Asked, Future, Gathered, Mapped
from durable_nb.flows.outcome import outcome_of
from durable_nb.flows.payloads import Large
from durable_nb.flows.place import turn_here, turn_or_none
from durable_nb.flows.policy import Retry, StepOptions, step_options
from durable_nb.flows.primitives import signal
from durable_nb.flows.queue import Queue, queue_of
from durable_nb.flows.registry import public_name, register
from durable_nb.flows.signature import Arguments
from durable_nb.history import calls
from durable_nb.where import calling_line

P = ParamSpec("P")
R = TypeVar("R")


class Use:
    """One call of a step, as the runtime performs it."""

    __slots__ = ("args", "dedup", "elsewhere", "is_direct", "kwargs", "large", "named", "queue_key", "step")

    def __init__(self, step: "Step[..., Any]", args: Any, kwargs: Any, named: dict[str, Any], elsewhere: bool) -> None:
        self.large: Large | None = None  # arguments that go to the store with the ask, not with each replay
        self.is_direct = False  # plain arguments, and nothing between the ask and the first attempt
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.named = named
        self.elsewhere = elsewhere
        self.queue_key = ""  # whose turn it is in the queue
        self.dedup = ""  # what it is equal to there

    @property
    def check_arguments(self) -> bool:
        return self.step.options_.check_arguments


class Step(Generic[P, R]):
    """A step. Called in a flow it is asked for once and replayed ever after."""

    def __init__(
        self, function: Callable[P, R], name: str, options: StepOptions, instance: Any = None, owner: Any = None
    ) -> None:
        functools.update_wrapper(self, function)
        self.owner = owner  # the class of a method step
        self.function = function
        self.name = name
        self.options_ = options
        self.instance = instance
        self.is_async = inspect.iscoroutinefunction(function)
        self.runs_elsewhere = self.is_async or options.timeout is not None or options.isolate or options.is_routed
        self.arguments = Arguments(function, f"step `{name}`", skip_self=instance is not None)
        self._arguments_of_method: Arguments | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        turn = turn_or_none()
        if turn is None:
            return self.function(*args, **kwargs) if self.instance is None else self._bound_call(args, kwargs)
        if self.is_async:
            if turn.loop is not None:
                begun: Any = Asked(turn, turn.cursor.begin(self._ask(turn, args, kwargs, True)))
                return begun  # type: ignore[no-any-return]
            raise NotInFlow(
                f"`{self.name}` is an async step and this flow is a plain def: "
                f"write `{self.name}.spawn(…).result()`, at {calling_line()}"
            )
        row = turn.call(self._ask(turn, args, kwargs, self.runs_elsewhere))
        result: R = outcome_of(turn, row, self.name)
        return result

    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """Begin the step beside the flow; `.result()` waits for it."""
        turn = turn_here(f"`{self.name}.spawn`")
        return Asked(turn, turn.cursor.begin(self._ask(turn, args, kwargs, True)))

    def map(self, items: Iterable[Any], limit: int | None = None) -> Future[list[Any]]:
        """Begin the step for each item, at most `limit` at a time; `.result()` is the list of values in order."""
        turn = turn_here(f"`{self.name}.map`")
        if limit is not None and limit < 1:
            raise BadOption(f"limit={limit!r}: how many may run at a time, 1 or more")
        chosen = list(items)
        if limit is None or limit >= len(chosen):
            return Gathered(turn, [self._spawned(turn, item) for item in chosen], False)
        return Mapped(turn, lambda item: self._spawned(turn, item), chosen, limit)

    def when_signalled(self) -> R:
        """Wait for `run.resume_step(step, *args)` and call the step with what came."""
        turn = turn_here(f"`{self.name}.when_signalled`")
        awaited = signal(f"step:{self.name}")
        if turn.loop is not None:
            return self._when_awaited(awaited)  # type: ignore[return-value]
        args, kwargs = awaited.result()
        return self(*args, **kwargs)

    async def _when_awaited(self, awaited: Future[Any]) -> Any:
        args, kwargs = await awaited
        result: Any = self(*args, **kwargs)
        return await result if self.is_async else result

    def _spawned(self, turn: Turn, item: Any) -> Future[Any]:
        return Asked(turn, turn.cursor.begin(self._ask(turn, (item,), {}, True)))

    def options(self, **options: Any) -> "Step[P, R]":
        """The same step with other options."""
        return Step(self.function, self.name, step_options(self.options_, **options), self.instance, self.owner)

    def __get__(self, instance: Any, owner: Any = None) -> "Step[..., R]":
        if instance is None:
            return self
        if self._arguments_of_method is None:
            self._arguments_of_method = Arguments(self.function, f"step `{self.name}`", skip_self=True)
        # Every call of a method step comes by here, so the function is not looked at again: all but the object is shared.
        bound: Step[..., R] = object.__new__(type(self))
        vars(bound).update(vars(self))
        bound.instance = instance
        bound.arguments = self._arguments_of_method
        return bound

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner

    def on_own_object(self) -> "Step[..., R]":
        """What a worker runs, who has no flow's object at hand: a method step on a fresh one, any other as it is."""
        return self if self.owner is None or self.instance is not None else self.__get__(self.owner())

    def __repr__(self) -> str:
        return f"<step {self.name}{inspect.signature(self.function)}>"

    def perform(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the body."""
        return self._bound_call(args, kwargs) if self.instance is not None else self.function(*args, **kwargs)

    def _bound_call(self, args: Any, kwargs: Any) -> Any:
        return self.function(self.instance, *args, **kwargs)

    def _ask(self, turn: Turn, args: Any, kwargs: Any, elsewhere: bool) -> calls.Ask:
        named = self.arguments.named(args, kwargs)
        use = Use(self, args, kwargs, named, elsewhere)
        options = self.options_
        json = plain_json(named) if options.codec is None and not (elsewhere and options.is_routed) else None
        if json is not None and len(json) < 65536 and not options.delay:
            use.is_direct = not elsewhere
            return calls.Ask("step", self.name, calls.plain_step(json, elsewhere), use)
        turn.reader.check_handed(turn, named, self.name)
        use.large = {}
        value = turn.reader.keep_arguments(named, f"step `{self.name}`", options.codec, use.large)
        due = turn.reader.now() + options.delay if options.delay else None
        if options.queue:
            use.queue_key, use.dedup = self._queue_keys(use)
        call = calls.StepCall(value, due, elsewhere, options.tag, options.session, options.queue)
        return calls.Ask("step", self.name, calls.encode(call), use)

    def _queue_keys(self, use: Use) -> tuple[str, str]:
        """What the queue makes of the arguments: whose turn the call is, and what it is equal to there."""
        queue = queue_of(self.options_.queue)
        key, dedup = queue.keys if queue is not None else self.options_.keys
        turn = "" if key is None else str(key(*use.args, **use.kwargs))[:200]
        if dedup is None or dedup is False:
            return turn, ""
        if dedup is not True:
            found = dedup(*use.args, **use.kwargs)
            return turn, "" if found is None else digest_bytes(str(found).encode())
        same = digest((self.name, use.named))
        if same is None:
            raise BadOption(
                f"queue `{self.options_.queue}` has dedup=True, and arguments of step `{self.name}` cannot be compared; give "
                "a function of the arguments, dedup=lambda …: …"
            )
        return turn, same


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(
    *,
    retry: int | Retry | dict[str, Any] | None = None,
    timeout: Duration | None = None,
    delay: Duration | None = None,
    tag: str | None = None,
    session: str | None = None,
    isolate: bool = False,
    queue: Queue | str | None = None,
    priority: int | None = None,
    name: str | None = None,
    codec: str | None = None,
    check_arguments: bool = True,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a function a durable step: `@step`, `@step(retry=3, timeout="30s")`, or `step(any_function)(*args)`."""
    if function is None:
        checked = step_options(StepOptions(), **options)
        return lambda function: _defined(function, name, checked)
    if options or name is not None:
        raise BadOption("write @step(retry=…) above the function, or step(function).options(retry=…)")
    return _defined(function, None, StepOptions())


def _defined(function: Any, name: str | None, options: StepOptions) -> Step[..., Any]:
    if isinstance(function, Step):
        return function
    if isinstance(function, staticmethod | classmethod):
        raise BadOption("put @step below @staticmethod or @classmethod, nearest to the function")
    if not callable(function) or not hasattr(function, "__qualname__"):
        raise BadOption(f"@step goes on a function, not on {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise BadOption(f"`{function.__qualname__}` is a generator; a step returns one value, so return a list")
    made: Step[..., Any] = Step(function, name or public_name(function), options)
    if turn_or_none() is None:
        register("step", made)
    return made
