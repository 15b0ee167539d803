"""The rows of the table: which work, in which unit, and how far it should reach."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from tests.bench.contender import (
    BRANCHES,
    CELLS,
    FAN_OUT,
    HUGE_STEPS,
    LONG_STEPS,
    MANY_CELLS,
    PAGE,
    PAGED,
    RUN_STEPS,
    RUNS,
    SHORT_STEPS,
    WAITING,
)

OURS, BARE, DBOS, DUROXIDE, KISHU = "ours", "bare", "dbos", "duroxide", "kishu"
PEERS = (DBOS, DUROXIDE, KISHU)
IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; a crash row names the phase that must die by SIGKILL before the one that is measured."""

    work: str
    unit: str
    phase: str
    durability: str
    reach: str
    is_reached: Callable[["Figures"], bool | None] | None = None
    crash_phase: str | None = None
    crash_at: int = 0
    why_not_more: str = ""  # said under the table where it is missed, or we are not 20 times ahead of the peers

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")


@dataclass(slots=True)
class Figures:
    """What was measured for one row: a list of rounds for each contender."""

    row: Row
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def of(self, contender: str) -> float | None:
        """The median of the contender's rounds."""
        figures = self.rounds.get(contender)
        return median(figures) if figures else None

    def speed_beside(self, contender: str, other: str) -> float | None:
        """How many times as fast as the other: the median of each round's own ratio, because ratios vary less."""
        pairs = list(zip(self.rounds.get(contender, ()), self.rounds.get(other, ()), strict=False))
        if not pairs:
            return None
        return median(mine / theirs if self.row.more_is_better else theirs / mine for mine, theirs in pairs)

    def times_ahead(self) -> float | None:
        """Speed beside the fastest of the peers; for a size, how many times smaller."""
        ratios = [ratio for peer in PEERS if (ratio := self.speed_beside(OURS, peer)) is not None]
        return min(ratios) if ratios else None


def _ours(figures: Figures) -> float:
    figure = figures.of(OURS)
    assert figure is not None
    return figure


def _at_least(least: float, share_of_bare: float = 0.0) -> Callable[[Figures], bool]:
    return lambda figures: _ours(figures) >= least and (figures.speed_beside(OURS, BARE) or 0.0) >= share_of_bare


def _at_most(most: float) -> Callable[[Figures], bool]:
    return lambda figures: _ours(figures) <= most


def _four_commits(figures: Figures) -> bool:
    """The bare run of one step is three commits."""
    bare = figures.of(BARE)
    return bare is not None and _ours(figures) <= bare * 4 / 3 + 0.5


def _two_commits(figures: Figures) -> bool:
    bare = figures.of(BARE)
    return bare is not None and _ours(figures) <= bare + 0.3


def _cell(figures: Figures) -> bool:
    """The bare figure is two commits."""
    bare, ahead = figures.of(BARE), figures.times_ahead()
    return bare is not None and _ours(figures) <= bare + 2 and (ahead is None or ahead >= 20)


def _three_times_smaller(figures: Figures) -> bool | None:
    """Unknown without the peer."""
    ahead = figures.times_ahead()
    return None if ahead is None else ahead >= 3


_FAN = f"{FAN_OUT:,} steps beside one another"
_WAIT = f"{WAITING:,} waiting runs"
_HUGE = f"run of {2 * HUGE_STEPS:,} events"
_MANY = f"{RUNS} runs × {RUN_STEPS} steps"
_ONE = "one-step run, start → result"
_CELLS = f"{CELLS} durable cells, over plain"
_CELL = "≤ 2 bare commits + 2, 20 × Kishu"
_SESSION = "12 cells with an 80 MB frame"
_DISK = "every commit waits for the disk, theirs and ours; the bare loop itself is not 20 times ahead"
_LOCK = "starting and carrying share Python's one lock; of 0.4 ms a run on one thread, its five commits take 0.25"
_HANDS = "three commits and two hand-overs between threads, which cost more than the commits"
_ANALYSIS = "looking at names and inputs, capturing and packing: some 1.6 ms of Python on a core that is free enough"
_HISTORY = (
    "two commits that wait for the disk; the shell writing its history there is a part of it, the rest is not explained"
)
_WHOLE = "Kishu brings back all variables at once and no outputs; a cell that is restored is a cell that is asked for"
_LIBRARIES = "loading pandas, matplotlib and scikit-learn takes most of it"
_ONCE = "the frame does not compress: it lies in the log once, 80 MB, and three times in Kishu's"
_BACK = "SQLite reads it in pages of 4 KiB, each byte is hashed and copied once: 0.1 s of processor time"
_PIECES = "of the time four fifths are SQLite's, writing and committing; other sizes of a transaction gained nothing"
_TEXTS = "what each run waits for is one text in one index, and all of them are looked through"
_PACKAGE = "importing the package is nine tenths of it"
_IMPORT = "the engine, the store and msgspec, where duroxide loads one compiled module"

ROWS = (
    Row("sequential steps", "steps/s", "sequential", "process", "≥ 15,000, ≥ 40 % of bare", _at_least(15_000, 0.40)),
    Row("sequential steps", "steps/s", "sequential", "full", "≥ 80 % of bare", _at_least(0, 0.80), why_not_more=_DISK),
    Row(_MANY, "runs/s", "many_runs", "process", "≥ 2,500", _at_least(2_500, 0), why_not_more=_LOCK),
    Row(_MANY, "runs/s", "many_runs", "full", "≥ 1,000", _at_least(1_000, 0), why_not_more=_DISK),
    Row(_ONE, "ms", "one_step", "process", "≤ 4 bare commits + 0.5", _four_commits, why_not_more=_HANDS),
    Row(_ONE, "ms", "one_step", "full", "≤ 4 bare commits + 0.5", _four_commits, why_not_more=_DISK),
    Row(_FAN, "steps/s", "fan_out", "process", "≥ 10,000", _at_least(10_000, 0)),
    Row(_FAN, "steps/s", "fan_out", "full", "≥ 5,000", _at_least(5_000, 0)),
    Row("signal → continue, one process", "ms", "signal_inside", "process", "≤ 2 bare commits + 0.3", _two_commits),
    Row("signal → continue, one process", "ms", "signal_inside", "full", "≤ 2 bare commits + 0.3", _two_commits),
    Row("signal → continue, two processes", "ms", "signal_across", "full", "≤ 5", _at_most(5)),
    Row(f"{_WAIT}: start", "runs/s", "waiting_starts", "process", "≥ 5,000", _at_least(5_000, 0)),
    Row(f"{_WAIT}: until all wait", "s", "waiting_until", "process", "", None),
    Row(f"{_WAIT}: memory over idle", "MB", "waiting_memory", "process", "≤ 50", _at_most(50)),
    Row("replay of a sequential run", "events/s", "replay", "process", "≥ 500,000", _at_least(500_000, 0)),
    Row(
        f"replay of {BRANCHES} async branches",
        "events/s",
        "replay_branches",
        "process",
        "≥ 100,000",
        _at_least(100_000, 0),
    ),
    Row(f"{_HUGE}: last ÷ first tenth", "×", "cost", "process", "≤ 1.25", _at_most(1.25)),
    Row(f"{_HUGE} continues", "ms", "huge_resume", "process", "≤ 1,000", _at_most(1_000), "huge_crash", HUGE_STEPS),
    Row(
        f"run of {2 * LONG_STEPS:,} events continues",
        "ms",
        "long_resume",
        "process",
        "≤ 100",
        _at_most(100),
        "long_crash",
        LONG_STEPS,
    ),
    Row(
        "SIGKILL → first continued step",
        "s",
        "short_resume",
        "full",
        "at once",
        None,
        "short_crash",
        SHORT_STEPS,
    ),
    Row(_CELLS, "ms", "cells", "process", _CELL, _cell, why_not_more=_ANALYSIS),
    Row(_CELLS, "ms", "cells", "full", _CELL, _cell, why_not_more=_HISTORY),
    Row(
        f"{MANY_CELLS:,} durable cells, over plain",
        "ms",
        "cells_many",
        "full",
        "≤ 2 bare commits + 2",
        _cell,
        why_not_more=_HISTORY,
    ),
    Row(f"{MANY_CELLS:,} durable cells: last ÷ first tenth", "×", "cells_drift", "full", "≤ 1.2", _at_most(1.2)),
    Row(f"{CELLS} cells restored, over plain", "ms", "cells_restored", "full", "≤ 2", _at_most(2), why_not_more=_WHOLE),
    Row(f"{CELLS} durable cells: log", "MB", "cells_size", "full", "", None),
    Row(f"{_SESSION}: cells", "s", "session", "full", "", None, why_not_more=_LIBRARIES),
    Row(f"{_SESSION}: log", "MB", "session_size", "full", "3 × below Kishu", _three_times_smaller, why_not_more=_ONCE),
    Row(f"{_SESSION}: restored", "s", "session_restored", "full", "", None, why_not_more=_LIBRARIES),
    Row("80 MB frame restored", "s", "frame_restored", "full", "≤ 0.2", _at_most(0.2), why_not_more=_BACK),
    Row("80 MB frame into the log", "GB/s", "frame_put", "full", "≥ 0.5", _at_least(0.5), why_not_more=_PIECES),
    Row("digest of a 1 GB frame", "GB/s", "digest", "", "≥ 5", _at_least(5)),
    Row(f"{PAGE} of {PAGED:,} runs", "ms", "page", "process", "≤ 10", _at_most(10)),
    Row(
        f"waiting_for nobody among {PAGED:,}",
        "ms",
        "page_waiting",
        "process",
        "≤ 10",
        _at_most(10),
        why_not_more=_TEXTS,
    ),
    Row("%load_ext durable_nb", "ms", "load", "full", "≤ 400", _at_most(400), why_not_more=_PACKAGE),
    Row("import", "ms", IMPORT, "", "≤ 100", _at_most(100), why_not_more=_IMPORT),
)
