"""How each verb's data looks to a person."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from durable_nb.durations import spoken
from durable_nb.verbs.reading import DRAWN, Plain
from durable_nb.verbs.render import (
    milliseconds,
    one_line,
    section,
    spread,
    status_of,
    table_of,
    text_of,
    value_words,
    whole_seconds,
)

_OUTPUT = 30  # lines of output that `show` repeats, the last ones


def runs(data: Plain) -> RenderableType:
    if "workers" in data:
        return _workers(data)
    rows = [
        (
            run["id"],
            run["flow"],
            status_of(run["status"]),
            whole_seconds(run["began_at"]),
            spoken(run["took"]),
            one_line(run["sentence"]),
        )
        for run in data["runs"]
    ]
    totals = " · ".join(f"{count:,} {status}" for status, count in data["totals"].items()) or "no runs"
    more = f"; older ones: --before {data['next']}" if data["next"] is not None else ""
    foot = Text(totals + more, style="dim")
    return Group(table_of(("id", "flow", "status", "began (UTC)", "took", "waits for"), rows), foot) if rows else foot


def _workers(data: Plain) -> RenderableType:
    rows = [
        (
            one["id"],
            one["label"],
            one["host"],
            "alive" if one["is_alive"] else "dead",
            one["runs"],
            whole_seconds(one["started_at"]),
            whole_seconds(one["seen_at"]),
        )
        for one in data["workers"]
    ]
    if not rows:
        return Text("no process has the log open", style="dim")
    return table_of(("owner", "who", "host", "state", "runs", "since (UTC)", "last seen (UTC)"), rows)


def run(data: Plain) -> RenderableType:
    parts: list[RenderableType] = [text_of(data["why"]), Text(), _facts(data)]
    if data["asks"]:
        parts.append(_asks(data))
    if data["failure"] is not None:
        parts.append(section("failure", text_of(data["failure"]["traceback"].rstrip())))
    if data["output"]:
        parts.append(section("output", *_output(data)))
    return Group(*parts)


def _facts(data: Plain) -> Table:
    rows = [
        ("run", Text(data["id"], style="bold")),
        ("flow", data["flow"] + (f", version {data['version']}" if data["version"] is not None else "")),
        ("status", status_of(data["status"])),
        ("arguments", spread(data["arguments"])),
        ("began", f"{whole_seconds(data['began_at'])} UTC"),
        ("took" if data["ended_at"] is not None else "so far", spoken(data["took"])),
        ("events", data["events"]),
        ("code", data["code"][:12]),
    ]
    if data["result"] is not None:
        rows.append(("result", value_words(data["result"])))
    if data["failure"] is not None:
        failure = data["failure"]
        where = f" ({failure['where']})" if failure["where"] else ""
        rows.append(("failure", text_of(f"{failure['type']}: {failure['message']}{where}", "red")))
    if data["origin"] is not None:
        rows.append(("forked from", data["origin"]))
    if not data["is_trusted"]:
        rows.append(("trust", text_of("from elsewhere: it executes only after `durable trust`", "yellow")))
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, fact in rows:
        facts.add_row(name, fact if isinstance(fact, Text) else text_of(fact))
    return facts


def _asks(data: Plain) -> RenderableType:
    drawn, left = data["picture"], len(data["asks"]) - DRAWN
    title = f"asks (the last {DRAWN}; {left:,} before them are in `durable history`)" if left > 0 else "asks"
    return section(title, *(text_of(line) for line in drawn))


def _output(data: Plain) -> list[Text]:
    lines: list[Text] = []
    for piece in data["output"]:
        source = f"{piece['ask']}" if piece["ask"] is not None else ""
        style = "red" if piece["stream"] == "stderr" else ""
        lines += [text_of(f"{source:>5}  {line}", style) for line in piece["text"].splitlines()]
    cut = len(lines) - _OUTPUT
    return [Text(f"       … {cut:,} lines before", style="dim"), *lines[cut:]] if cut > 0 else lines


def tree(data: Plain) -> RenderableType:
    return text_of(data["text"])


def sizes(data: Plain) -> RenderableType:
    rows = [(name, f"{size:,}") for name, size in sorted(data["bytes"].items(), key=lambda one: -one[1])]
    return table_of(("what", "bytes"), rows)


def pruned(data: Plain) -> RenderableType:
    verb = "would go" if data["dry_run"] else "are gone"
    below = data["runs"] - len(data["ids"])
    names = f": {', '.join(data['ids'])}" if data["ids"] else ""
    return text_of(f"{len(data['ids'])} runs {verb}" + (f", with {below} below them" if below else "") + names)


def collected(data: Plain) -> RenderableType:
    return text_of(f"{data['rows']:,} rows, {data['bytes']:,} bytes, that nothing needed are gone")


def sentence(data: Plain) -> RenderableType:
    return text_of(data["why"])


def event(data: Plain) -> RenderableType:
    """One line, because what comes next is not known yet."""
    name = data["name"] or ""
    return text_of(
        f"{data['seq']:>5}  {milliseconds(data['at'])}  {data['kind']:<14}  {name:<16}  {one_line(data['what'])}"
    )


def schedules(data: Plain) -> RenderableType:
    rows = [
        (
            one["id"],
            one["flow"],
            one["spec"],
            one["tz"],
            one["misfire"],
            whole_seconds(one["next_at"]) if not one["is_paused"] else one_line(one["sentence"]),
        )
        for one in data["schedules"]
    ]
    columns = ("id", "flow", "times", "zone", "misfire", "next (UTC)")
    return table_of(columns, rows) if rows else Text("no schedules", style="dim")


def schedule(data: Plain) -> RenderableType:
    if data["is_paused"]:
        return text_of(f"schedule {data['id']!r} is paused: {one_line(data['sentence'])}")
    return text_of(f"schedule {data['id']!r} starts next at {whole_seconds(data['next_at'])} UTC")


def times(data: Plain) -> RenderableType:
    if not data["times"]:
        return text_of(f"schedule {data['id']!r} is paused")
    return text_of("\n".join(whole_seconds(at) for at in data["times"]))


def dropped(data: Plain) -> RenderableType:
    return text_of(f"schedule {data['id']!r} is gone; the runs it has started stay")


def found(data: Plain) -> RenderableType:
    rows = [["" if cell is None else cell for cell in row] for row in data["rows"]]
    return table_of([text_of(column).plain for column in data["columns"]], rows)


def accepted(data: Plain) -> RenderableType:
    unreadable = f"; {data['unreadable']} events cannot be read and stay as they are" if data["unreadable"] else ""
    return text_of(
        f"{data['log']} is trusted: {data['runs']} runs, {data['rows']} events and {data['codes']} definitions signed "
        f"with your key {data['fingerprint']}{unreadable}. Open it again where it is open"
    )


def key(data: Plain) -> RenderableType:
    if data["fingerprint"] is None:
        return text_of(f"there is no key yet; the first log makes it, in {data['source']}")
    return text_of(f"{data['fingerprint']} from {data['source']}")


def findings(data: Plain) -> RenderableType:
    rows = [
        (
            status_of(one["level"]),
            one["check"],
            one_line(one["sentence"]) + (f" → {one_line(one['advice'])}" if one["advice"] else ""),
        )
        for one in data["findings"]
    ]
    return table_of(("", "check", "what was found"), rows)


def outcome(data: Plain) -> RenderableType | None:
    """The result; of a failure everything has been said on standard error."""
    return None if data["failure"] is not None else text_of(data["text"])


def line(data: Plain) -> RenderableType:
    return text_of(data["line"])


def plain(data: str) -> RenderableType:
    return text_of(data)
