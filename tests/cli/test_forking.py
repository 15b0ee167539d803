"""signal, cancel, terminate, fork, upgrade, tree: from a process that carries nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb import connect, runs
from durable_nb.app import App
from durable_nb.testing import run_until_idle
from tests.cli.conftest import Shell
from tests.cli.samples import cli_bill, cli_deciding, cli_failing, cli_family, cli_waiting


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    with connect(folder / "shop.durable.db", carriers=0) as app:
        yield app


def test_a_signal_is_json_or_text(app: App, shell: Shell) -> None:
    for id, value, result in (
        ("a", '{"ok": true}', {"ok": True}),
        ("b", "yes please", "yes please"),
        ("c", None, None),
    ):
        cli_deciding[id].start()
        run_until_idle(app)
        said = shell("signal", id, "answer", *([] if value is None else [value]))
        assert (said.code, said.out) == (0, f"run '{id}' has the signal.\n")
        run_until_idle(app)
        assert runs[id].result() == result
    assert shell("signal", "a", "answer", "1").code == 4


def test_a_repeat_and_an_early_signal_are_told_apart(app: App, shell: Shell) -> None:
    assert (shell("signal", "a", "answer", "1").code, shell("signal", "a", "answer", "1").out) == (3, "")
    assert "--before-start" in shell("signal", "a", "answer", "1").err
    assert shell("signal", "a", "answer", "1", "--before-start", "--key", "k", "--json").json["told"] == "early"
    cli_deciding["a"].start()
    assert shell("signal", "a", "answer", "1", "--key", "k", "--json").json["told"] == "repeated"
    run_until_idle(app)
    assert runs["a"].result() == 1


def test_cancel_and_terminate(app: App, shell: Shell) -> None:
    for id in ("a", "b"):
        cli_waiting[id].start()
    run_until_idle(app)
    assert "was told to end" in shell("cancel", "a", "--reason", "enough").out
    run_until_idle(app)
    assert runs["a"].why() == "run 'a' of flow `cli_waiting` was cancelled: enough."
    said = shell("terminate", "b", "--reason", "enough")
    assert (said.code, runs["b"].status) == (0, "cancelled")
    assert "enough" in said.out
    assert [shell(verb, "a").code for verb in ("cancel", "terminate", "upgrade")] == [4, 4, 4]
    assert [shell(verb, "x").code for verb in ("cancel", "terminate", "upgrade", "fork", "tree")] == [3] * 5


def test_a_fork_is_previewed_and_begun(app: App, shell: Shell) -> None:
    with pytest.raises(OSError, match="x"):
        cli_failing["a"]("x")
    seen = shell("fork", "a", "--preview", "--json").json
    assert ([one["name"] for one in seen["again"]], seen["at"], seen["kept"]) == (["cli_flaky"], 2, 0)
    assert "again: step `cli_flaky`" in shell("fork", "a", "--preview").out
    assert [run.id for run in runs()] == ["a"]
    assert shell("fork", "a", "--id", "b", "--result", 'cli_flaky="by hand"').code == 0
    made = shell("fork", "a", "--at", "1", "-p", "text=y", "--json").json
    assert (made["origin"], runs[made["id"]].arguments) == ("a", {"text": "y"})
    run_until_idle(app)
    assert runs["b"].result() == "by hand"
    for wrong, code in (
        (["--at", "77"], 4),
        (["--result", "nothing"], 2),
        (["--result", "fly=1"], 4),
        (["--at", "2", "-p", "text=z"], 4),
        (["--at", "2", "-p", "text=z", "--preview"], 4),
        (["--id", "b"], 4),
    ):
        said = shell("fork", "a", *wrong)
        assert (said.code, said.out, len(said.err.splitlines())) == (code, "", 1), wrong


def test_a_run_with_the_newest_code_is_upgraded_to_nothing(app: App, shell: Shell) -> None:
    cli_waiting["a"].start()
    run_until_idle(app)
    assert shell("upgrade", "a").code == 0
    assert [event["kind"] for event in shell("history", "a", "--json").lines] == ["started", "timer"]


def test_a_tree_is_drawn(app: App, shell: Shell) -> None:
    cli_family["a"].start()
    run_until_idle(app)
    assert shell("tree", "a").out.splitlines()[1:] == ["└─ a/2  cli_deciding  waiting: the signal `answer`"]
    found = shell("tree", "a", "--json").json
    assert [(run["id"], run["parent"]) for run in found["runs"]] == [("a", None), ("a/2", "a")]


def test_a_run_shows_its_version_and_its_origin(app: App, shell: Shell) -> None:
    cli_waiting.options(version="v7")["a"].start()
    run_until_idle(app)
    assert shell("fork", "a", "--id", "b").code == 0
    said = shell("show", "b").out
    assert "cli_waiting, version v7" in said
    assert "forked from  a" in said
    assert shell("show", "b", "--json").json["origin"] == "a"


def test_a_bill_has_no_children(app: App, shell: Shell) -> None:
    cli_bill["a"](["tea"])
    assert shell("tree", "a").out == "a  cli_bill  completed\n"
