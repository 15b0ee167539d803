"""The README is run: its scripts, their output, its shell sessions, and the options and verbs it lists.

A comment before a block says what happens to it. `<!-- run: NAME -->`: python that is run at once, a `text` block right
after it being its exact output. `<!-- save: NAME -->`: python that is only saved as NAME.py. `<!-- shell: NAME -->`: a
session whose commands are run, with their exact output where one is shown. `<!-- cell: NAME -->`: a cell of a notebook,
run in a kernel and, after that was killed, restored in the next one. Blocks of one NAME share a folder.
"""

import ast
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import durable_nb

UNDER_TEST = str(Path(durable_nb.__file__).parents[1])  # a checkout beside the installed one, too
README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:^<!-- (?P<verb>run|save|shell|cell): (?P<name>[a-z]+) -->\n)?"
    r"^```(?P<language>[a-z]*)\n(?P<body>.*?)^```\n"
    r"(?:```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    verb: str | None
    name: str
    language: str
    body: str
    output: str | None


@dataclass(frozen=True, slots=True)
class Command:
    line: str
    output: str


BLOCKS = [Block(m["verb"], m["name"] or "", m["language"], m["body"], m["output"]) for m in BLOCK.finditer(README)]
NAMES = list(dict.fromkeys(block.name for block in BLOCKS if block.name and block.verb != "cell"))
CELLS = [block for block in BLOCKS if block.verb == "cell"]


def session(body: str) -> list[Command]:
    """The commands of a console block, each with the output shown under it."""
    commands: list[Command] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:], ""))
        else:
            last = commands.pop()
            commands.append(Command(last.line, last.output + line + "\n"))
    return commands


def run(arguments: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A process of a user with a fresh home, to whom `python` and `durable` are the ones under test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    home = folder / "home"
    home.mkdir(exist_ok=True)
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("DURABLE_NB", "XDG_", "PYTHON"))}
    return subprocess.run(
        arguments,
        shell=isinstance(arguments, str),
        executable="/bin/sh" if isinstance(arguments, str) else None,
        cwd=folder,
        env={**keep, "PATH": path, "HOME": str(home), "PYTHONUTF8": "1", "PYTHONPATH": UNDER_TEST},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def check_script(block: Block, folder: Path) -> None:
    ended = run([sys.executable, f"{block.name}.py"], folder)
    assert ended.returncode == 0, ended.stderr
    if block.output is not None:
        assert ended.stdout == block.output


def check_session(block: Block, folder: Path) -> None:
    for command in session(block.body):
        ended = run(f"exec {command.line}", folder)
        said = ended.stdout
        if ended.returncode == -signal.SIGKILL:
            said += "Killed\n"
        else:
            assert ended.returncode == 0, f"$ {command.line}\n{ended.stderr}"
        if command.output:
            assert said == command.output, f"$ {command.line}\n{ended.stderr}"


@pytest.mark.parametrize("name", NAMES)
def test_readme_example_runs_as_shown(name: str, tmp_path: Path) -> None:
    for block in BLOCKS:
        if block.name != name:
            continue
        if block.verb == "shell":
            check_session(block, tmp_path)
            continue
        (tmp_path / f"{name}.py").write_text(block.body, encoding="utf-8")
        if block.verb == "run":
            check_script(block, tmp_path)


def test_readme_cells_run_as_shown_and_come_back(tmp_path: Path) -> None:
    from tests.notebook.life import Life, badges

    for restored in ([], ["restored"]):
        with Life(tmp_path, loads=False) as life:
            for block in CELLS:
                ran = life.run(block.body)
                is_durable = block.body.startswith("%%durable")
                assert badges(ran) == (restored if is_durable else [])
                if block.output is not None:
                    assert ran.text == block.output
            life.kill()


def test_every_option_of_a_durable_cell_is_in_the_readme(tmp_path: Path) -> None:
    from durable_nb.notebook.magics import DurableMagics

    options = {word for cell in table_under("`%%durable [NAME] …`") for word in re.findall("--[a-z-]+", cell)}
    parser = DurableMagics.cell.parser
    assert options == {option for action in parser._actions for option in action.option_strings if option[:2] == "--"}


def test_every_python_block_of_the_readme_is_run() -> None:
    python = [block for block in BLOCKS if block.language == "python"]
    shells = {block.name for block in BLOCKS if block.verb == "shell"}
    assert python
    assert all(block.verb in ("run", "cell") or (block.verb == "save" and block.name in shells) for block in python)
    assert len(python) == README.count("```python")


def table_under(heading: str) -> list[str]:
    """The first cells of the table whose header begins with this."""
    table = README.split(f"| {heading} |")[1].split("\n\n")[0]
    return [row.split("|")[1] for row in table.splitlines()[2:]]


def test_every_step_option_of_the_readme_exists_with_the_default_shown() -> None:
    from durable_nb import step

    def length(text: str) -> int:
        return len(text)

    options = dict(cell.strip(" `").split("=") for cell in table_under("`@step(…)`"))
    given = {name: ast.literal_eval(value) for name, value in options.items()}
    with_defaults, plain = step(**given)(length), step(length)
    assert (with_defaults.name, with_defaults.options_) == (plain.name, plain.options_)
    assert set(given) == {"retry", "timeout", "delay", "isolate", "name", "codec", "check_arguments"}


@pytest.mark.parametrize(
    "verb", [verb for cell in table_under("`durable …`") for verb in re.findall("`([a-z]+)`", cell)]
)
def test_every_verb_of_the_readme_exists(verb: str, tmp_path: Path) -> None:
    ended = run(["durable", verb, "--help"], tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "--help" in ended.stdout
