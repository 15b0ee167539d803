"""The notebooks that come with the project, and a folder in which a kernel of theirs begins as a reader's does."""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "notebooks"
NAMES = sorted(path.stem for path in SHELF.glob("*.ipynb"))
SANITISE = Path(__file__).with_name("sanitise.cfg")


def laid_out(name: str, folder: Path) -> Path:
    """A copy of the notebook, so that what it writes does not lie among the sources."""
    for module in SHELF.glob("*.py"):
        shutil.copy(module, folder)
    return Path(shutil.copy(SHELF / f"{name}.ipynb", folder))


def environment(name: str, folder: Path) -> dict[str, str]:
    """What its kernels see: the log that a page would give it, a home of their own, `durable` on the path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DURABLE_NB", "PYTEST", "JPY_"))}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {
        **kept,
        **{key: str(home / key.lower()) for key in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")},
        "DURABLE_NB_LOG": str(folder / f"{name}.durable.db"),
        "DURABLE_NB_KEY": "a key of sixteen letters or more, for notebooks under test",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
