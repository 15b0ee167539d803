"""What may be said about a step: how often, how long, where. Pure values and one decision."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from durable_nb.durations import Duration, seconds
from durable_nb.errors import BadOption, StepTimeout, Unstorable

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


def step_options(before: StepOptions, **given: Any) -> StepOptions:
    """`before` with what is given; unknown names are refused."""
    known = {"retry", "timeout", "delay", "isolate", "codec", "check_arguments"}
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
    return StepOptions(
        retry=retry,
        timeout=timeout if timeout is not None or retry.timeout is None else seconds(retry.timeout),
        delay=seconds(given["delay"]) if given.get("delay") is not None else before.delay,
        isolate=given.get("isolate", before.isolate),
        codec=given.get("codec", before.codec),
        check_arguments=given.get("check_arguments", before.check_arguments),
    )


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
