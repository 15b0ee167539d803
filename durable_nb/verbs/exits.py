"""What the exit code of a verb says."""

from enum import IntEnum

import click

from durable_nb import errors


class Interrupted(Exception):
    """Ctrl-C, under a name that click has no opinion about: of KeyboardInterrupt it would lose the words."""


class Exit(IntEnum):
    """The whole list; `durable --help` prints it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNKNOWN_RUN = 3
    REFUSED = 4
    NEEDS_YOU = 5
    DEFECT = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS = {
    Exit.DONE: "done",
    Exit.FAILED: "the run failed or was cancelled; `doctor` or `stress` found something",
    Exit.USAGE: "a wrong option, or a log that is not there or cannot be used",
    Exit.UNKNOWN_RUN: "no run of that id",
    Exit.REFUSED: "refused: a conflict, an untrusted log, a run in another state",
    Exit.NEEDS_YOU: "the run is parked or paused",
    Exit.DEFECT: "a defect in durable_nb itself",
    Exit.INTERRUPTED: "interrupted",
}

_USAGE = (errors.BadOption, errors.BadId, errors.BadArguments, errors.LogError, click.ClickException)


def exit_of(error: BaseException) -> Exit:
    """The code that an error ends the command with."""
    match error:
        case errors.UnknownRun():
            return Exit.UNKNOWN_RUN
        case errors.RunParked() | errors.RunPaused():
            return Exit.NEEDS_YOU
        case errors.RunFailed() | errors.RunCancelled() | errors.StepFailed() | errors.StepTimeout():
            return Exit.FAILED
        case errors.CellFailed() | errors.KernelDied():
            return Exit.FAILED
        case Interrupted() | KeyboardInterrupt() | click.Abort():
            return Exit.INTERRUPTED
        case _ if isinstance(error, _USAGE):
            return Exit.USAGE
        case errors.Refused():
            return Exit.REFUSED
        case _:
            return Exit.DEFECT


def exit_of_status(status: str) -> Exit:
    """The code that a run's status ends `run` and `follow` with."""
    if status in ("failed", "cancelled"):
        return Exit.FAILED
    return Exit.NEEDS_YOU if status in ("parked", "paused") else Exit.DONE


_OPTIONS = {
    'another id, or on_conflict="attach" or "replace"': "another --id",
    "delete(force=True)": "--force",
    "retry(redo=True)": "--redo",
    "before_start=True": "--before-start",
    "import_run(…, trust=True)": "--trust",
    "older_than=": "--older-than",
    "keep=": "--keep",
}


def as_options(text: str) -> str:
    """Advice that names a Python call names its option instead."""
    for call, option in _OPTIONS.items():
        text = text.replace(call, option)
    return text
