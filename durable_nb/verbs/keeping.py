"""The verbs that look after a log and the key: trust, key, doctor."""

import os
import sys
import time
from pathlib import Path

import click

from durable_nb.app import App
from durable_nb.codec.sign import export_key, import_key, key_path, load_signer
from durable_nb.errors import BadOption, Refused
from durable_nb.management import doctor as checks
from durable_nb.management.trust import Description, describe, trust as accept
from durable_nb.verbs.exits import Exit
from durable_nb.verbs.logs import existing
from durable_nb.verbs.reading import Plain

DOCTOR_KEYS = ("findings", "log", "needs_attention")
KEY_KEYS = ("fingerprint", "source")


def trust(app: App, yes: bool = False) -> Plain:
    """Say what would be accepted, ask, and sign the log with this user's key."""
    signer = load_signer()
    click.echo(_described(describe(app.store, signer), app.url), err=True)
    if not yes and not _is_confirmed():
        raise Refused("nothing was changed; `--yes` accepts without a question")
    accepted = accept(app.store, signer, app.clock.now())
    return {**accepted._asdict(), "fingerprint": signer.fingerprint, "log": app.url}


def _is_confirmed() -> bool:
    try:
        return click.confirm("Let it execute here?", err=True)
    except click.Abort:
        return False


def _described(found: Description, url: str) -> str:
    runs = sum(found.runs.values())
    by_status = ", ".join(f"{count} {status}" for status, count in sorted(found.runs.items()))
    return "\n".join(
        [
            f"{url}, log {found.uid}, " + ("signed with your key" if found.is_yours else "signed with another key"),
            f"  {runs} runs" + (f" ({by_status})" if runs else ""),
            f"  code of {len(found.flows)} flows: {', '.join(found.flows) or '-'}",
            f"  code of {len(found.steps)} steps: {', '.join(found.steps) or '-'}",
            *([f"  {len(found.schedules)} schedules: {', '.join(found.schedules)}"] if found.schedules else []),
            "Trusting it lets this code, and whatever its stored values import, execute as you.",
        ]
    )


def show_key() -> Plain:
    """Which key signs, without showing it."""
    is_given = "DURABLE_NB_KEY" in os.environ
    if not is_given and not key_path().exists():
        return {"fingerprint": None, "source": str(key_path())}
    return {
        "fingerprint": load_signer().fingerprint,
        "source": "DURABLE_NB_KEY" if is_given else str(key_path()),
    }


def export(file: str | None = None, force: bool = False) -> str:
    """The key itself, to a file that only this user reads, or to standard output."""
    text = export_key()
    if file is None:
        return text
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        descriptor = os.open(file, flags, 0o600)
    except OSError as error:
        raise BadOption(f"{file} cannot be written: {error.strerror}; --force replaces a file") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        os.chmod(file, 0o600)
        opened.write(text + "\n")
    return f"the key is in {file}; whoever has it can make logs that you trust"


def import_(file: str | None = None, force: bool = False) -> str:
    """Make the key of a file, or of standard input, this user's key."""
    try:
        text = Path(file).read_text(encoding="utf-8") if file not in (None, "-") and file else sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"{file} cannot be read as a key: {error}") from error
    try:
        import_key(text, force=force)
    except BadOption as error:
        raise Refused(str(error).replace("force=True", "--force")) from error
    return f"your key is {load_signer().fingerprint} now, in {key_path()}"


def doctor(url: str | None) -> Plain:
    """Look at this machine, and at the log if there is one."""
    findings = checks.environment()
    if url is None:
        findings.append(checks.Finding("note", "log", "there is no log here; --log names one"))
    else:
        findings += checks.examine(existing(url, Path.cwd()).removeprefix("sqlite:///"), time.time())
    return {
        "findings": [finding._asdict() for finding in findings],
        "log": url,
        "needs_attention": checks.needs_attention(findings),
    }


def doctor_exit(data: Plain) -> Exit:
    return Exit.FAILED if data["needs_attention"] else Exit.DONE
