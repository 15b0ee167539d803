"""The options that every command has, wherever on the line they stand."""

from dataclasses import dataclass

import click


@dataclass(slots=True)
class Choice:
    """What was chosen so far on this command line."""

    log: str | None = None
    is_debugging: bool = False


def names_log(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """`--log`, before or after the verb, or the file of `trust`: they must not contradict each other."""
    choice = context.ensure_object(Choice)
    if value is None:
        return
    if choice.log not in (None, value):
        raise click.UsageError(f"two logs were named, {choice.log} and {value}")
    choice.log = value


def debugs(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Choice).is_debugging = True


def options() -> list[click.Parameter]:
    """--log and --debug, made anew for each command."""
    return [
        click.Option(
            ["--log"],
            metavar="FILE",
            expose_value=False,
            callback=names_log,
            help="The log; otherwise DURABLE_NB_LOG, or the one *.durable.db in this folder.",
        ),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=debugs, help="Show the traceback of an error."
        ),
    ]
