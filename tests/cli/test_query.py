"""`durable query` reads and does nothing else."""

import csv
from pathlib import Path

import pytest

from durable_nb import connect
from tests.cli.conftest import Shell
from tests.cli.samples import cli_bill


@pytest.fixture(autouse=True)
def log(folder: Path) -> Path:
    path = folder / "shop.durable.db"
    with connect(path, carriers=0):
        cli_bill["one"](["tea"])
    return path


def test_rows_come_as_table_json_and_csv(shell: Shell) -> None:
    sql = "select id, status, arguments, null as none from run"
    assert shell("query", sql).out.splitlines()[1].split() == ["one", "completed", '{"json":{"items":["tea"]}}']
    row = {"id": "one", "status": "completed", "arguments": '{"json":{"items":["tea"]}}', "none": None}
    assert shell("query", sql, "--json").json == [row]
    assert list(csv.DictReader(shell("query", sql, "--csv").out.splitlines())) == [{**row, "none": ""}]


@pytest.mark.parametrize(
    "sql",
    [
        "delete from run",
        "insert into log values (2, '', '', 0)",
        "update run set status = 'failed' returning id",
        "drop table run",
        "create temp table x(y)",
        "attach 'new.db' as other",
        "vacuum into 'copy.db'",
        "pragma query_only = 0",
        "pragma user_version = 7",
        "begin immediate",
        "select load_extension('x')",
        "with x as (select 1) delete from event",
    ],
)
def test_what_would_write_is_refused(folder: Path, shell: Shell, sql: str) -> None:
    before = shell("query", "select * from run").out
    said = shell("query", sql)
    assert (said.code, said.out) == (4, "")
    assert shell("query", "select * from run").out == before
    assert not {"new.db", "copy.db"} & {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    "sql", ["pragma table_info(run)", "pragma user_version", "explain query plan select 1 from run"]
)
def test_looking_at_the_schema_is_allowed(shell: Shell, sql: str) -> None:
    assert shell("query", sql).code == 0


@pytest.mark.parametrize("sql", ["selec", "select nothing from run", "select 1; select 2", ""])
def test_a_mistake_is_told_in_one_line(shell: Shell, sql: str) -> None:
    said = shell("query", sql)
    assert said.code == (0 if not sql else 2)
    assert len(said.err.splitlines()) == (0 if not sql else 1)
