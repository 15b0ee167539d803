"""The verbs that remove what is old and hand runs on, for the table."""

import click

from durable_nb.verbs import clearing, shown
from durable_nb.verbs.verb import RUN, STATUSES, Verb, argument, option

CLEARING = (
    Verb(
        "prune",
        "Remove runs that have ended, with all below them. Their ids answer that they were here.",
        clearing.prune,
        shown.pruned,
        params=(
            option("--older-than", metavar="TIME", help="That ended longer ago than this, as in 7d."),
            option("--keep", type=click.IntRange(0), metavar="N", help="All but the newest N of each flow."),
            option("--flow", metavar="NAME", help="Only runs of this flow."),
            option("--status", type=click.Choice(STATUSES[5:]), help="Only these."),
            option("--dry-run", is_flag=True, help="Only say which."),
        ),
        keys=("dry_run", "ids", "runs"),
    ),
    Verb("gc", "Remove payloads and code that nothing needs.", clearing.gc, shown.collected, keys=("bytes", "rows")),
    Verb(
        "export",
        "Write a run to one file, with its payloads, its code and its output.",
        clearing.export,
        shown.sentence,
        params=(RUN, argument("file")),
    ),
    Verb(
        "import",
        "Make the run of such a file a run of this log; it goes on if it had not ended.",
        clearing.import_,
        shown.sentence,
        params=(
            argument("file"),
            option("--id", metavar="ID", help="Another id than it had."),
            option(
                "--trust", is_flag=True, help="Also when another key has signed it: what is in it may execute here."
            ),
        ),
    ),
)
