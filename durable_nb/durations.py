"""Durations and moments as users write them: seconds, timedelta, "1h30m", or an aware datetime."""

import math
import re
from datetime import UTC, datetime, timedelta

from durable_nb.errors import BadOption

Duration = float | int | str | timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")


def seconds(duration: Duration) -> float:
    """The duration in seconds; refuses what is negative, not finite, or not understood."""
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, bool):
        raise BadOption(f"{duration!r} is not a duration; write seconds, a timedelta, or text such as '1h30m'")
    elif isinstance(duration, int | float):
        value = float(duration)
    elif isinstance(duration, str):
        value = _parsed(duration)
    else:
        raise BadOption(f"{duration!r} is not a duration; write seconds, a timedelta, or text such as '1h30m'")
    if not math.isfinite(value) or value < 0:
        raise BadOption(f"the duration {duration!r} must be finite and not negative")
    return value


def _parsed(text: str) -> float:
    position, total, last = 0, 0.0, math.inf
    stripped = text.strip()
    while position < len(stripped):
        part = _PART.match(stripped, position)
        if part is None or _UNITS[part[2]] >= last:
            break
        last = _UNITS[part[2]]
        total += float(part[1]) * last
        position = part.end()
    if not stripped or position != len(stripped):
        raise BadOption(f"{text!r} is not a duration; units are w d h m s ms, the largest first, as in '1h30m'")
    return total


def moment(when: Duration | datetime, now: float) -> float:
    """The time `when` as seconds since the epoch: an aware datetime as it is, a duration from `now` on."""
    if not isinstance(when, datetime):
        return now + seconds(when)
    if when.tzinfo is None or when.utcoffset() is None:
        raise BadOption(
            f"the time {when.isoformat()} has no time zone; use an aware datetime, such as datetime.now(UTC)"
        )
    return when.timestamp()


def as_datetime(at: float) -> datetime:
    """Seconds since the epoch as an aware UTC datetime."""
    return datetime.fromtimestamp(at, UTC)


def spoken(span: float) -> str:
    """A span of seconds in words that a person reads at a glance: '3 m 12 s', '1.2 s', '4 ms'."""
    if span < 0.9995:
        return f"{span * 1000:.0f} ms"
    if span < 59.95:
        return f"{span:.1f}".removesuffix(".0") + " s"
    whole = round(span)
    for unit, size, smaller, lower, below in (("m", 60, "s", 1, 3600), ("h", 3600, "m", 60, 86400)):
        if whole < below:
            return _two(whole, unit, size, smaller, lower)
    return _two(whole, "d", 86400, "h", 3600)


def _two(whole: int, unit: str, size: int, smaller: str, lower: int) -> str:
    count, rest = divmod(whole, size)
    return f"{count} {unit}" + (f" {rest // lower} {smaller}" if rest // lower else "")
