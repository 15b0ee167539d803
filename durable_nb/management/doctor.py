"""What is wrong with a machine or a log, and what to do about it: plain checks, each a list of findings."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any, Literal, NamedTuple

from durable_nb.codec.sign import Signer, key_path, load_signer
from durable_nb.durations import spoken
from durable_nb.errors import DurableError, LogError
from durable_nb.stores import Store, open_store
from durable_nb.stores.connections import reading
from durable_nb.stores.files import file_system
from durable_nb.stores.library import Connection, log_error, sqlite
from durable_nb.stores.migrate import SCHEMA
from durable_nb.stores.shapes import OwnerRecord, Query

Level = Literal["fine", "note", "attention", "broken"]

_PYTHON = (3, 11)
_SQLITE = (3, 51, 3)  # before it, two connections that checkpoint at once can corrupt the file
_SILENT = 60.0  # seconds without a heartbeat after which an owner is worth a word
_LATE = 10.0  # seconds after which something due should have been taken up
_WAL = 64 * 1024**2
_ROOM = 256 * 1024**2
_LISTED = 5


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    check: str
    sentence: str
    advice: str = ""


def needs_attention(findings: list[Finding]) -> bool:
    return any(finding.level in ("attention", "broken") for finding in findings)


def examine(path: str, now: float) -> list[Finding]:
    """Everything about a log file; what cannot be opened is told instead of the rest."""
    findings = file_findings(path)
    if any(finding.level == "broken" for finding in findings):
        return findings
    try:
        store = open_store(path)
    except LogError as error:
        return [*findings, Finding("broken", "open", str(error))]
    with closing(store):
        return [*findings, *store_findings(store, now)]


def store_findings(store: Store, now: float) -> list[Finding]:
    """Everything about what is in an open log."""
    checks: list[Callable[[], list[Finding]]] = [
        lambda: trust_findings(store),
        lambda: owner_findings(store.owners(), now),
        lambda: run_findings(store),
        lambda: due_findings(store, now),
    ]
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except DurableError as error:
            findings.append(Finding("broken", "read", str(error)))
    return findings


# the machine


def environment() -> list[Finding]:
    """Python, SQLite and the key."""
    return [*_python(), *_sqlite(), *_key()]


def _python() -> list[Finding]:
    sentence = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    if sys.version_info[:2] < _PYTHON:
        return [Finding("broken", "python", sentence, "durable_nb needs Python 3.11 or newer")]
    return [Finding("fine", "python", sentence)]


def _sqlite() -> list[Finding]:
    sentence = f"SQLite {sqlite.sqlite_version}, from {sqlite.__name__.partition('.')[0]}"
    if sqlite.sqlite_version_info < _SQLITE:
        needed = ".".join(map(str, _SQLITE))
        advice = f"before {needed} two processes on one log can corrupt it; `pip install pysqlite3` brings a newer one"
        return [Finding("attention", "sqlite", sentence, advice)]
    return [Finding("fine", "sqlite", sentence)]


def _key() -> list[Finding]:
    if "DURABLE_NB_KEY" not in os.environ and not key_path().exists():
        return [Finding("note", "key", "there is no key yet; the first log makes it")]
    try:
        signer = load_signer()
    except DurableError as error:
        return [Finding("broken", "key", str(error))]
    place = "DURABLE_NB_KEY" if "DURABLE_NB_KEY" in os.environ else str(key_path())
    return [Finding("fine", "key", f"your key is {signer.fingerprint}, from {place}")]


# the file


def file_findings(path: str) -> list[Finding]:
    """The log as a file: where it lies, whether it is whole, how it is written."""
    real = os.path.realpath(path)
    findings = [*_room(real), *_wal(real)]
    try:
        with closing(reading(path)) as connection:
            return [*findings, *_schema(connection), *_integrity(connection)]
    except (sqlite.Error, LogError) as error:
        advice = "restore it from a copy; `sqlite3 FILE .recover` may save the rest"
        return [*findings, Finding("broken", "file", str(log_error(error, path)), advice)]


def _room(path: str) -> list[Finding]:
    kind = file_system(path) if sys.platform == "linux" else ""
    free = shutil.disk_usage(os.path.dirname(path)).free
    size = os.stat(path).st_size
    sentence = f"{_size(size)} on {kind or 'a file system'} with {_size(free)} free"
    if free < _ROOM:
        return [Finding("attention", "disk", sentence, "free some space; a full disk stops every run")]
    return [Finding("fine", "disk", sentence)]


def _wal(path: str) -> list[Finding]:
    try:
        size = os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return [Finding("fine", "wal", "there is no write-ahead file: nobody has the log open, or nothing is in it")]
    sentence = f"the write-ahead file has {_size(size)}"
    if size > _WAL:
        advice = "a reader that was left open keeps it from shrinking; close notebooks and tools that look at the log"
        return [Finding("attention", "wal", sentence, advice)]
    return [Finding("fine", "wal", sentence)]


def _schema(connection: Connection) -> list[Finding]:
    schema, mode = _pragma(connection, "user_version"), _pragma(connection, "journal_mode")
    findings: list[Finding] = []
    if schema < SCHEMA:
        findings.append(Finding("note", "schema", f"schema {schema}; opening the log brings it to {SCHEMA}"))
    elif schema == SCHEMA:
        findings.append(Finding("fine", "schema", f"schema {schema}"))
    else:
        findings.append(Finding("broken", "schema", f"schema {schema} is newer than {SCHEMA}", "upgrade durable_nb"))
    if mode != "wal":
        advice = "another tool has changed it; the next connect() sets it again"
        return [*findings, Finding("attention", "durability", f"the journal mode is {mode}, not wal", advice)]
    return [*findings, Finding("fine", "durability", "written ahead (wal); each app says how much a commit survives")]


def _integrity(connection: Connection) -> list[Finding]:
    problems = [row[0] for row in connection.execute("pragma integrity_check(5)") if row[0] != "ok"]
    orphans = connection.execute("select count(*) from pragma_foreign_key_check").fetchone()[0]
    if problems:
        advice = "restore the log from a copy; `sqlite3 FILE .recover` may save the rest"
        return [Finding("broken", "integrity", "; ".join(problems), advice)]
    if orphans:
        return [Finding("broken", "integrity", f"{orphans} rows refer to what is not there", "restore it from a copy")]
    return [Finding("fine", "integrity", "SQLite finds the file whole")]


def _size(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB"


def _pragma(connection: Connection, name: str) -> Any:
    return connection.execute(f"pragma {name}").fetchone()[0]


# what is in it


def trust_findings(store: Store, signer: Signer | None = None) -> list[Finding]:
    log = store.log()
    if (signer or load_signer()).verify(log.mark, "log", log.uid):
        return [Finding("fine", "trust", f"the log {log.uid} carries your mark")]
    if not log.mark and not store.counts():
        return [Finding("note", "trust", f"the log {log.uid} is new: nobody has signed it yet")]
    advice = "look at it as you like; `durable trust FILE` lets its code execute"
    return [Finding("attention", "trust", f"the log {log.uid} does not carry your mark", advice)]


def owner_findings(owners: list[OwnerRecord], now: float) -> list[Finding]:
    """Who has the log open, who died with it, who has gone silent."""
    if not owners:
        return [Finding("note", "owners", "no process has the log open")]
    findings: list[Finding] = []
    for owner in owners:
        name = f"{owner.label} on {owner.host}, {owner.runs} runs"
        silent = max(0.0, now - owner.seen_at)
        if not owner.is_alive:
            advice = "the next kernel or `durable worker` that opens the log takes over" if owner.runs else ""
            findings.append(Finding("attention" if owner.runs else "note", "owners", f"{name}: has died", advice))
        elif silent > _SILENT and owner.runs:
            advice = "it is stopped or hangs; continue it, or end it and its runs go on elsewhere"
            sentence = f"{name}: lives, but was silent for {spoken(silent)}"
            findings.append(Finding("attention", "owners", sentence, advice))
        else:
            findings.append(Finding("fine", "owners", f"{name}: alive"))
    return findings


def run_findings(store: Store) -> list[Finding]:
    """How many runs there are, and those that wait for a person."""
    counts = store.counts()
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none yet"
    findings = [Finding("fine", "runs", f"runs: {said}")]
    for record in store.find(Query(status="parked", limit=_LISTED)):
        sentence = f"run {record.id!r} is parked ({record.reason}): {(record.sentence or '').partition(chr(10))[0]}"
        findings.append(Finding("attention", "parked", sentence, f"`durable why {record.id}`, then `durable resume`"))
    more = counts.get("parked", 0) - _LISTED
    if more > 0:
        findings.append(Finding("attention", "parked", f"{more} more are parked", "`durable ls --status parked`"))
    if counts.get("paused"):
        findings.append(Finding("note", "paused", f"{counts['paused']} paused", "`durable ls --status paused`"))
    return findings


def due_findings(store: Store, now: float) -> list[Finding]:
    """Whether something should be going on and is not."""
    due = store.next_due()
    if due is None:
        return [Finding("fine", "work", "nothing is due")]
    if now - due <= _LATE:
        return [
            Finding(
                "fine", "work", "the next turn or step is due " + (f"in {spoken(due - now)}" if due > now else "now")
            )
        ]
    living = [owner.label for owner in store.owners() if owner.is_alive]
    sentence = f"a turn or step has been due for {spoken(now - due)}"
    if living:
        advice = f"{', '.join(living)} should have taken it up: it is busy, opened the log without carrying, or hangs"
        return [Finding("attention", "work", sentence, advice)]
    return [Finding("attention", "work", f"{sentence} and nobody has the log open", "`durable worker` carries it")]
