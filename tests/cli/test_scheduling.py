"""durable schedules: list, next, pause, resume, drop."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from durable_nb import connect, schedules
from durable_nb.cli.verbs import GROUPS
from durable_nb.verbs.scheduling import RECORD_KEYS
from tests.cli.conftest import Shell
from tests.cli.samples import cli_bill


@pytest.fixture(autouse=True)
def log(folder: Path) -> Path:
    path = folder / "shop.durable.db"
    with connect(path, carriers=0):
        cli_bill.schedule("0 6 29 2 *", ["tea"], id="nightly", tz="Europe/Berlin", misfire="one")
        cli_bill.schedule("every 400d", ["cake"], id="rarely")
    return path


def leap_days(count: int) -> list[str]:
    """29 February, 6:00 in Berlin."""
    years = [year for year in range(datetime.now(UTC).year, 2100) if year % 4 == 0]
    found = [datetime(year, 2, 29, 5, tzinfo=UTC) for year in years]
    return [at.isoformat().replace("+00:00", ".000000Z") for at in found if at > datetime.now(UTC)][:count]


def test_list_shows_each_schedule_and_when_it_starts_next(shell: Shell) -> None:
    said = shell("schedules", "list")
    assert (said.code, said.err) == (0, "")
    header, nightly, rarely = said.out.splitlines()
    assert header.split() == ["id", "flow", "times", "zone", "misfire", "next", "(UTC)"]
    assert nightly.split()[:2] == ["nightly", "cli_bill"]
    assert leap_days(1)[0][:10] in nightly
    assert "every 400d" in rarely
    found = shell("schedules", "list", "--json").json["schedules"]
    assert [sorted(one) for one in found] == [list(RECORD_KEYS)] * 2
    assert (found[0]["id"], found[0]["next_at"], found[0]["is_paused"]) == ("nightly", leap_days(1)[0], False)
    assert (found[0]["spec"], found[0]["tz"], found[0]["misfire"]) == ("0 6 29 2 *", "Europe/Berlin", "one")


def test_next_tells_the_times_to_come(shell: Shell) -> None:
    said = shell("schedules", "next", "nightly", "--count", "3", "--json")
    assert said.json == {"id": "nightly", "times": leap_days(3)}
    lines = shell("schedules", "next", "nightly", "--count", "3").out.splitlines()
    assert lines == [at[:19].replace("T", " ") for at in leap_days(3)]
    assert len(shell("schedules", "next", "rarely").out.splitlines()) == 5


def test_a_paused_schedule_says_so_until_it_is_resumed(shell: Shell, log: Path) -> None:
    assert shell("schedules", "pause", "nightly").out == "schedule 'nightly' is paused: paused by a person\n"
    assert "paused by a person" in shell("schedules", "list").out
    assert shell("schedules", "next", "nightly", "--json").json == {"id": "nightly", "times": []}
    assert "is paused" in shell("schedules", "next", "nightly").out
    with connect(log, carriers=0):
        assert schedules["nightly"].next is None
    resumed = shell("schedules", "resume", "nightly", "--json").json
    assert sorted(resumed) == list(RECORD_KEYS)
    assert (resumed["is_paused"], resumed["next_at"]) == (False, leap_days(1)[0])
    assert "starts next at" in shell("schedules", "resume", "nightly").out


def test_a_dropped_schedule_is_gone(shell: Shell, log: Path) -> None:
    assert shell("schedules", "drop", "rarely").out == "schedule 'rarely' is gone; the runs it has started stay\n"
    with connect(log, carriers=0):
        assert [schedule.id for schedule in schedules] == ["nightly"]
    assert shell("schedules", "drop", "nightly").code == 0
    assert shell("schedules", "list").out == "no schedules\n"
    assert shell("schedules", "list", "--json").json == {"schedules": []}


@pytest.mark.parametrize("verb", ["next", "pause", "resume", "drop"])
def test_an_unknown_schedule_is_one_line_that_names_those_there_are(shell: Shell, verb: str) -> None:
    said = shell("schedules", verb, "weekly")
    assert (said.code, said.out, len(said.err.splitlines())) == (4, "", 1)
    assert "'nightly', 'rarely'" in said.err


def test_every_verb_of_a_group_documents_its_json(shell: Shell) -> None:
    _, verbs = GROUPS["schedules"]
    for verb in verbs:
        assert list(verb.keys) == sorted(verb.keys)
        assert ", ".join(verb.keys) in " ".join(shell("schedules", verb.name, "--help").out.split())
