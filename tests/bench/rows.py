"""The rows of the table: which work, in which unit, and how far it should reach."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from tests.bench.contender import BRANCHES, FAN_OUT, HUGE_STEPS, LONG_STEPS, RUN_STEPS, RUNS, SHORT_STEPS, WAITING

OURS, BARE, DBOS, DUROXIDE = "ours", "bare", "dbos", "duroxide"
PEERS = (DBOS, DUROXIDE)
IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; a crash row names the phase that must die by SIGKILL before the one that is measured."""

    work: str
    unit: str
    phase: str
    durability: str
    reach: str
    is_reached: Callable[["Figures"], bool] | None = None
    crash_phase: str | None = None
    crash_at: int = 0
    why_not_more: str = ""  # said under the table where we are not 20 times ahead of the peers

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
        """Speed beside the faster of the peers."""
        ratios = [ratio for peer in PEERS if (ratio := self.speed_beside(OURS, peer)) is not None]
        return min(ratios) if ratios else None


def _ours(figures: Figures) -> float:
    figure = figures.of(OURS)
    assert figure is not None
    return figure


def _at_least(least: float, share_of_bare: float) -> Callable[[Figures], bool]:
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


_FAN = f"{FAN_OUT:,} steps beside one another"
_WAIT = f"{WAITING:,} waiting runs"
_HUGE = f"run of {2 * HUGE_STEPS:,} events"
_MANY = f"{RUNS} runs × {RUN_STEPS} steps"
_ONE = "one-step run, start → result"
_DISK = "every commit waits for the disk, theirs and ours; the bare loop itself is not 20 times ahead"
_LOCK = "starting and carrying share Python's one lock; of 0.4 ms a run on one thread, its five commits take 0.25"
_HANDS = "three commits and two hand-overs between threads, which cost more than the commits"
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
    Row("import", "ms", IMPORT, "", "≤ 100", _at_most(100), why_not_more=_IMPORT),
)
