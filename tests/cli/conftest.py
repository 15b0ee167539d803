"""A folder of its own, a key of its own, and the command line in process."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from durable_nb.cli import main

KEY = "a" * 32
OTHER_KEY = "b" * 32


class Said(NamedTuple):
    """What a command said and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Shell = Callable[..., Said]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty present folder; nothing of the user's environment gets in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DURABLE_NB_LOG", raising=False)
    monkeypatch.delenv("DURABLE_NB_KEY_FILE", raising=False)
    monkeypatch.setenv("DURABLE_NB_KEY", KEY)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """`durable …` in this process."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main.run(arguments)
        return Said(code, *capsys.readouterr())

    return run


def durable(*arguments: str, **more: Any) -> "subprocess.Popen[str]":
    """`durable …` as a process."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "durable_nb.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def ended(process: "subprocess.Popen[str]") -> Said:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()  # where it hangs; else it has ended
    return Said(process.returncode, out, err)
