"""`--plan`: what the cell would do, and why, without doing it."""

from durable_nb.durations import spoken
from durable_nb.notebook.looking import Look
from durable_nb.notebook.session import Session
from durable_nb.notebook.status import size_words


def show_plan(session: Session, seen: Look) -> None:
    """Print it."""
    print(plan_of(seen))


def plan_of(seen: Look) -> str:
    """The verdict, and what it was made of."""
    doing = "would be restored" if seen.is_fresh else "would run"
    lines = [f"`{seen.cell}` {doing}: {seen.verdict.sentence}{'' if seen.is_fresh else seen.last_time}"]
    for name, one in seen.inputs.found.items():
        used = f", used by {', '.join(one.used_by)}" if one.used_by else ""
        told = one.reason or one.note
        lines.append(f"  reads  {name} ({one.kind}{used}){f': {told}' if told else ''}")
    lines += [f"  binds  {name}" for name in (*seen.names.binds, *seen.names.may_bind)]
    if seen.names.opaque:
        lines.append(f"  not all reads can be seen: {', '.join(seen.names.opaque)}")
    if seen.inputs.size:
        lines.append(f"  looked at {size_words(seen.inputs.size)} in {spoken(seen.inputs.seconds)}")
    return "\n".join(lines)
