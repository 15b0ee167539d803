"""The verbs that change what a run does, for the table."""

from durable_nb.verbs import shown, steering
from durable_nb.verbs.verb import RUN, Verb, argument, option

STEERING = (
    Verb(
        "signal",
        "Put a signal into a mailbox of a run. VALUE is JSON, or else text.",
        steering.signal,
        shown.sentence,
        params=(
            RUN,
            argument("name"),
            argument("value", required=False),
            option("--key", metavar="KEY", help="A repeat with the same key changes nothing."),
            option("--before-start", "early", is_flag=True, help="Also for a run that has not begun."),
        ),
        keys=("id", "told", "why"),
    ),
    Verb(
        "cancel",
        "Ask a run to end; its flow may clean up.",
        steering.cancel,
        shown.sentence,
        params=(RUN, option("--reason", default="", metavar="TEXT", help="Why.")),
    ),
    Verb(
        "terminate",
        "End a run at once, without clean-up.",
        steering.terminate,
        shown.sentence,
        params=(RUN, option("--reason", default="", metavar="TEXT", help="Why.")),
    ),
    Verb(
        "fork",
        "Begin a second run that goes on from an event of this one; otherwise from before its failure, or from now.",
        steering.fork,
        shown.sentence,
        params=(
            RUN,
            option("--at", type=int, metavar="EVENT", help="The last event that both have, as `history` numbers it."),
            option("--id", "new", metavar="ID", help="The fork; otherwise an automatic one."),
            option("--result", "results", multiple=True, metavar="STEP=VALUE", help="What a step returned instead."),
            option("-p", "params", multiple=True, metavar="NAME=VALUE", help="Another argument; JSON, or else text."),
            option("--copy-signals", is_flag=True, help="Take along signals that nobody had received."),
            option("--preview", is_flag=True, help="Only say what would run again."),
        ),
        keys=("again", "at", "code", "id", "kept", "origin", "status", "why"),
    ),
    Verb(
        "upgrade",
        "Let a run go on with the newest code of its flow, where that fits.",
        steering.upgrade,
        shown.sentence,
        params=(RUN,),
    ),
    Verb("pause", "Stop a run's turns; what is running ends first.", steering.pause, shown.sentence, params=(RUN,)),
    Verb("resume", "Let a paused or parked run go on.", steering.resume, shown.sentence, params=(RUN,)),
    Verb(
        "retry",
        "Let a failed run go on just before its failure.",
        steering.retry,
        shown.sentence,
        params=(RUN, option("--redo", is_flag=True, help="Also repeat steps that finished after the failure.")),
    ),
    Verb(
        "delete",
        "Remove a run that has ended.",
        steering.delete,
        shown.sentence,
        params=(RUN, option("--force", is_flag=True, help="Also one that has not ended.")),
    ),
)
