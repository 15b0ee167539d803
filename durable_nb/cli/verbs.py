"""The one table of verbs. The shell makes its commands of it, and the notebook its magics."""

import click

from durable_nb.cli import carrying, keeping, query, reading, shown, steering
from durable_nb.cli.choose import names_log
from durable_nb.cli.verb import Verb, argument, option

_STATUSES = ("pending", "running", "waiting", "paused", "parked", "completed", "failed", "cancelled")
_RUN = argument("id", metavar="ID")

READING = (
    Verb(
        "ls",
        "The runs, newest first, and how many there are of each status.",
        reading.ls,
        shown.runs,
        params=(
            option("--status", type=click.Choice(_STATUSES), help="Only these."),
            option("--flow", metavar="NAME", help="Only runs of this flow."),
            option("--search", metavar="TEXT", help="Only runs with this in their id, flow or sentence."),
            option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many."),
            option("--before", metavar="ID", help="Older than this run: the next page."),
            option("--workers", is_flag=True, help="Instead of runs, the processes that have the log open."),
        ),
        keys=reading.LS_KEYS,
    ),
    Verb(
        "show",
        "One run: status, arguments, asks with their attempts, output, result or failure.",
        reading.show,
        shown.run,
        params=(_RUN,),
        keys=reading.SHOW_KEYS,
    ),
    Verb(
        "why",
        "One sentence: what a run is doing or waiting for.",
        reading.why,
        shown.sentence,
        params=(_RUN,),
        keys=("id", "status", "why"),
    ),
    Verb(
        "history",
        "Everything that happened to a run, in order.",
        reading.history,
        shown.event,
        params=(_RUN,),
        keys=reading.EVENT_KEYS,
        is_lines=True,
    ),
    Verb(
        "follow",
        "The same as it happens, until the run ends or waits for you. Ends with the exit code of the run.",
        reading.follow,
        shown.event,
        params=(_RUN,),
        keys=reading.EVENT_KEYS,
        is_lines=True,
        exit_code=reading.followed_exit,
    ),
    Verb(
        "query",
        "Read the log with SQL. Nothing can be changed with it.",
        query.query,
        shown.found,
        params=(argument("sql", metavar="SQL"), option("--csv", "as_csv", is_flag=True, help="Comma-separated.")),
        keys=("columns", "rows"),
    ),
)

STEERING = (
    Verb("pause", "Stop a run's turns; what is running ends first.", steering.pause, shown.sentence, params=(_RUN,)),
    Verb("resume", "Let a paused or parked run go on.", steering.resume, shown.sentence, params=(_RUN,)),
    Verb(
        "retry",
        "Let a failed run go on just before its failure.",
        steering.retry,
        shown.sentence,
        params=(_RUN, option("--redo", is_flag=True, help="Also repeat steps that finished after the failure.")),
    ),
    Verb(
        "delete",
        "Remove a run that has ended.",
        steering.delete,
        shown.sentence,
        params=(_RUN, option("--force", is_flag=True, help="Also one that has not ended.")),
    ),
)

KEEPING = (
    Verb(
        "trust",
        "Let a log from elsewhere execute here; looking at it needs no trust.",
        keeping.trust,
        shown.accepted,
        params=(
            argument("file", required=False, expose_value=False, callback=names_log),
            option("--yes", is_flag=True, help="Do not ask."),
        ),
    ),
    Verb(
        "doctor",
        "Check this machine and the log, and say what to do. Exit code 1 when something needs attention.",
        keeping.doctor,
        shown.findings,
        on="perhaps",
        keys=keeping.DOCTOR_KEYS,
        exit_code=keeping.doctor_exit,
    ),
)

KEY = (
    Verb(
        "show",
        "Which key signs your logs; not the key itself.",
        keeping.show_key,
        shown.key,
        on="nothing",
        keys=keeping.KEY_KEYS,
    ),
    Verb(
        "export",
        "The key itself, to a file or to standard output.",
        keeping.export,
        shown.plain,
        on="nothing",
        params=(argument("file", required=False), option("--force", is_flag=True, help="Replace the file.")),
    ),
    Verb(
        "import",
        "Make a key of another machine yours, from a file or from standard input.",
        keeping.import_,
        shown.plain,
        on="nothing",
        params=(argument("file", required=False), option("--force", is_flag=True, help="Replace the key you have.")),
    ),
)

CARRYING = (
    Verb(
        "worker",
        "Carry the runs of a log until SIGTERM or Ctrl-C; what is running then is ended in order.",
        carrying.worker,
        shown.line,
        on="log",
        params=(
            option("--carriers", type=click.IntRange(1), default=4, show_default=True, help="Threads in flow code."),
            option("--workers", type=click.IntRange(0), default=32, show_default=True, help="Threads in steps."),
            option(
                "--durability",
                type=click.Choice(("full", "process")),
                default="full",
                show_default=True,
                help="What a commit survives: power loss, or the death of the process.",
            ),
            option("--until-idle", is_flag=True, help="End when nothing is due."),
        ),
    ),
    Verb(
        "run",
        "Carry one run of a flow here and print its result. With the id of a run that has begun, it goes on.\n\n"
        "TARGET is MODULE:FLOW or FILE.py:FLOW.",
        carrying.run,
        shown.outcome,
        on="perhaps",
        params=(
            argument("target"),
            option("--id", metavar="ID", help="The run; otherwise a new one."),
            option("-p", "params", multiple=True, metavar="NAME=VALUE", help="An argument; JSON, or else text."),
        ),
        keys=carrying.RUN_KEYS,
        exit_code=carrying.run_exit,
    ),
)

VERBS = (*READING, *STEERING, *KEEPING, *CARRYING)
