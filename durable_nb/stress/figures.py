"""What was measured as plain figures, and how they compare with those of another day."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from durable_nb.errors import BadOption
from durable_nb.stress.load import Load
from durable_nb.stress.proof import Proof

Plain = dict[str, Any]

RATES = ("runs_per_second", "steps_per_second")
LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
# The longest of all latencies is one run's bad luck: it is shown, and nothing is judged by it.
JUDGED = (*RATES, "p50_ms", "p95_ms", "p99_ms")


def figures_of(name: str, load: Load, proof: Proof, file_bytes: int) -> Plain:
    """One workload. Rates count what ended while new runs were started; latencies are of all that ended well."""
    done = sorted((call.ended - call.began) * 1000 for call in load.calls if call.failure is None)
    ended = load.in_window
    steps = sum(proof.steps[call.id] for call in ended)
    return {
        "workload": name,
        "seconds": load.window,
        "drain_seconds": max(0.0, max((call.ended for call in load.calls), default=0.0) - load.window),
        "runs": len(load.calls),
        "failures": dict(sorted(proof.failures.items())),
        "runs_per_second": len(ended) / load.window if load.window else 0.0,
        "steps_per_second": steps / load.window if load.window else 0.0,
        "p50_ms": percentile(done, 50),
        "p95_ms": percentile(done, 95),
        "p99_ms": percentile(done, 99),
        "max_ms": done[-1] if done else None,
        "file_bytes": file_bytes,
    }


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest of them that so many per cent do not exceed: one that was measured, none between."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def compared(present: Plain, earlier: Any, tolerance: float) -> list[Plain]:
    """For each workload in both: how many times as much each figure is now, and which got slower than that."""
    _check_comparable(present, earlier)
    before = {each["workload"]: each for each in earlier["workloads"]}
    return [
        {"workload": each["workload"], **_ratios(each, before[each["workload"]], tolerance)}
        for each in present["workloads"]
        if each["workload"] in before
    ]


def _check_comparable(present: Plain, earlier: Any) -> None:
    if not _is_report(earlier):
        raise BadOption("--compare takes a file that `durable stress --json` wrote")
    before, now = earlier["settings"], present["settings"]
    other = [f"{name} {before.get(name)}, now {value}" for name, value in now.items() if before.get(name) != value]
    if other:
        raise BadOption(f"the figures to compare with were measured with other settings: {'; '.join(other)}")
    names = {each["workload"] for each in earlier["workloads"]}
    if not names & {each["workload"] for each in present["workloads"]}:
        raise BadOption(f"the figures to compare with are of other workloads: {', '.join(sorted(names))}")


def _is_report(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        return False
    workloads = found.get("workloads")
    needed = {"workload", *RATES, *LATENCIES}
    return isinstance(workloads, list) and all(isinstance(each, dict) and needed <= each.keys() for each in workloads)


def _ratios(present: Mapping[str, Any], before: Mapping[str, Any], tolerance: float) -> Plain:
    ratios = {key: _ratio(present[key], before[key]) for key in (*RATES, *LATENCIES)}
    return {**ratios, "slower": [key for key in JUDGED if _is_slower(key, ratios[key], tolerance)]}


def _ratio(present: float | None, before: float | None) -> float | None:
    return present / before if present is not None and before else None


def _is_slower(key: str, ratio: float | None, tolerance: float) -> bool:
    if ratio is None:
        return False
    return ratio * (1 + tolerance) < 1 if key in RATES else ratio > 1 + tolerance
