import re
from pathlib import Path
from typing import Any

import pytest

import durable_nb.stores
from durable_nb.stores.queries import migrations, statements
from durable_nb.stores.sqlite import SqliteStore, open_sqlite

ROOM = Path(durable_nb.stores.__file__).parent
GROUPS = [file.stem for file in sorted((ROOM / "sql").glob("*.sql"))]
CODE = "".join(file.read_text(encoding="utf-8") for file in ROOM.glob("*.py"))
NAMED = [(group, name) for group in GROUPS for name in statements(group)]


def explained(store: SqliteStore, how: str, sql: str) -> list[Any]:
    """What SQLite would do; every parameter is null."""
    parameters: Any = dict.fromkeys(re.findall(r":([a-z_]+)", sql))
    parameters = parameters or [None] * max([int(number) for number in re.findall(r"\?(\d+)", sql)], default=0)
    return store.database.transact(lambda connection: connection.execute(f"{how} {sql}", parameters).fetchall())


@pytest.mark.parametrize(("group", "name"), NAMED)
def test_every_statement_fits_the_schema_and_is_used(group: str, name: str) -> None:
    store = open_sqlite(":memory:")
    assert explained(store, "explain", statements(group)[name])
    store.close()
    assert f'["{name}"]' in CODE


def test_statements_are_lower_case_and_know_no_time() -> None:
    for group, name in NAMED:
        sql = statements(group)[name]
        assert sql == sql.lower(), name
        assert not re.search(r"\b(now|datetime|strftime|unixepoch|random)\(", sql), name


def test_migrations_are_numbered_from_one_on() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


@pytest.mark.parametrize(
    ("group", "name", "indexes"),
    [
        ("turns", "due", {"run_woken", "run_new"}),
        ("turns", "is_due", {"run_woken", "run_new"}),
        ("turns", "next_run_priority", {"run_priority"}),
        ("turns", "due_with_priority", {"run_priority"}),
        ("work", "next_due_run", {"run_woken", "run_new", "run_priority", "schedule_next"}),
        ("work", "next_queue", {"work_free"}),
        ("work", "next_tag", {"work_free"}),
        ("work", "lane_due", {"work_due"}),
        ("work", "lane_due_bound", {"work_bound", "work_owner"}),
        ("work", "next_priority", {"work_free"}),
        ("work", "lane_keys", {"work_free", "admission_key"}),
        ("work", "lane_work", {"work_free", "work_owner"}),
        ("work", "queue_use", {"admission_open"}),
        ("work", "forget_sessions", {"session_seen", "work_owner"}),
        ("schedules", "due_schedules", {"schedule_next"}),
        ("owners", "free_running", {"run_owner"}),
        ("owners", "free_work", {"work_owner"}),
        ("records", "find_by_flow", {"run_flow"}),
        ("records", "find_by_status", {"run_status"}),
        ("records", "find_by_waits", {"run_waits"}),
        ("records", "find_by_parent", {"run_parent"}),
        ("records", "tree", {"run_parent"}),
        ("admin", "family", {"run_parent"}),
        ("admin", "ended", {"run_origin", "run_status"}),
        ("mailing", "watches_of", {"watch_by"}),
        ("mailing", "drop_watch", {"watch_by"}),
        ("records", "counts", {"run_status"}),
        ("records", "latest_code", {"code_latest"}),
        ("mailing", "mail", {"inbox_run"}),
        ("mailing", "is_early", {"early_key"}),
        ("mailing", "forget_early", {"early_sent"}),
        ("records", "children", {"run_parent"}),
    ],
)
def test_what_is_asked_often_reads_an_index(store: SqliteStore, group: str, name: str, indexes: set[str]) -> None:
    text = "\n".join(step[3] for step in explained(store, "explain query plan", statements(group)[name]))
    assert indexes <= set(re.findall(r"INDEX (\w+)", text)), text
    assert "SCAN event" not in text
