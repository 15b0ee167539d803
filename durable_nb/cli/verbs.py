"""All verbs of the shell: those it shares with the notebook, and those that carry or load a log."""

import click

from durable_nb.cli import carrying, stress
from durable_nb.verbs import shown
from durable_nb.verbs.clearing_verbs import CLEARING
from durable_nb.verbs.scheduling_verbs import SCHEDULING
from durable_nb.verbs.steering_verbs import STEERING
from durable_nb.verbs.table import KEEPING, KEY, READING
from durable_nb.verbs.verb import Verb, argument, option

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
