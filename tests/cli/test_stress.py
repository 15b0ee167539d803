"""durable stress: every workload on a real log, what is measured, what is proven, what is compared."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from durable_nb import connect
from durable_nb.cli.stress import KEYS, size as as_bytes
from durable_nb.stores.library import sqlite
from durable_nb.stress.figures import JUDGED, compared, figures_of, percentile
from durable_nb.stress.load import Call, Load, Settings, load
from durable_nb.stress.proof import TWICE, WRONG, Proof, prove
from durable_nb.stress.workload import NAMES, Workload
from durable_nb.stress.workloads import LENGTH, WORKLOADS
from tests.cli.conftest import Shell
from tests.cli.samples import cli_bill, cli_failing

SHORT = ("--duration", "0.3s", "--durability", "process", "--in-flight", "4", "--payload", "70KB")


@pytest.mark.parametrize("name", NAMES)
def test_every_workload_ends_each_run_with_the_right_result(name: str, shell: Shell) -> None:
    said = shell("stress", "--workload", name, *SHORT, "--json")
    assert said.code == 0, said
    assert tuple(said.json) == KEYS
    (figures,) = said.json["workloads"]
    assert figures["failures"] == {}
    assert figures["runs"] >= 4
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["file_bytes"] > 0


def test_a_named_log_stays_and_holds_every_run(folder: Path, shell: Shell) -> None:
    said = shell("stress", "--workload", "sequential", "--store", "mine.durable.db", *SHORT, "--json")
    with connect(folder / "mine.durable.db", carry=False) as app:
        assert app.store.counts() == {"completed": said.json["workloads"][0]["runs"]}
    said = shell("stress", "--store", "mine.durable.db", *SHORT)
    assert said.code == 4
    assert "has runs" in said.err


def test_without_a_name_nothing_stays(folder: Path, shell: Shell) -> None:
    said = shell("stress", "--workload", "timers", *SHORT)
    assert said.code == 0
    assert "timers" in said.out
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--duration", "0s"), "measures nothing"),
        (("--payload", "much"), "not a size"),
        (("--compare", "missing.json"), "missing.json"),
        (("--workload", "nothing"), "nothing"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_measured(
    options: tuple[str, ...], words: str, shell: Shell
) -> None:
    said = shell("stress", *options)
    assert (said.code, said.out) == (2, "")
    assert words in said.err


def test_the_names_are_those_of_the_flows() -> None:
    assert tuple(WORKLOADS) == NAMES


# comparing


def _earlier(folder: Path, shell: Shell, times: float, **settings: Any) -> str:
    """What an earlier stress said, when everything was so many times as fast."""
    earlier = shell("stress", "--workload", "sequential", *SHORT, "--json").json
    for figures in earlier["workloads"]:
        for key in JUDGED:
            figures[key] *= times if key.endswith("per_second") else 1 / times
    earlier["settings"] |= settings
    (folder / "earlier.json").write_text(json.dumps(earlier))
    return "earlier.json"


def test_what_got_slower_than_allowed_is_told_with_code_1(folder: Path, shell: Shell) -> None:
    earlier = _earlier(folder, shell, 1000.0)
    said = shell("stress", "--workload", "sequential", *SHORT, "--compare", earlier, "--json")
    assert (said.code, said.json["is_good"]) == (1, False)
    assert said.json["comparison"][0]["slower"] == list(JUDGED)
    said = shell("stress", "--workload", "sequential", *SHORT, "--compare", earlier)
    assert (said.code, said.out.count("slower")) == (1, len(JUDGED))


def test_what_got_faster_is_fine(folder: Path, shell: Shell) -> None:
    earlier = _earlier(folder, shell, 0.001)
    said = shell("stress", "--workload", "sequential", *SHORT, "--compare", earlier, "--json")
    assert (said.code, said.json["comparison"][0]["slower"]) == (0, [])


def test_figures_of_other_settings_or_workloads_are_not_compared(folder: Path, shell: Shell) -> None:
    earlier = _earlier(folder, shell, 1.0, in_flight=99)
    said = shell("stress", "--workload", "sequential", *SHORT, "--compare", earlier)
    assert said.code == 2
    assert "in_flight 99, now 4" in said.err
    earlier = _earlier(folder, shell, 1.0)
    assert "other workloads: sequential" in shell("stress", "--workload", "timers", *SHORT, "--compare", earlier).err
    (folder / "list.json").write_text("[]")
    assert "--json" in shell("stress", *SHORT, "--compare", "list.json").err


def test_the_tolerance_is_how_much_slower_is_allowed() -> None:
    def report(rate: float, ms: float) -> dict[str, Any]:
        figures = dict.fromkeys(("runs_per_second", "steps_per_second"), rate)
        figures |= dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "max_ms"), ms)
        return {"settings": {}, "workloads": [{"workload": "timers", **figures}]}

    (same,) = compared(report(70, 1.4), report(100, 1), 0.5)
    assert (same["slower"], same["p95_ms"]) == ([], 1.4)
    assert compared(report(60, 1.6), report(100, 1), 0.5)[0]["slower"] == list(JUDGED)
    assert compared(report(100, 1), report(100, 0), 0.5)[0]["p50_ms"] is None


# measuring


def test_percentiles_are_measured_values() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, percent) for percent in (50, 95, 99)] == [50.0, 95.0, 99.0]
    assert (percentile([7.0], 99), percentile([], 50)) == (7.0, None)


def test_rates_leave_the_drain_out() -> None:
    calls = [Call(0, "a", 0.0, 0.5, None), Call(1, "b", 0.5, 1.5, None), Call(2, "c", 0.0, 4.0, None)]
    figures = figures_of("timers", Load(calls, 2.0), Proof(Counter(), {"a": 3, "b": 5, "c": 9}), 0)
    assert (figures["runs"], figures["runs_per_second"], figures["steps_per_second"]) == (3, 1.0, 4.0)
    assert (figures["p50_ms"], figures["max_ms"], figures["drain_seconds"]) == (1000.0, 4000.0, 2.0)


@pytest.mark.parametrize(("text", "size"), [("100", 100), ("2k", 2048), ("1.5MB", 1_572_864), ("1GiB", 1024**3)])
def test_a_size_is_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert as_bytes(text) == size


# proving


def test_failures_are_counted_by_class(folder: Path) -> None:
    failing = Workload("failing", cli_failing, lambda number, size: 0, lambda number, size: (f"run {number}",))
    with connect(folder / "log.durable.db", durability="process") as app:
        done = load(app, failing, Settings(in_flight=2), 0.1)
        proof = prove(app, failing, done.calls, 0)
    assert proof.failures == {"OSError": len(done.calls)}
    assert done.in_window == []


def test_a_run_that_does_not_end_is_lost(folder: Path) -> None:
    with connect(folder / "log.durable.db", carry=False) as app:
        done = load(app, WORKLOADS["sequential"], Settings(in_flight=2), 0.05, patience=0.05)
        assert prove(app, WORKLOADS["sequential"], done.calls, 0).failures == {"lost": len(done.calls)}


def test_the_log_decides_whether_a_run_is_fine(folder: Path) -> None:
    workload = WORKLOADS["sequential"]
    path = folder / "log.durable.db"
    with connect(path, durability="process") as app:
        workload.flow["right"](1)
        workload.flow["twice"](2)
        cli_bill["other"](["tea"])
        calls = [Call(number, id, 0.0, 0.0, None) for number, id in ((1, "right"), (2, "twice"), (3, "other"))]
        calls.append(Call(4, "gone", 0.0, 0.0, None))
        _forge_ending(path, app.record("twice").key, len(app.events("twice")))
        proof = prove(app, workload, calls, 0)
    assert proof.failures == {TWICE: 1, WRONG: 1, "lost": 1}
    assert proof.steps["right"] == LENGTH


def _forge_ending(path: Path, run: int, last: int) -> None:
    """A second ending, as only a defect of ours could write it."""
    connection = sqlite.connect(str(path), isolation_level=None)
    connection.execute(
        "insert into event select run, seq + 1, kind, ref, name, data, at from event where run = ? and seq = ?",
        (run, last),
    )
    connection.close()
