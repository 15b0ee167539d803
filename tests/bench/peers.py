"""A virtual environment for each peer, in a folder that git does not see."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"


def python_of(package: str, *beside: str) -> Path:
    """The interpreter that has the peer and what is needed beside it; installed from the package index when missing."""
    folder = FOLDER / package
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / ".gitignore").write_text("*\n")
        print(f"installing {package} into {folder.relative_to(ROOT)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", package, *beside]
        subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
        ready.touch()
    return python


def version_of(python: Path, package: str) -> str:
    """The installed version of a package."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
