"""A session of twelve cells whose kernel is killed at every cell, again and again: it ends as one that never was."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.life import NOTE, Life, badges, own
from tests.notebook.twelve import CELLS

# Within a cell `die()` kills the kernel, when the test has asked for it in this very cell.
SETUP = (
    NOTE
    + """
import os, signal
def die(cell):
    if os.path.exists("die") and open("die").read() == cell:
        os.remove("die")
        os.kill(os.getpid(), signal.SIGKILL)
"""
)
ASKED = "[result, settings, frame.shape, float(frame['j'].sum()), head.shape, [type(p) is Point for p in points], scaled(4)]"


def source(name: str) -> str:
    """The cell; its last line stays last, because it may be shown."""
    lines = CELLS[name].replace("DIE", f"note('{name}')\ndie('{name}')").split("\n")
    return "\n".join([f"%%durable {name}", *lines])


def pictures(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "execution_count": 0} for one in json.loads(json.dumps(outputs))]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the session shows and comes to when nobody is killed."""
    with Life(tmp_path_factory.mktemp("whole")) as life:
        life.run(SETUP)
        shown = {name: pictures(own(life.run(source(name)))) for name in CELLS}
        return {"shown": shown, "asked": life.value(ASKED)}


@pytest.mark.slow
@pytest.mark.parametrize("when", ["after the cell", "within the cell"])
def test_a_session_killed_at_every_cell_ends_as_the_uninterrupted_one(
    tmp_path: Path, uninterrupted: dict[str, Any], when: str
) -> None:
    names = list(CELLS)
    for place, name in enumerate(names):
        with Life(tmp_path) as life:
            life.run(SETUP)
            for done in names[:place]:
                ran = life.run(source(done))
                was_killed = when == "within the cell" and done == names[place - 1]
                assert badges(ran) == ([] if was_killed else ["restored"]), done
                assert pictures(own(ran)) == uninterrupted["shown"][done]
            if when == "within the cell":
                (tmp_path / "die").write_text(name)
                life.kernel.begin(source(name))
                life.kernel.manager.provisioner.process.wait()  # type: ignore[union-attr]
            else:
                assert badges(life.run(source(name))) == []
                life.kill()
    with Life(tmp_path) as life:
        life.run(SETUP)
        for name in names:
            assert pictures(own(life.run(source(name)))) == uninterrupted["shown"][name], name
        assert life.value(ASKED) == uninterrupted["asked"]
        times = 2 if when == "within the cell" else 1  # begun, killed, and begun again; never once it had ended
        assert sorted(life.ledger()) == sorted(names * times)
