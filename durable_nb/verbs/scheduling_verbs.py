"""The verbs of schedules, for the table."""

import click

from durable_nb.verbs import scheduling, shown
from durable_nb.verbs.verb import Verb, argument, option

_SCHEDULE = argument("id", metavar="ID")

SCHEDULING = (
    Verb(
        "list",
        "The schedules, and when each starts its next run.",
        scheduling.list_,
        shown.schedules,
        keys=("schedules",),
    ),
    Verb(
        "next",
        "When a schedule starts its next runs.",
        scheduling.next_,
        shown.times,
        params=(
            _SCHEDULE,
            option("--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many of them."),
        ),
        keys=("id", "times"),
    ),
    Verb(
        "pause",
        "A schedule starts nothing until it is resumed.",
        scheduling.pause,
        shown.schedule,
        params=(_SCHEDULE,),
        keys=scheduling.RECORD_KEYS,
    ),
    Verb(
        "resume",
        "A paused schedule goes on with its next tick; what was missed stays missed.",
        scheduling.resume,
        shown.schedule,
        params=(_SCHEDULE,),
        keys=scheduling.RECORD_KEYS,
    ),
    Verb(
        "drop",
        "A schedule starts nothing any more; the runs it has started stay.",
        scheduling.drop,
        shown.dropped,
        params=(_SCHEDULE,),
        keys=("id",),
    ),
)
