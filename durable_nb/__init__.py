"""durable_nb: notebooks that cannot lose work. Flows and steps whose every finished outcome is in a log.

    from durable_nb import connect, flow, step

Everything is imported when it is first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable_nb.app import App as App
    from durable_nb.flows.flow import Flow as Flow, flow as flow
    from durable_nb.flows.futures import Future as Future, Winner as Winner, gather as gather, race as race
    from durable_nb.flows.policy import Retry as Retry
    from durable_nb.flows.primitives import (
        continue_as_new as continue_as_new,
        current_run as current_run,
        current_step as current_step,
        note as note,
        now as now,
        patched as patched,
        random as random,
        signal as signal,
        sleep as sleep,
        timer as timer,
        uuid4 as uuid4,
    )
    from durable_nb.flows.query import runs as runs
    from durable_nb.flows.queue import Queue as Queue
    from durable_nb.flows.run import Run as Run
    from durable_nb.flows.saga import Saga as Saga, SagaFailed as SagaFailed
    from durable_nb.flows.schedule import Schedule as Schedule, schedules as schedules
    from durable_nb.flows.state import state as state, state_of as state_of
    from durable_nb.flows.step import Step as Step, step as step
    from durable_nb.opening import connect as connect

_WHERE = {
    "app": ("App",),
    "opening": ("connect",),
    "flows.flow": ("Flow", "flow"),
    "flows.futures": ("Future", "Winner", "gather", "race"),
    "flows.policy": ("Retry",),
    "flows.queue": ("Queue",),
    "flows.primitives": (
        "continue_as_new",
        "current_run",
        "current_step",
        "note",
        "now",
        "patched",
        "random",
        "signal",
        "sleep",
        "timer",
        "uuid4",
    ),
    "flows.query": ("runs",),
    "flows.run": ("Run",),
    "flows.saga": ("Saga", "SagaFailed"),
    "flows.schedule": ("Schedule", "schedules"),
    "flows.state": ("state", "state_of"),
    "flows.step": ("Step", "step"),
    "errors": (
        "AlreadyQueued",
        "BadArguments",
        "BadId",
        "BadOption",
        "Cancelled",
        "Corrupt",
        "DurableError",
        "DurableWarning",
        "ForkedProcess",
        "LogClosed",
        "LogError",
        "LogFull",
        "LogMissing",
        "LogReadOnly",
        "NetworkFileSystem",
        "NewerSchema",
        "NotInFlow",
        "Refused",
        "ResultExpired",
        "RunCancelled",
        "RunConflict",
        "RunFailed",
        "RunParked",
        "RunPaused",
        "SignalRejected",
        "StepFailed",
        "StepTimeout",
        "Uncapturable",
        "UnknownCode",
        "UnknownRun",
        "UnknownSchedule",
        "Unstorable",
        "Untrusted",
    ),
}
_HOME = {name: f"durable_nb.{room}" for room, names in _WHERE.items() for name in names}
__all__ = sorted(_HOME)
__version__ = "0.1.0"


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext durable_nb`."""
    import_module("durable_nb.notebook.magics").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext durable_nb`."""
    import_module("durable_nb.notebook.magics").unload(shell)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'durable_nb' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
