"""The options of a step as they travel: with its code, and with a call that has others."""

from typing import Any

import msgspec

from durable_nb.durations import seconds
from durable_nb.flows.policy import Retry, StepOptions
from durable_nb.flows.queue import NO_KEYS, Keys


class Given(msgspec.Struct, frozen=True, omit_defaults=True):
    """The options of a step, in seconds; the classes of its errors are in the document. Read for ever: add, never rename."""

    max_attempts: int = 1
    first: float = 1.0
    factor: float = 2.0
    max: float = 60.0
    jitter: float = 0.1
    attempt_timeout: float | None = None
    total_timeout: float | None = None
    timeout: float | None = None
    delay: float = 0.0
    isolate: bool = False
    codec: str | None = None
    check_arguments: bool = True
    tag: str = ""
    session: str = ""
    queue: str = ""
    priority: int | None = None


class _Policy(msgspec.Struct, frozen=True):
    """What a worker is told of the options of one call."""

    given: Given


def policy(options: StepOptions) -> bytes:
    """The options of one call, for whoever performs it."""
    return msgspec.json.encode(_Policy(given_of(options)))


def with_policy(options: StepOptions, policy: bytes) -> StepOptions:
    """The options of a definition, with those of one call; the classes of errors stay."""
    given = msgspec.json.decode(policy, type=_Policy).given
    return options_of(given, options.retry.retry_on, options.retry.give_up_on, options.keys)


def options_of(given: Given, retry_on: Any, give_up_on: Any, keys: Keys = NO_KEYS) -> StepOptions:
    """The options again, with what is code."""
    retry = Retry(
        max_attempts=given.max_attempts,
        first=given.first,
        factor=given.factor,
        max=given.max,
        jitter=given.jitter,
        timeout=given.attempt_timeout,
        total_timeout=given.total_timeout,
        retry_on=retry_on,
        give_up_on=give_up_on,
    )
    return StepOptions(
        retry=retry,
        timeout=given.timeout,
        delay=given.delay,
        isolate=given.isolate,
        codec=given.codec,
        check_arguments=given.check_arguments,
        tag=given.tag,
        session=given.session,
        queue=given.queue,
        priority=given.priority,
        keys=keys,
    )


def given_of(options: StepOptions) -> Given:
    """What can travel as plain data."""
    retry = options.retry
    return Given(
        max_attempts=retry.max_attempts,
        first=seconds(retry.first),
        factor=retry.factor,
        max=seconds(retry.max),
        jitter=retry.jitter,
        attempt_timeout=None if retry.timeout is None else seconds(retry.timeout),
        total_timeout=None if retry.total_timeout is None else seconds(retry.total_timeout),
        timeout=options.timeout,
        delay=options.delay,
        isolate=options.isolate,
        codec=options.codec,
        check_arguments=options.check_arguments,
        tag=options.tag,
        session=options.session,
        queue=options.queue,
        priority=options.priority,
    )
