"""Other runs as flow code reaches them: called as children, started for themselves, watched, told. Each is an ask."""

from typing import Any

from durable_nb.engine.turn import Turn
from durable_nb.errors import BadOption, NotInFlow
from durable_nb.flows.futures import Asked, Future
from durable_nb.flows.host import StartOptions
from durable_nb.flows.outcome import outcome_of
from durable_nb.flows.payloads import Large
from durable_nb.history import calls
from durable_nb.where import calling_line


class Begin:
    """A run to begin, as the runtime does it."""

    __slots__ = ("args", "flow", "id", "kwargs", "large", "options")

    def __init__(self, flow: Any, id: str | None, args: Any, kwargs: Any, options: StartOptions) -> None:
        self.flow = flow
        self.id = id
        self.args = args
        self.kwargs = kwargs
        self.options = options
        self.large: Large = {}


def call(turn: Turn, flow: Any, id: str | None, args: Any, kwargs: Any, options: StartOptions) -> Any:
    """Call a flow as a child and return its value; of an async flow, what is to be awaited."""
    ask = _ask(turn, "child", flow, id, args, kwargs, options)
    if not flow.is_async:
        return outcome_of(turn, turn.call(ask), flow.name)
    if turn.loop is None:
        raise NotInFlow(
            f"`{flow.name}` is an async flow and this one is a plain def: "
            f"write `{flow.name}.spawn(…).result()`, at {calling_line()}"
        )
    return Asked(turn, turn.cursor.begin(ask))


def spawn(turn: Turn, flow: Any, id: str | None, args: Any, kwargs: Any, options: StartOptions) -> Future[Any]:
    """Begin a child beside the flow."""
    return Asked(turn, turn.cursor.begin(_ask(turn, "child", flow, id, args, kwargs, options)))


def start(turn: Turn, flow: Any, id: str | None, args: Any, kwargs: Any, options: StartOptions) -> str:
    """Start a run that outlives this one; its id."""
    if options.on_conflict == "replace":
        raise BadOption(f'on_conflict="replace" does not work in a flow, at {calling_line()}: delete the run in a step')
    started: str = outcome_of(turn, turn.call(_ask(turn, "start", flow, id, args, kwargs, options)), flow.name)
    return started


def watch(turn: Turn, run: str) -> Future[Any]:
    """The end of another run."""
    return Asked(turn, turn.cursor.begin(calls.Ask("watch", None, calls.encode(calls.RunCall(run)))))


def tell(turn: Turn, verb: str, run: str, mailbox: str | None = None, key: str | None = None, value: Any = None) -> Any:
    """Send something to another run: a signal, or that it shall end."""
    is_empty = mailbox is None and value is None
    kept = None if is_empty else turn.reader.keep_own(turn, value, "tell", f"the signal `{mailbox}`")
    ask = calls.Ask("tell", verb, calls.encode(calls.RunCall(run, mailbox, key, kept)), value)
    return outcome_of(turn, turn.call(ask), verb)


def _ask(turn: Turn, kind: str, flow: Any, id: str | None, args: Any, kwargs: Any, options: StartOptions) -> calls.Ask:
    named = flow.arguments.named(args, kwargs)
    turn.reader.check_handed(turn, named, flow.name)
    begin = Begin(flow, id, args, kwargs, options)
    value = turn.reader.keep_arguments(named, f"flow `{flow.name}`", None, begin.large)
    return calls.Ask(kind, flow.name, calls.encode(calls.FlowCall(value, id, options.version)), begin)
