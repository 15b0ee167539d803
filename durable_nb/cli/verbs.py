"""The one table of verbs. The shell makes its commands of it, and the notebook its magics."""

import click

from durable_nb.cli import carrying, keeping, query, reading, shown, stress
from durable_nb.cli.choose import names_log
from durable_nb.cli.clearing_verbs import CLEARING
from durable_nb.cli.scheduling_verbs import SCHEDULING
from durable_nb.cli.steering_verbs import STEERING
from durable_nb.cli.verb import RUN, STATUSES, Verb, argument, option

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
        "The same as it happens, until the run ends or waits for you. Ends with the exit code of the run.",
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
            option("--tags", metavar="TAG,…", default="", help='Take steps with these tags too; "any" takes all.'),
        ),
    ),
    Verb(
        "run",
        "Carry one run of a flow or a notebook here and print its result. With the id of a run that has begun, it goes "
        "on.\n\nTARGET is MODULE:FLOW, FILE.py:FLOW or NOTEBOOK.ipynb. A notebook has its log beside it, which it "
        "shares with JupyterLab; its durable cells come back from there, and after a kill or a mended cell the same "
        "command goes on at the first one that was not finished.",
        carrying.run,
        shown.outcome,
        on="named",
        params=(
            argument("target"),
            option("--id", metavar="ID", help="The run; otherwise a new one."),
            option("-p", "params", multiple=True, metavar="NAME=VALUE", help="An argument; JSON, or else text."),
            option("--out", metavar="FILE", help="Write the notebook with its outputs there, after every cell."),
        ),
        keys=carrying.RUN_KEYS,
        exit_code=carrying.run_exit,
    ),
)

STRESS = (
    Verb(
        "stress",
        stress.HELP,
        stress.stress,
        stress.shown,
        on="nothing",
        params=(
            option(
                "--workload",
                type=click.Choice(stress.CHOICES),
                default="all",
                show_default=True,
                help="What the runs do.",
            ),
            option("--duration", metavar="TIME", default="10s", show_default=True, help="How long, each workload."),
            option(
                "--concurrency",
                type=click.IntRange(1, 256),
                default=4,
                show_default=True,
                help="Carriers; and eight workers for each.",
            ),
            option(
                "--in-flight",
                type=click.IntRange(1, 10_000),
                default=20,
                show_default=True,
                help="Runs at the same time.",
            ),
            option(
                "--payload",
                metavar="SIZE",
                type=stress.size,
                default="100KB",
                show_default=True,
                help="Of large-payload.",
            ),
            option("--store", metavar="URL", help="A new log, which stays; otherwise a temporary one."),
            option("--durability", type=click.Choice(("full", "process")), default="full", show_default=True),
            option(
                "--compare", metavar="FILE", help="What --json printed earlier; show how many times as much it is now."
            ),
            option(
                "--tolerance",
                type=click.FloatRange(0),
                default=50.0,
                show_default=True,
                metavar="PERCENT",
                help="How much slower than in FILE is not called slower.",
            ),
        ),
        keys=stress.KEYS,
        exit_code=stress.stress_exit,
    ),
)

GROUPS = {
    "key": ("The key that signs your logs.", KEY),
    "schedules": ("Flows that are started again and again.", SCHEDULING),
}
VERBS = (*READING, *STEERING, *CLEARING, *KEEPING, *CARRYING, *STRESS)
