"""When a schedule is due: cron lines with five fields in a time zone, or "every 10m". Pure calculation, and the user's handle."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from durable_nb.durations import as_datetime, seconds
from durable_nb.errors import BadOption, UnknownSchedule
from durable_nb.flows.host import Host, current_host
from durable_nb.flows.run import checked_id
from durable_nb.stores.shapes import ScheduleRecord

MISFIRES = ("skip", "one", "all")
GRACE = 60.0  # seconds by which a tick that is to be skipped when missed may be late
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)
_NAMED = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}  # fmt: skip
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_YEARS = 9  # after which a 29 February has surely come


class Every:
    """Ticks in even distances."""

    def __init__(self, text: str) -> None:
        self.period = seconds(text)
        if not self.period:
            raise BadOption("a schedule needs some time between its ticks")

    def after(self, at: float) -> float:
        return at + self.period

    def last(self, tick: float, now: float) -> float:
        """The last tick up to now, of those from this one on."""
        last = tick + (now - tick) // self.period * self.period
        return last if last <= now else last - self.period


class Cron:
    """Ticks by the clock on the wall: an hour that is left out has none, of one that comes twice the first has them."""

    def __init__(self, text: str, zone: ZoneInfo) -> None:
        fields = _NAMED.get(text.strip(), text).split()
        if len(fields) != len(_FIELDS):
            raise BadOption(f'{text!r} is no schedule: write "minute hour day month weekday", or "every 10m"')
        found = [_field(text, field, *about) for field, about in zip(fields, _FIELDS, strict=True)]
        self.minutes, self.hours, self.days, self.months, weekdays = found
        self.weekdays = frozenset(day % 7 for day in weekdays)
        self.is_any_day, self.is_any_weekday = fields[2].startswith("*"), fields[4].startswith("*")
        self.zone = zone
        self.text = text

    def after(self, at: float) -> float:
        """The first tick later than that."""
        start = datetime.fromtimestamp(at, self.zone)
        for day in self._days(start.date()):
            for hour in sorted(self.hours):
                if day == start.date() and hour < start.hour:
                    continue
                for minute in sorted(self.minutes):
                    tick = datetime.combine(day, time(hour, minute), self.zone)
                    moment = tick.timestamp()
                    if moment > at and _is_there(tick, moment):
                        return moment
        raise BadOption(f"the schedule {self.text!r} never comes")

    def last(self, tick: float, now: float) -> float:
        """The last tick up to now, of those from this one on."""
        step = 3600.0  # look back from now, further each time, until a tick is found
        while (begin := now - step) > tick:
            found = self.after(begin)
            if found <= now:
                tick = found
                break
            step *= 4
        while (following := self.after(tick)) <= now:
            tick = following
        return tick

    def _days(self, first: date) -> Iterator[date]:
        for number in range(366 * _YEARS):
            day = first + timedelta(days=number)
            if day.month in self.months and self._is_day(day):
                yield day

    def _is_day(self, day: date) -> bool:
        """Where both are given, either of day and weekday is enough, as in every cron."""
        is_day, is_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.is_any_day or self.is_any_weekday:
            return is_day and is_weekday
        return is_day or is_weekday


def ticks(spec: str, tz: str) -> Every | Cron:
    """What the text of a schedule means; BadOption when it means nothing."""
    if not isinstance(spec, str):
        raise BadOption(f'{spec!r} is no schedule: write "0 6 * * *" or "every 10m"')
    try:
        zone = ZoneInfo(tz)
    except (LookupError, ValueError, OSError, TypeError) as cause:
        raise BadOption(f'tz={tz!r} is no time zone; write one such as "Europe/Berlin"') from cause
    if spec.strip().startswith("every "):
        return Every(spec.strip().removeprefix("every "))
    return Cron(spec, zone)


def due_ticks(spec: str, tz: str, misfire: str, next_at: float, now: float, limit: int) -> tuple[list[float], float]:
    """Which ticks are to be started now, and when the next one is due."""
    rule = ticks(spec, tz)
    if misfire == "all":
        due: list[float] = []
        while next_at <= now and len(due) < limit:
            due.append(next_at)
            next_at = rule.after(next_at)
        return due, next_at
    last = rule.last(next_at, now)
    is_missed = misfire == "skip" and now - last > GRACE
    return [] if is_missed else [last], rule.after(last)


def run_id(id: str, tick: float) -> str:
    """The id of the run that a tick starts."""
    return f"{id}@{as_datetime(tick).isoformat().replace('+00:00', 'Z')}"


def checked_schedule_id(id: object) -> str:
    """An id from which the ids of runs can be made."""
    known = checked_id(id)
    if known.startswith("~") or len(known) > 160:
        raise BadOption(f"the id of a schedule has up to 160 characters and does not begin with ~; not {known[:40]!r}")
    return known


class Schedule:
    """A flow that is started again and again: `schedules["nightly"]`."""

    __slots__ = ("_host", "id")

    def __init__(self, id: str, host: Host) -> None:
        self.id = id
        self._host = host

    @property
    def record(self) -> ScheduleRecord:
        """As it is in the log now."""
        return self._host.timetable.record(self.id)

    @property
    def next(self) -> datetime | None:
        """When it starts its next run; None while it is paused."""
        record = self.record
        return None if record.paused else as_datetime(record.next_at)

    def times(self, count: int = 5) -> list[datetime]:
        """When it starts its next runs; never while it is paused."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise BadOption(f"count={count!r}: how many times, 1 or more")
        record = self.record
        if record.paused:
            return []
        rule, found = ticks(record.spec, record.tz), [record.next_at]
        while len(found) < count:
            found.append(rule.after(found[-1]))
        return [as_datetime(at) for at in found]

    def pause(self) -> None:
        """It starts nothing until `resume()`."""
        self._host.timetable.pause(self.id)

    def resume(self) -> None:
        """It goes on with its next tick; what was missed while it was paused stays missed."""
        self._host.timetable.resume(self.id)
        self._host.look()

    def delete(self) -> None:
        """It starts nothing any more; the runs it has started stay."""
        self._host.timetable.delete(self.id)

    def __repr__(self) -> str:
        return f"<schedule {self.id!r}>"


class Schedules:
    """The schedules of the open log: iterable, and `schedules["nightly"]` is one."""

    def __getitem__(self, id: str) -> Schedule:
        host = current_host()
        return Schedule(host.timetable.record(id).id, host)

    def __iter__(self) -> Iterator[Schedule]:
        host = current_host()
        return (Schedule(record.id, host) for record in host.timetable.records())

    def __len__(self) -> int:
        return len(current_host().timetable.records())

    def __contains__(self, id: object) -> bool:
        try:
            current_host().timetable.record(str(id))
        except UnknownSchedule:
            return False
        return True


schedules = Schedules()


def _field(text: str, field: str, name: str, low: int, high: int, words: list[str]) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise BadOption(f"{part!r} is no {name} in the schedule {text!r}")
        every, first, last, stride = match.groups()
        begin = low if every else _number(text, first, name, low, high, words)
        end = high if every or (stride and not last) else begin
        if last:
            end = _number(text, last, name, low, high, words)
            end = 7 if name == "weekday" and end == 0 and begin > 0 else end
        if end < begin or (stride and int(stride) < 1):
            raise BadOption(f"{part!r} is no {name} in the schedule {text!r}: nothing lies in it")
        found.update(range(begin, end + 1, int(stride or 1)))
    return frozenset(found)


def _number(text: str, word: str, name: str, low: int, high: int, words: list[str]) -> int:
    if word.lower() in words:
        return words.index(word.lower()) + (1 if name == "month" else 0)
    if not word.isdecimal() or not low <= int(word) <= high:
        raise BadOption(f"{word!r} is no {name} in the schedule {text!r}: {low} to {high}")
    return int(word)


def _is_there(tick: datetime, moment: float) -> bool:
    """Whether the clock on the wall shows that time at all: not when it was put forward over it."""
    shown = datetime.fromtimestamp(moment, UTC).astimezone(tick.tzinfo)
    return shown.replace(tzinfo=None) == tick.replace(tzinfo=None)
