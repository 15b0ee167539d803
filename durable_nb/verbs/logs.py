"""Which log a command is about, and that looking never makes one."""

import os
from pathlib import Path

import click


class NoLog(click.ClickException):
    """No log to work on, or no saying which."""


_PATTERN = "*.durable.db"


def given_by(named: str | None) -> str | None:
    """The log that was named, else DURABLE_NB_LOG."""
    return named or os.environ.get("DURABLE_NB_LOG") or None


def chosen(named: str | None, folder: Path) -> str | None:
    """The log that was named, else DURABLE_NB_LOG, else the only one in the folder; None when there is none."""
    given = given_by(named)
    if given:
        return given
    found = sorted(path.name for path in folder.glob(_PATTERN))
    if len(found) > 1:
        raise NoLog(f"there are {len(found)} logs here ({', '.join(found)}); name one with --log")
    return str(folder / found[0]) if found else None


def existing(named: str | None, folder: Path) -> str:
    """The same, but it must be there already."""
    url = chosen(named, folder)
    if url is None:
        raise NoLog(f"there is no {_PATTERN} in {folder}; name a log with --log or DURABLE_NB_LOG")
    path = path_of(url)
    if path is None:
        return url  # not a file: opening it says what is possible
    if path.is_dir():
        raise NoLog(f"{path} is a folder; name the log in it with --log")
    if not path.exists():
        near = sorted(each.name for each in path.parent.glob(_PATTERN)) if path.parent.is_dir() else []
        hint = f"; in that folder there is {', '.join(near)}" if near else ""
        raise NoLog(f"there is no log {path}{hint}")
    if path.stat().st_size == 0:  # opening an empty file would make a log of it
        raise NoLog(f"{path} is empty; it is not a log")
    return url


def path_of(url: str) -> Path | None:
    """The file of a log's url; None for what is not a file."""
    path = url.removeprefix("sqlite:///")
    if path == ":memory:":
        raise NoLog("a log in memory belongs to its process; name a file")
    return None if "://" in path or path.startswith("sqlite:") else Path(path)
