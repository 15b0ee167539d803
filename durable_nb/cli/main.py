"""The command `durable`: the table of verbs as click commands, errors as one line and an exit code."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from durable_nb import __version__
from durable_nb.cli import verbs
from durable_nb.opening import connect
from durable_nb.verbs import choose, query
from durable_nb.verbs.choose import Choice
from durable_nb.verbs.exits import MEANINGS, Exit, Interrupted, as_options, exit_of
from durable_nb.verbs.logs import chosen, existing, given_by
from durable_nb.verbs.render import print_out, say_error
from durable_nb.verbs.verb import Verb

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    choice = Choice()
    try:
        code = group().main(list(arguments), "durable", standalone_mode=False, obj=choice)
        return int(code or 0)
    except BrokenPipeError:
        # Whoever read has gone; the flush at the end of Python must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
    except BaseException as error:
        if choice.is_debugging:
            raise
        return _told(error)


def _told(error: BaseException) -> int:
    if isinstance(error, SystemExit | GeneratorExit):
        raise error
    code = exit_of(error)
    if isinstance(error, click.UsageError):
        hint = f"; `{error.ctx.command_path} --help` lists what there is" if error.ctx is not None else ""
        say_error(f"{error.format_message().rstrip('.')}{hint}")
    elif isinstance(error, click.ClickException):
        say_error(error.format_message())
    elif code is Exit.DEFECT:
        say_error(f"{type(error).__name__}: {error} (--debug shows where; this should not happen, please report it)")
    elif str(error):
        say_error(as_options(str(error)))
    return code


def group() -> click.Group:
    """All commands, made of the table."""
    made = click.Group(
        "durable",
        help="Durable execution: look at the runs of a log, steer them, carry them.",
        epilog=_EPILOG,
        params=[*choose.options(), _version()],
        commands=[_command(verb) for verb in verbs.VERBS],
    )
    for name, (help, table) in verbs.GROUPS.items():
        made.add_command(
            click.Group(name, help=help, commands=[_command(verb) for verb in table], no_args_is_help=True)
        )
    return made


def _version() -> click.Parameter:
    def show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            click.echo(f"durable_nb {__version__}")
            context.exit()

    return click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True, callback=show)


def _command(verb: Verb) -> click.Command:
    params = [make() for make in verb.params]
    help = verb.help
    if verb.keys:
        params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print JSON and nothing else."))
        shape = "one object a line" if verb.is_lines else "an object"
        help += f"\n\n--json prints {shape} with the keys {', '.join(verb.keys)}."
    return click.Command(
        verb.name,
        help=help,
        short_help=verb.help.split(". ")[0].rstrip("."),
        params=[*params, *choose.options()],
        callback=_callback(verb),
    )


def _callback(verb: Verb) -> Callable[..., int]:
    def callback(as_json: bool = False, as_csv: bool = False, **given: Any) -> int:
        try:
            return _done(verb, given, as_json, as_csv)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(str(interrupt)) from interrupt

    return callback


def _done(verb: Verb, given: dict[str, Any], as_json: bool, as_csv: bool) -> int:
    """Do what the verb does, print what came of it, and say how it ended."""
    with contextlib.ExitStack() as stack:
        first = _first(verb, stack)
        # What flows and steps print must not mix with the JSON.
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            data = verb.call(*first, **given)
        if verb.is_lines:
            return _print_lines(verb, data, as_json)
        if as_csv:
            click.echo(query.as_csv(data), nl=False)
        elif as_json:
            _print_json(verb, data)
        else:
            shown = verb.show(data)
            if shown is not None:
                print_out(shown)
        return verb.exit_code(data)


def _first(verb: Verb, stack: contextlib.ExitStack) -> tuple[Any, ...]:
    """What the verb works on."""
    named, folder = click.get_current_context().ensure_object(Choice).log, Path.cwd()
    match verb.on:
        case "app":
            return (stack.enter_context(connect(existing(named, folder), carry=False)),)
        case "log":
            return (existing(named, folder),)
        case "perhaps":
            return (chosen(named, folder),)
        case "named":
            return (given_by(named),)
        case "nothing":
            return ()


def _print_lines(verb: Verb, data: Iterable[Any], as_json: bool) -> int:
    last = None
    for last in data:
        if as_json:
            _print_json(verb, last)
        else:
            shown = verb.show(last)
            assert shown is not None
            print_out(shown)
        sys.stdout.flush()
    return verb.exit_code(last)


def _print_json(verb: Verb, data: Any) -> None:
    """Documented keys only, sorted; rows of a query as objects, in the order of their columns."""
    if verb.call is query.query:
        click.echo(_json(query.as_objects(data), is_sorted=False))
    else:
        # `ls --workers` is the one verb with two shapes.
        click.echo(_json({key: data[key] for key in verb.keys if key in data} or data, is_sorted=True))


def _json(data: Any, is_sorted: bool) -> str:
    text = json.dumps(data, sort_keys=is_sorted, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(data, sort_keys=is_sorted)
    return text


if __name__ == "__main__":
    main()
