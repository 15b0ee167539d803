"""When schedules tick: cron lines in zones with their jumps, and even distances."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_nb import BadOption
from durable_nb.flows.schedule import due_ticks, run_id, ticks


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def following(spec: str, start: str, count: int = 3, tz: str = "UTC") -> list[str]:
    rule, moment, found = ticks(spec, tz), at(start), []
    for _ in range(count):
        moment = rule.after(moment)
        found.append(shown(moment))
    return found


@pytest.mark.parametrize(
    ("spec", "start", "expected"),
    [
        ("0 6 * * *", "2026-11-21 05:59", ["2026-11-21 06:00", "2026-11-22 06:00", "2026-11-23 06:00"]),
        ("0 6 * * *", "2026-11-21 06:00", ["2026-11-22 06:00", "2026-11-23 06:00", "2026-11-24 06:00"]),
        ("*/20 * * * *", "2026-12-31 23:30", ["2026-12-31 23:40", "2027-01-01 00:00", "2027-01-01 00:20"]),
        ("5/25 9-10 * * *", "2026-11-21 09:10", ["2026-11-21 09:30", "2026-11-21 09:55", "2026-11-21 10:05"]),
        ("0 0 1,15 * *", "2026-11-02 00:00", ["2026-11-15 00:00", "2026-12-01 00:00", "2026-12-15 00:00"]),
        ("0 0 31 * *", "2026-11-01 00:00", ["2026-12-31 00:00", "2027-01-31 00:00", "2027-03-31 00:00"]),
        ("30 8 * * mon-fri", "2026-11-20 09:00", ["2026-11-23 08:30", "2026-11-24 08:30", "2026-11-25 08:30"]),
        ("0 0 * * 7", "2026-11-21 00:00", ["2026-11-22 00:00", "2026-11-29 00:00", "2026-12-06 00:00"]),
        ("0 0 * * fri-sun", "2026-11-21 00:00", ["2026-11-22 00:00", "2026-11-27 00:00", "2026-11-28 00:00"]),
        ("0 0 13 * FRI", "2026-11-12 00:00", ["2026-11-13 00:00", "2026-11-20 00:00", "2026-11-27 00:00"]),
        ("0 0 */10 * mon", "2026-11-01 00:00", ["2026-12-21 00:00", "2027-01-11 00:00", "2027-02-01 00:00"]),
        ("0 0 29 feb *", "2026-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 12 * jan-mar/2 *", "2026-03-30 12:00", ["2026-03-31 12:00", "2027-01-01 12:00", "2027-01-02 12:00"]),
        ("@monthly", "2026-11-21 00:00", ["2026-12-01 00:00", "2027-01-01 00:00", "2027-02-01 00:00"]),
        ("every 10m", "2026-11-21 00:00", ["2026-11-21 00:10", "2026-11-21 00:20", "2026-11-21 00:30"]),
        ("every 1h30m", "2026-11-21 00:00", ["2026-11-21 01:30", "2026-11-21 03:00", "2026-11-21 04:30"]),
    ],
)
def test_ticks_come_when_the_line_says(spec: str, start: str, expected: list[str]) -> None:
    assert following(spec, start) == expected


def test_a_zone_has_its_own_mornings() -> None:
    assert following("0 6 * * *", "2026-07-01 00:00", 1, "Europe/Berlin") == ["2026-07-01 04:00"]
    assert following("0 6 * * *", "2026-12-01 00:00", 1, "Europe/Berlin") == ["2026-12-01 05:00"]
    assert following("0 6 * * *", "2026-12-01 00:00", 1, "Pacific/Kiritimati") == ["2026-12-01 16:00"]


def test_an_hour_that_is_left_out_has_no_tick() -> None:
    # Berlin: 29 March 2026, 2:00 becomes 3:00
    assert following("30 2 * * *", "2026-03-28 00:00", 2, "Europe/Berlin") == ["2026-03-28 01:30", "2026-03-30 00:30"]
    assert following("*/30 2-3 * * *", "2026-03-28 23:00", 2, "Europe/Berlin") == [
        "2026-03-29 01:00",
        "2026-03-29 01:30",
    ]


def test_of_an_hour_that_comes_twice_only_the_first_ticks() -> None:
    # Berlin: 25 October 2026, 3:00 becomes 2:00
    assert following("30 2 * * *", "2026-10-24 12:00", 2, "Europe/Berlin") == ["2026-10-25 00:30", "2026-10-26 01:30"]
    assert following("0,30 * * * *", "2026-10-24 23:45", 4, "Europe/Berlin") == [
        "2026-10-25 00:00",
        "2026-10-25 00:30",
        "2026-10-25 02:00",
        "2026-10-25 02:30",
    ]
    assert following("0,30 * * * *", "2026-10-25 01:10", 1, "Europe/Berlin") == ["2026-10-25 02:00"]


def test_a_jump_at_midnight_loses_no_day() -> None:
    # Santiago: 6 September 2026, 0:00 becomes 1:00; 5 April 2026, 0:00 becomes 23:00 of the day before
    assert following("30 * * * *", "2026-09-06 03:10", 2, "America/Santiago") == [
        "2026-09-06 03:30",
        "2026-09-06 04:30",
    ]
    assert following("0 0 * * *", "2026-09-05 00:00", 2, "America/Santiago") == ["2026-09-05 04:00", "2026-09-07 03:00"]
    assert following("30 23 * * *", "2026-04-04 12:00", 2, "America/Santiago") == [
        "2026-04-05 02:30",
        "2026-04-06 03:30",
    ]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"])
@pytest.mark.parametrize("spec", ["0 6 * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 1-3 * * sun"])
def test_the_last_tick_is_the_one_before_the_next(spec: str, zone: str) -> None:
    rule = ticks(spec, zone)
    first = rule.after(at("2026-01-03 00:00"))
    for now in (at("2026-03-29 01:20"), at("2026-04-04 16:10"), at("2026-10-25 01:01"), at("2026-12-30 13:00"), first):
        last = rule.last(first, now)
        assert first <= last <= now < rule.after(last)


@pytest.mark.parametrize(
    "spec",
    ["", "0 6 * *", "0 6 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *",
     "*/0 * * * *", "a * * * *", "* * * * funday", "1,,2 * * * *", "every", "every 0s", "every day", "-1 * * * *", None, 5],
    ids=str,
)  # fmt: skip
def test_what_is_no_schedule_is_refused(spec: Any) -> None:
    with pytest.raises(BadOption):
        ticks(spec, "UTC")


def test_a_schedule_that_never_comes_is_refused() -> None:
    with pytest.raises(BadOption, match="never comes"):
        ticks("0 0 31 2 *", "UTC").after(at("2026-01-01 00:00"))


@pytest.mark.parametrize("tz", ["Berlin", "", "../etc/passwd", None, 3], ids=str)
def test_what_is_no_zone_is_refused(tz: Any) -> None:
    with pytest.raises(BadOption, match="time zone"):
        ticks("0 6 * * *", tz)


@pytest.mark.parametrize(
    ("misfire", "late", "expected"),
    [
        ("skip", 0, ["06:00"]),
        ("skip", 59, ["06:00"]),
        ("skip", 61, []),
        ("skip", 3 * 3600 + 30, ["09:00"]),
        ("one", 3 * 3600 + 600, ["09:00"]),
        ("all", 3 * 3600 + 600, ["06:00", "07:00", "08:00", "09:00"]),
    ],
)
def test_missed_ticks_are_treated_as_told(misfire: str, late: float, expected: list[str]) -> None:
    first = at("2026-11-21 06:00")
    for spec in ("0 * * * *", "every 1h"):
        due, next_at = due_ticks(spec, "UTC", misfire, first, first + late, 100)
        assert [shown(tick)[-5:] for tick in due] == expected
        assert first + late < next_at <= first + late + 3600


def test_many_missed_ticks_come_in_parts() -> None:
    first = at("2026-11-21 06:00")
    due, next_at = due_ticks("every 1m", "UTC", "all", first, first + 86400, 100)
    assert (len(due), next_at) == (100, first + 6000)


def test_the_id_of_a_run_has_the_time_of_its_tick() -> None:
    assert run_id("nightly", at("2026-11-21 06:00")) == "nightly@2026-11-21T06:00:00Z"
