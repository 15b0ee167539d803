"""How much there is: what the log holds and has seen, counted from the log itself."""

from typing import NamedTuple

from durable_nb.stores.protocol import Store


class Metrics(NamedTuple):
    """Counts of one log. `steps` were asked for, `attempts` were begun, `failures` are attempts that failed."""

    runs: dict[str, int]
    steps: int
    attempts: int
    failures: int
    failed_steps: int
    events: int
    depths: dict[str, int]
    oldest_waiting: float | None


class Collected(NamedTuple):
    """What nothing needed any more."""

    rows: int
    bytes: int


def metrics(store: Store, now: float) -> Metrics:
    """The log in numbers. `oldest_waiting` is for how many seconds the run has waited that waits longest."""
    events, backlog = store.events(), store.backlog(now)
    since = backlog.pop("oldest waiting")
    failed_steps = events.pop("failed steps")
    attempts = events.pop("attempts")
    return Metrics(
        runs=store.counts(),
        steps=events.get("step", 0),
        attempts=attempts,
        failures=events.get("attempt_failed", 0) + failed_steps,
        failed_steps=failed_steps,
        events=sum(events.values()),
        depths={name: int(count or 0) for name, count in backlog.items()},
        oldest_waiting=None if since is None else max(0.0, now - since),
    )
