"""A run with all below it, as a tree of text."""

from collections.abc import Sequence

from durable_nb.stores.shapes import RunRecord
from durable_nb.views.sentences import short


def draw(family: Sequence[RunRecord], now: float) -> str:
    """One line for each run; `family` is a run and all below it, each followed by those it asked for."""
    last_of = {record.parent: record.key for record in family[1:]}
    prefixes: dict[int, str] = {}
    lines: list[str] = []
    for place, record in enumerate(family):
        if place == 0:
            prefixes[record.key], branch = "", ""
        else:
            above = prefixes[record.parent or 0]
            is_last = last_of[record.parent] == record.key
            branch = above + ("└─ " if is_last else "├─ ")
            prefixes[record.key] = above + ("   " if is_last else "│  ")
        said = short(record, now)
        lines.append(f"{branch}{record.id}  {record.flow}  {record.status}" + (f": {said}" if said else ""))
    return "\n".join(lines)
