"""What the notebook on restarts uses: a ledger in which work leaves a line, and sudden death."""

import os
import signal
from pathlib import Path

LEDGER = Path("02_surviving_restarts.ledger.txt")


def write_down(line: str) -> None:
    """Say that something has really happened."""
    with LEDGER.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(about: str = "") -> str:
    """The lines that begin with this."""
    lines = LEDGER.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith(about))


def begin_anew() -> None:
    """An empty ledger."""
    LEDGER.unlink(missing_ok=True)


def die() -> None:
    """As if the power had gone: nothing is saved, nothing is closed."""
    os.kill(os.getpid(), signal.SIGKILL)
