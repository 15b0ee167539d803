"""Binder can build the project: what the files in binder/ ask for is there, and repo2docker understands them."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.notebooks.shelf import ROOT, SHELF

BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def wanted() -> list[str]:
    lines = (BINDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_binder_installs_the_project_with_its_notebook_extra() -> None:
    assert ".[notebook]" in wanted()
    assert "notebook" in PROJECT["optional-dependencies"]


def test_what_binder_asks_for_is_what_the_notebook_extra_asks_for() -> None:
    extra = {one.name: one for one in map(Requirement, PROJECT["optional-dependencies"]["notebook"])}
    named = [Requirement(line) for line in wanted() if not line.startswith(".")]
    assert {one.name for one in named} == {"jupyterlab", "ipykernel"}
    assert [(one.name, one.specifier) for one in named] == [(one.name, extra[one.name].specifier) for one in named]


def test_binder_runs_a_python_that_the_project_runs_on() -> None:
    name, _, version = (BINDER / "runtime.txt").read_text(encoding="utf-8").strip().partition("-")
    assert name == "python"
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_post_build_does_what_it_says(tmp_path: Path) -> None:
    """It is run, in the folder of the project, with a home of its own."""
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    env = {**os.environ, "PATH": path, "JUPYTER_DATA_DIR": str(tmp_path / "data"), "JUPYTER_PREFER_ENV_PATH": "0"}
    ended = subprocess.run([str(script)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in SHELF.glob("*.ipynb") if path.name not in ended.stdout] == []


def test_repo2docker_understands_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("repo2docker", reason="jupyter-repo2docker is not installed; the files were read, not tried")
    ended = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--debug", "--no-build", str(ROOT)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout + ended.stderr
    assert "binder/requirements.txt" in told
    assert "binder/postBuild" in told
