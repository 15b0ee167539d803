"""The verbs that look and look after, which the shell and the notebook share."""

import click

from durable_nb.verbs import keeping, query, reading, shown
from durable_nb.verbs.choose import names_log
from durable_nb.verbs.verb import RUN, STATUSES, Verb, argument, option

READING = (
    Verb(
        "ls",
        "The runs, newest first, and how many there are of each status.",
        reading.ls,
        shown.runs,
        params=(
            option("--status", type=click.Choice(STATUSES), help="Only these."),
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
        params=(RUN,),
        keys=reading.SHOW_KEYS,
    ),
    Verb(
        "why",
        "One sentence: what a run is doing or waiting for.",
        reading.why,
        shown.sentence,
        params=(RUN,),
        keys=("id", "status", "why"),
    ),
    Verb(
        "history",
        "Everything that happened to a run, in order.",
        reading.history,
        shown.event,
        params=(RUN,),
        keys=reading.EVENT_KEYS,
        is_lines=True,
    ),
    Verb(
        "follow",
        "The same as it happens, until the run ends, is paused or parked. Ends with the exit code of the run.",
        reading.follow,
        shown.event,
        params=(RUN,),
        keys=reading.EVENT_KEYS,
        is_lines=True,
        exit_code=reading.followed_exit,
    ),
    Verb(
        "tree",
        "A run and all below it.",
        reading.tree,
        shown.tree,
        params=(RUN,),
        keys=("runs", "text"),
    ),
    Verb("du", "Bytes that the log holds, by table.", reading.du, shown.sizes, keys=("bytes",)),
    Verb(
        "query",
        "Read the log with SQL. Nothing can be changed with it.",
        query.query,
        shown.found,
        params=(argument("sql", metavar="SQL"), option("--csv", "as_csv", is_flag=True, help="Comma-separated.")),
        keys=("columns", "rows"),
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
