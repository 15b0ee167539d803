"""`%durable VERB …`: the verbs of the command line, on the log of this notebook, and a few that only a kernel has."""

import difflib
import shlex
from typing import Any

import click
from IPython.core.error import UsageError

from durable_nb.errors import DurableError
from durable_nb.notebook.session import Session
from durable_nb.verbs.clearing_verbs import CLEARING
from durable_nb.verbs.exits import as_options
from durable_nb.verbs.render import plain_text
from durable_nb.verbs.steering_verbs import STEERING
from durable_nb.verbs.table import KEEPING, READING
from durable_nb.verbs.verb import Verb

SHARED = {verb.name: verb for verb in (*READING, *STEERING, *CLEARING, *KEEPING)}


def run_verb(session: Session, own: "dict[str, Verb]", line: str) -> None:
    """Do what the line says and print what came of it; UsageError in one line."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%durable {line}: {error}") from None
    verbs = {**SHARED, **own}
    verb = verbs.get(words[0])
    if verb is None:
        raise UsageError(
            f"%durable {words[0]}: there is no such verb{_near(words[0], verbs)}; %durable help lists them"
        )
    command = click.Command(verb.name, params=[make() for make in verb.params], help=verb.help)
    try:
        with command.make_context(f"%durable {verb.name}", words[1:]) as context:
            _print(verb, verb.call(*_first(session, verb), **context.params))
    except click.exceptions.Exit:
        pass  # --help has printed
    except click.ClickException as error:
        raise UsageError(
            f"%durable {verb.name}: {' '.join(error.format_message().split()).rstrip('.')}; --help lists its options"
        ) from None
    except DurableError as error:
        raise UsageError(f"%durable {verb.name}: {as_options(str(error))}") from None


def help_text(own: "dict[str, Verb]") -> str:
    """All verbs, a line each."""
    verbs = {**SHARED, **own}
    lines = [f"  {name:<10} {verb.help.split('. ')[0].rstrip('.')}" for name, verb in sorted(verbs.items())]
    return "%durable alone tells how this notebook stands. Verbs (each takes --help):\n" + "\n".join(lines)


def _first(session: Session, verb: Verb) -> tuple[Any, ...]:
    match verb.on:
        case "app":
            return (session.log.app,)
        case "log" | "perhaps":
            return (session.log.url,)
        case _:
            return ()


def _print(verb: Verb, data: Any) -> None:
    for one in data if verb.is_lines else (data,):
        shown = verb.show(one)
        if shown is not None:
            print(plain_text(shown))


def _near(word: str, verbs: dict[str, Verb]) -> str:
    found = difflib.get_close_matches(word, verbs, 1)
    return f"; did you mean `{found[0]}`?" if found else ""
