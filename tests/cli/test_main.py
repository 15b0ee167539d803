"""The command as such: help, errors, exit codes, speed."""

import subprocess
import sys
from pathlib import Path

import pytest

from durable_nb import connect, errors
from durable_nb.cli.verbs import GROUPS, VERBS
from durable_nb.verbs.exits import MEANINGS, Exit, exit_of
from tests.cli.conftest import Shell
from tests.cli.samples import cli_bill


def test_help_lists_every_verb_and_exit_code(shell: Shell) -> None:
    said = shell("--help")
    assert said.code == 0
    for verb in VERBS:
        assert f"\n  {verb.name} " in said.out
    for name in GROUPS:
        assert f"\n  {name} " in said.out
    for code, meaning in MEANINGS.items():
        assert f"{code.value:>3}  {meaning}" in said.out


LINES = [[verb.name] for verb in VERBS] + [[name, verb.name] for name, (_, verbs) in GROUPS.items() for verb in verbs]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_help_of_a_verb_needs_no_log(shell: Shell, line: list[str]) -> None:
    said = shell(*line, "--help")
    assert (said.code, said.err) == (0, "")
    assert "--log" in said.out


def test_every_reading_verb_documents_its_json(shell: Shell) -> None:
    for verb in VERBS:
        if verb.name in ("ls", "show", "why", "history", "follow", "query", "doctor", "run"):
            assert verb.keys, verb.name
            assert list(verb.keys) == sorted(verb.keys)
            assert ", ".join(verb.keys) in " ".join(shell(verb.name, "--help").out.split())


@pytest.mark.parametrize("line", [["nothing"], ["ls", "--nothing"], ["show"], ["ls", "--limit", "0"], ["run", "shop"]])
def test_a_wrong_command_line_is_one_line_and_code_2(shell: Shell, line: list[str]) -> None:
    said = shell(*line)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1


def test_version_is_told(shell: Shell) -> None:
    assert shell("--version").out == "durable_nb 0.1.0\n"


def test_every_error_of_the_tree_has_a_meaning() -> None:
    def below(kind: type[errors.DurableError]) -> list[type[errors.DurableError]]:
        return [kind, *(each for sub in kind.__subclasses__() for each in below(sub))]

    plain = [kind for kind in below(errors.DurableError) if kind.__module__ == "durable_nb.errors"]
    assert [kind for kind in plain if exit_of(kind()) is Exit.DEFECT] == [errors.DurableError]


def test_a_defect_is_one_line_and_a_traceback_only_with_debug(
    folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(folder / "shop.durable.db", carriers=0):
        cli_bill["one"]([])

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("durable_nb.app.App.why", broken)
    monkeypatch.setattr("durable_nb.verbs.reading.sentences.why", broken)
    said = shell("why", "one")
    assert said.code == 70
    assert said.err.startswith("ZeroDivisionError: a b (--debug")
    assert len(said.err.splitlines()) == 1
    with pytest.raises(ZeroDivisionError):
        shell("why", "one", "--debug")


def test_the_command_imports_no_frames() -> None:
    code = "import sys, durable_nb.cli.main; print({'numpy', 'pandas', 'pyarrow', 'sqlite_utils'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("set()\n", "")


@pytest.mark.slow
def test_a_reader_that_goes_away_gets_no_traceback(folder: Path) -> None:
    with connect(folder / "shop.durable.db", carriers=0):
        cli_bill["one"](["tea"] * 2000)
    line = f"'{sys.executable}' -m durable_nb.cli.main history one | head -1"
    ended = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert (ended.stderr, len(ended.stdout.splitlines())) == ("", 1)
