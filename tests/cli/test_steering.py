"""pause, resume, retry, delete, from a process that carries nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_nb import connect
from durable_nb.app import App
from tests.cli.conftest import Shell
from tests.cli.samples import cli_bill, cli_failing, cli_waiting


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    with connect(folder / "shop.durable.db", carriers=0) as app:
        yield app


def test_a_waiting_run_is_paused_and_goes_on_when_resumed(app: App, shell: Shell) -> None:
    run = cli_waiting["a"].start()
    app.turn()
    said = shell("pause", "a")
    assert (said.code, run.status) == (0, "paused")
    assert said.out.startswith("run 'a' of flow `cli_waiting` is paused: paused by pid ")
    assert shell("pause", "a").code == 0
    assert shell("resume", "a").code == 0
    assert run.status == "waiting"
    app.turn()
    assert "a timer, due in" in shell("ls").out


def test_a_run_that_somebody_carries_is_told_to_pause(app: App, shell: Shell) -> None:
    run = cli_bill["a"].start(["tea"])
    assert app.store.claim_run(run.record.key, app.owner(), app.clock.now())
    said = shell("pause", "a")
    assert (said.code, run.status) == (0, "running")
    assert "It was told to pause" in said.out
    assert [mail.kind for mail in app.store.mail(run.record.key)] == ["pause"]


def test_a_resumed_run_that_nobody_carries_says_how_to_carry_it(folder: Path, shell: Shell) -> None:
    with connect(folder / "shop.durable.db", carriers=0) as app:
        cli_waiting["a"].start()
        app.turn()
    shell("pause", "a")
    assert "`durable worker`" in shell("resume", "a").out


def test_a_failed_run_is_retried(app: App, shell: Shell) -> None:
    with pytest.raises(OSError, match="x"):
        cli_failing["a"]("x")
    said = shell("retry", "a")
    assert said.code == 0
    assert "goes on" in said.out
    with pytest.raises(OSError, match="x"):
        app.result("a", None)
    assert [event["kind"] for event in shell("history", "a", "--json").lines].count("raised") == 2


def test_what_does_not_fit_the_state_is_refused_with_code_4(app: App, shell: Shell) -> None:
    cli_bill["done"]([])
    cli_waiting["waiting"].start()
    for arguments in (["pause", "done"], ["resume", "done"], ["retry", "done"], ["delete", "waiting"]):
        said = shell(*arguments)
        assert (said.code, said.out) == (4, ""), arguments
        assert len(said.err.splitlines()) == 1
    assert "--force" in shell("delete", "waiting").err


def test_delete_removes_an_ended_run_and_a_live_one_by_force(app: App, shell: Shell) -> None:
    cli_bill["done"]([])
    cli_waiting["waiting"].start()
    assert shell("delete", "done").code == shell("delete", "waiting", "--force").code == 0
    assert shell("ls", "--json").json["runs"] == []
