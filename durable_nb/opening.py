"""connect(): find the log, open it, make it the one that flows use."""

import atexit
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from durable_nb.app import App
from durable_nb.clock import Clock, SystemClock
from durable_nb.durations import Duration
from durable_nb.errors import BadOption, NotInFlow
from durable_nb.flows import host as hosts
from durable_nb.flows.place import turn_or_none
from durable_nb.flows.policy import checked_tags
from durable_nb.management.retention import NOTHING, Rules, checked_rules
from durable_nb.runtime.options import RuntimeOptions
from durable_nb.stores import open_store
from durable_nb.where import calling_line


def connect(
    url: str | os.PathLike[str] | None = None,
    *,
    durability: str = "full",
    carriers: int = 4,
    workers: int = 32,
    clock: Clock | None = None,
    carry: bool = True,
    tags: Collection[str] = (),
    retention: Duration | Mapping[str, Duration] | None = None,
) -> App:
    """Open a log: a path, `sqlite:///path` or `:memory:`; without one, DURABLE_NB_LOG or `<script>.durable.db`.

    `durability="full"` survives power loss, "process" every kill of the process. What an earlier process left
    unfinished goes on at once, unless `carry=False`. Steps with a tag are done only where `tags` has it; "any" takes all.
    `retention` says how long ended runs are kept: a duration, or one for each status, `{"completed": "7d"}`; without it
    nothing is removed.
    """
    if turn_or_none() is not None:
        raise NotInFlow(f"connect does not work in a flow, at {calling_line()}; do it in a step")
    options = RuntimeOptions(carriers, workers, clock or SystemClock(), checked_tags(tags))
    where = os.fspath(url) if url is not None else _default_path()
    return opened(where, durability, options, carry, checked_rules(retention))


def opened(where: str, durability: str, options: RuntimeOptions, carry: bool = True, rules: Rules = NOTHING) -> App:
    """The log at `where`, open, as the default one."""
    if durability not in ("full", "process"):
        raise BadOption(f'durability={durability!r}: it is "full" (survives power loss) or "process"')
    store = open_store(where, durability)
    try:
        app = App(where, store, options, carry, rules)
    except BaseException:
        store.close()
        raise
    hosts.enter(app)
    atexit.register(app.close, 1.0)
    return app


def _default_path() -> str:
    named = os.environ.get("DURABLE_NB_LOG")
    if named:
        return named
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is None:
        raise BadOption('which log? write connect("work.durable.db") or set DURABLE_NB_LOG')
    return str(Path(script).with_suffix(".durable.db"))
