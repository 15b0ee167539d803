"""The verb `stress`: many runs at once for a while, what was measured, and whether anything was lost or got slower."""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from durable_nb import __version__
from durable_nb.app import App
from durable_nb.durations import seconds, spoken
from durable_nb.errors import BadOption, Refused
from durable_nb.opening import connect
from durable_nb.stress.figures import JUDGED, LATENCIES, RATES, compared, figures_of
from durable_nb.stress.load import Settings, load
from durable_nb.stress.proof import prove
from durable_nb.stress.workload import NAMES
from durable_nb.verbs.exits import Exit
from durable_nb.verbs.reading import Plain
from durable_nb.verbs.render import table_of

CHOICES = (*NAMES, "all")
KEYS = ("comparison", "is_good", "settings", "version", "workloads")
_WORKERS = 8  # for each carrier, as connect has them
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)i?b?", re.IGNORECASE)
_HEADINGS = ("runs/s", "steps/s", "p50 ms", "p95 ms", "p99 ms", "max ms")


def stress(
    workload: str = "all",
    duration: str = "10s",
    concurrency: int = Settings().concurrency,
    in_flight: int = Settings().in_flight,
    payload: int = Settings().payload,
    store: str | None = None,
    durability: str = Settings().durability,
    compare: str | None = None,
    tolerance: float = 50.0,
) -> Plain:
    """Load the log with each workload for that long, then ask it what became of every run."""
    span = seconds(duration)
    if not span:
        raise BadOption("--duration 0 measures nothing")
    earlier = _read(compare) if compare is not None else None
    settings = Settings(concurrency, in_flight, payload, durability)
    report: Plain = {"settings": settings._asdict(), "version": __version__, "workloads": [], "comparison": None}
    names = list(NAMES) if workload == "all" else [workload]
    if earlier is not None:  # what cannot be compared is said before anything is measured
        compared({**report, "workloads": [_unmeasured(name) for name in names]}, earlier, 0.0)
    _check_new(store)
    for name in names:
        click.echo(f"{name} for {spoken(span)}", err=True)
        with _opened(store, settings) as app:
            report["workloads"].append(_measured(app, name, settings, span))
    if earlier is not None:
        report["comparison"] = compared(report, earlier, tolerance / 100)
    has_failed = any(each["failures"] or not each["runs"] for each in report["workloads"])
    report["is_good"] = not has_failed and not any(each["slower"] for each in report["comparison"] or ())
    return report


@contextmanager
def _opened(store: str | None, settings: Settings) -> Iterator[App]:
    """The log that was named, which stays to be looked at; else a temporary one, of each workload its own."""
    with tempfile.TemporaryDirectory(prefix="durable-stress-") as folder:
        url = store if store is not None else str(Path(folder) / "stress.durable.db")
        with connect(
            url,
            carriers=settings.concurrency,
            workers=settings.concurrency * _WORKERS,
            durability=settings.durability,
        ) as app:
            yield app


def _check_new(store: str | None) -> None:
    if store is None:
        return
    with connect(store, carry=False) as app:
        if app.store.counts():
            raise Refused(f"{store} has runs; a stress fills a log with thousands of its own, so name a new one")


def _measured(app: App, name: str, settings: Settings, span: float) -> Plain:
    from durable_nb.stress.workloads import WORKLOADS  # noqa: PLC0415 - 20 ms of import that no other verb should pay

    workload = WORKLOADS[name]
    done = load(app, workload, settings, span)
    proof = prove(app, workload, done.calls, settings.payload)
    sizes = app.store.sizes()
    return figures_of(name, done, proof, sizes["file"] + sizes["wal"])


def _read(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise BadOption(f"--compare {path}: {error}") from error


def _unmeasured(name: str) -> Plain:
    return {"workload": name, **dict.fromkeys((*RATES, *LATENCIES))}


def stress_exit(report: Plain) -> Exit:
    return Exit.DONE if report["is_good"] else Exit.FAILED


def size(text: str | int) -> int:
    """Bytes of a size as in 100KB or 2M."""
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise BadOption(f"{text!r} is not a size such as 100KB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


# how it looks


def shown(report: Plain) -> RenderableType:
    rows = [
        (
            each["workload"],
            f"{each['runs']:,}",
            _failures(each["failures"]),
            *(_number(each[key]) for key in (*RATES, *LATENCIES)),
            spoken(each["drain_seconds"]),
            f"{each['file_bytes'] / 1024**2:,.1f}",
        )
        for each in report["workloads"]
    ]
    parts: list[RenderableType] = [table_of(("workload", "runs", "failures", *_HEADINGS, "drain", "file MB"), rows)]
    if report["comparison"] is not None:
        parts += [Text(), _comparison(report["comparison"])]
    settings = " · ".join(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
                          for name, value in report["settings"].items())  # fmt: skip
    parts.append(Text(settings.replace("_", " "), style="dim"))
    return Group(*parts)


def _comparison(compared: list[Plain]) -> RenderableType:
    """How many times as much as before; of a rate less is slower, of a latency more."""
    rows = [
        (each["workload"], *(_ratio(each[key], key in each["slower"]) for key in (*RATES, *LATENCIES)))
        for each in compared
    ]
    return table_of(("beside earlier", *_HEADINGS), rows)


def _ratio(ratio: float | None, is_slower: bool) -> Text:
    if ratio is None:
        return Text("–")
    return Text(f"× {ratio:.2f}" + (" slower" if is_slower else ""), style="red" if is_slower else "")


def _failures(failures: dict[str, int]) -> Text:
    if not failures:
        return Text("none", style="green")
    return Text(", ".join(f"{count:,} {name}" for name, count in failures.items()), style="red")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


HELP = (
    "Load a log with many runs at once, and check that each ended once with the right result.\n\n"
    "As many runs as --in-flight are begun, and another whenever one ends, until the time is over; then the rest is "
    "waited for, and the log is read. Latencies are from the start of a run to its result in hand; rates leave the "
    f"drain out. Exit code 1 when a run failed or was lost, or when, with --compare, one of {', '.join(JUDGED)} got "
    "slower than the tolerance allows."
)
