"""What may be said about a step: how often, how long, where. Pure values and one decision."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from durable_nb.durations import Duration, seconds
from durable_nb.errors import BadOption, StepTimeout, Unstorable
from durable_nb.flows.queue import NO_KEYS, Keys, Queue

ANY = "any"  # the tag of a process that takes every step
ErrorClasses = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `max_attempts` failed attempts; the n-th pause is first·factor^(n-1), at most `max`, plus up to `jitter` of it.

    `timeout` bounds one attempt, `total_timeout` all of them with their pauses. Only failures of `retry_on` and not of
    `give_up_on` are tried again.
    """

    max_attempts: int = 3
    first: Duration = 1.0
    factor: float = 2.0
    max: Duration = 60.0
    jitter: float = 0.1
    timeout: Duration | None = None
    total_timeout: Duration | None = None
    retry_on: type[BaseException] | ErrorClasses = (Exception,)
    give_up_on: type[BaseException] | ErrorClasses = ()

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise BadOption(f"max_attempts={self.max_attempts!r}: at least one attempt is needed")
        if not self.factor >= 1:
            raise BadOption(f"factor={self.factor!r}: the pauses may not shrink, use 1 or more")
        if not 0 <= self.jitter <= 1:
            raise BadOption(f"jitter={self.jitter!r}: it is a share of the pause, from 0 to 1")
        for name in ("first", "max"):
            seconds(getattr(self, name))
        for name in ("timeout", "total_timeout"):
            value = getattr(self, name)
            if value is not None and seconds(value) <= 0:
                raise BadOption(f"{name}={value!r}: a step needs some time")
        for name in ("retry_on", "give_up_on"):
            object.__setattr__(self, name, _classes(name, getattr(self, name)))

    def pause(self, failed: int, chance: float) -> float:
        """Seconds until the next attempt after `failed` failures; `chance` is from 0 to 1."""
        try:
            span = seconds(self.first) * self.factor ** (failed - 1)
        except OverflowError:
            span = float("inf")
        return min(span, seconds(self.max)) * (1 + self.jitter * chance)


def _classes(name: str, given: Any) -> ErrorClasses:
    classes = given if isinstance(given, tuple) else (given,)
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise BadOption(f"{name}={given!r}: give an exception class or a tuple of them")
    return classes


NEVER = Retry(max_attempts=1)


@dataclass(frozen=True, slots=True)
class StepOptions:
    """The options of a step, checked."""

    retry: Retry = NEVER
    timeout: float | None = None
    delay: float = 0.0
    isolate: bool = False
    codec: str | None = None
    check_arguments: bool = True
    tag: str = ""
    session: str = ""
    queue: str = ""
    priority: int | None = None
    keys: Keys = NO_KEYS  # of the queue

    @property
    def is_routed(self) -> bool:
        """Whether somebody decides who may begin the step, and when."""
        return bool(self.tag or self.session or self.queue)


def step_options(before: StepOptions, **given: Any) -> StepOptions:
    """`before` with what is given; unknown names are refused."""
    known = {
        "retry", "timeout", "delay", "tag", "session", "isolate", "queue", "priority", "codec", "check_arguments"
    }  # fmt: skip
    unknown = sorted(set(given) - known)
    if unknown:
        raise BadOption(f"a step has no option {', '.join(unknown)}; it has {', '.join(sorted(known | {'name'}))}")
    retry = _retry(given["retry"]) if "retry" in given else before.retry
    timeout = before.timeout
    if "timeout" in given:
        timeout = None if given["timeout"] is None else seconds(given["timeout"])
        if timeout == 0:
            raise BadOption("timeout=0: a step needs some time")
    for name in ("isolate", "check_arguments"):
        if not isinstance(given.get(name, False), bool):
            raise BadOption(f"{name}={given[name]!r}: it is True or False")
    queue = _queue(given["queue"]) if "queue" in given else (before.queue, before.keys)
    return StepOptions(
        retry=retry,
        timeout=timeout if timeout is not None or retry.timeout is None else seconds(retry.timeout),
        delay=seconds(given["delay"]) if given.get("delay") is not None else before.delay,
        isolate=given.get("isolate", before.isolate),
        codec=given.get("codec", before.codec),
        check_arguments=given.get("check_arguments", before.check_arguments),
        tag=checked_tag(given["tag"]) if "tag" in given else before.tag,
        session=_name("session", given["session"], 200) if "session" in given else before.session,
        queue=queue[0],
        priority=checked_priority(given["priority"]) if "priority" in given else before.priority,
        keys=queue[1],
    )


def checked_tag(given: Any) -> str:
    """The tag of a step, "" for none."""
    if given == ANY:
        raise BadOption(f'tag="{ANY}" is for workers that take every step; leave the tag out, or name one')
    return _name("tag", given, 100)


def checked_tags(given: Any) -> tuple[str, ...]:
    """The tags of a process, whose steps it takes beside those that have none; "any" takes every step."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BadOption(f'tags={given!r}: give the tags in a list or tuple, such as ("gpu",)')
    return tuple(dict.fromkeys(name for name in (_name("tags", each, 100) for each in given) if name))


def checked_priority(given: Any) -> int | None:
    """Higher goes first; None = what it is part of decides."""
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or abs(given) > 1_000_000):
        raise BadOption(f"priority={given!r}: it is a whole number; the higher goes first, 0 is usual")
    return given


def _queue(given: Any) -> tuple[str, Keys]:
    if isinstance(given, Queue):
        return given.name, given.keys
    return _name("queue", given, 100), NO_KEYS


def _name(option: str, given: Any, limit: int) -> str:
    if given is None:
        return ""
    if not isinstance(given, str) or not 1 <= len(given) <= limit or not given.isprintable():
        raise BadOption(f"{option}={given!r}: it is a text of 1 to {limit} printable characters")
    return given


def _retry(given: Any) -> Retry:
    if isinstance(given, Retry):
        return given
    if given is None:
        return NEVER
    if isinstance(given, int) and not isinstance(given, bool):
        return Retry(max_attempts=given)
    if isinstance(given, dict):
        known = list(inspect.signature(Retry).parameters)
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise BadOption(f"a retry policy has no {', '.join(map(str, unknown))}; it has {', '.join(known)}")
        return Retry(**given)
    raise BadOption(f"retry={given!r}: give a number of attempts or Retry(…)")


def next_attempt_at(
    retry: Retry, error: BaseException, failed: int, asked_at: float, now: float, chance: Callable[[], float]
) -> float | None:
    """When the next attempt may begin after `failed` failures (this one counted), or None to give up."""
    if failed >= retry.max_attempts or isinstance(error, Unstorable):
        return None
    if not isinstance(error, (StepTimeout, *_as_tuple(retry.retry_on))) or isinstance(
        error, _as_tuple(retry.give_up_on)
    ):
        return None
    at = now + retry.pause(failed, chance())
    if retry.total_timeout is not None and at >= asked_at + seconds(retry.total_timeout):
        return None
    return at


def _as_tuple(classes: type[BaseException] | ErrorClasses) -> ErrorClasses:
    return classes if isinstance(classes, tuple) else (classes,)
