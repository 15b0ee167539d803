"""prune, gc, du, export, import."""

from pathlib import Path

import pytest

from durable_nb import connect, runs
from tests.cli.conftest import OTHER_KEY, Shell
from tests.cli.samples import cli_bill, cli_waiting


@pytest.fixture(autouse=True)
def log(folder: Path) -> Path:
    path = folder / "shop.durable.db"
    with connect(path, carriers=0) as app:
        for id in ("a", "b", "c"):
            cli_bill[id](["tea"])
        cli_waiting["w"].start()
        app.turn()
    return path


def test_prune_says_what_it_does_and_what_it_would(shell: Shell) -> None:
    assert shell("prune", "--keep", "1", "--dry-run").out == "2 runs would go: a, b\n"
    assert shell("prune", "--keep", "1", "--json").json == {"dry_run": False, "ids": ["a", "b"], "runs": 2}
    assert shell("prune", "--older-than", "7d").out == "0 runs are gone\n"
    said = shell("show", "a")
    assert (said.code, "was pruned" in said.err) == (3, True)
    for wrong in ([], ["--older-than", "soon"], ["--keep", "-1"], ["--status", "waiting"]):
        said = shell("prune", *wrong)
        assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "--older-than" in shell("prune").err


def test_gc_and_du_count(shell: Shell) -> None:
    shell("prune", "--keep", "0")
    assert "that nothing needed are gone" in shell("gc").out
    assert shell("gc", "--json").json == {"bytes": 0, "rows": 0}
    sizes = shell("du", "--json").json["bytes"]
    assert sizes["file"] > sizes["event"] > 0
    assert "event" in shell("du").out


def test_a_run_goes_from_log_to_log(folder: Path, shell: Shell) -> None:
    assert shell("export", "a", "a.run").code == 0
    with connect(folder / "other.durable.db", carriers=0):
        pass
    there = ["--log", "other.durable.db"]
    assert shell("import", "a.run", *there).out.startswith("run 'a' of flow `cli_bill` completed")
    assert shell("import", "a.run", *there).code == 4
    assert shell("import", "a.run", "--id", "b", *there).code == 0
    with connect(folder / "other.durable.db", carriers=0):
        assert runs["b"].result() == 2.5
    for wrong, code in (("nothing.run", 2), ("shop.durable.db", 2)):
        said = shell("import", wrong, *there)
        assert (said.code, said.out, len(said.err.splitlines())) == (code, "", 1)
    assert shell("export", "x", "x.run", *there).code == 3


def test_a_run_of_another_key_needs_trust(folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell("export", "w", "w.run").code == 0
    monkeypatch.setenv("DURABLE_NB_KEY", OTHER_KEY)
    with connect(folder / "other.durable.db", carriers=0):
        pass
    refused = shell("import", "w.run", "--log", "other.durable.db")
    assert (refused.code, "--trust" in refused.err) == (4, True)
    assert shell("import", "w.run", "--trust", "--log", "other.durable.db").code == 0
