"""Whether a cell is fresh: one of its last outcomes came of the same code and the same inputs, or a sentence why not."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from durable_nb.notebook.cells.hashing import PREFIX
from durable_nb.notebook.cells.inputs import ABSENT, Input, inputs_from_json

Policy = Literal["inputs", "code", "always", "never", "ask"]
POLICIES: Final[tuple[str, ...]] = get_args(Policy)

LOOKED_AT: Final = 20
"""How many outcomes of a cell are looked at: an edit that is taken back finds the outcome from before it."""
_NAMED: Final = 3


class Reading(NamedTuple):
    """What one run of a cell was made of. `without` are inputs that turned out to be none."""

    code: str
    inputs: Mapping[str, Input]
    without: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        inputs = {name: one.to_json() for name, one in self.inputs.items()}
        return {"code": self.code, "inputs": inputs} | ({"without": list(self.without)} if self.without else {})

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Reading":
        return cls(plain["code"], inputs_from_json(plain["inputs"]), tuple(plain.get("without", ())))


class Fresh(NamedTuple):
    """The outcome at this place of the list can be restored."""

    place: int
    sentence: str


class Stale(NamedTuple):
    """The cell must run. With `may_restore` a person is asked, and can choose the newest outcome all the same."""

    sentence: str
    may_restore: bool = False


def judge(outcomes: Sequence[Reading], code: str, inputs: Mapping[str, Input], policy: str = "inputs") -> Fresh | Stale:
    """The verdict over the outcomes of a cell, newest first, for its code and inputs as they are now."""
    if policy == "never":
        return Stale("it is to run every time (--reuse never)")
    if not outcomes:
        return Stale("it has not run before")
    if policy == "always":
        return Fresh(0, "it has run before (--reuse always)")
    for place, outcome in enumerate(outcomes[:LOOKED_AT]):
        if outcome.code == code and (policy == "code" or not _differences(outcome, inputs)):
            equal = "code" if policy == "code" else "code and inputs"
            return Fresh(place, f"the same {equal}" + (" as before the last change" if place else ""))
    return Stale(_why(outcomes[:LOOKED_AT], code, inputs), may_restore=policy == "ask")


def remarks(inputs: Mapping[str, Input]) -> tuple[str, ...]:
    """What is worth a word although it makes nothing stale: files that are newer than what was loaded."""
    return tuple(one.note for one in inputs.values() if one.kind == "module" and "not reloaded" in one.note)


def _why(outcomes: Iterable[Reading], code: str, inputs: Mapping[str, Input]) -> str:
    """Against the newest outcome of this code, else the code has changed."""
    outcome = next((one for one in outcomes if one.code == code), None)
    return "the code changed" if outcome is None else _listed(_differences(outcome, inputs))


def _listed(differences: list[tuple[str, str]]) -> str:
    """`raw` and `K` (used by `f`) changed; `conn` cannot be compared: it is a generator"""
    by_verb: dict[str, list[str]] = {}
    for name, verb in differences:
        by_verb.setdefault(verb, []).append(name)
    return "; ".join(f"{_joined(names)} {verb}" for verb, names in by_verb.items())


def _joined(names: list[str]) -> str:
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _differences(outcome: Reading, inputs: Mapping[str, Input]) -> list[tuple[str, str]]:
    """(name as it is said, what is the matter with it) of every input that is not what it was."""
    found: list[tuple[str, str]] = []
    for name, before in outcome.inputs.items():
        if name in outcome.without:
            continue
        verb = _difference(before, inputs.get(name))
        if verb:
            found.append((_said(name, inputs.get(name) or before), verb))
    new = [name for name in inputs if name not in outcome.inputs and name not in outcome.without]
    found.extend((_said(name, inputs[name]), "was not read before") for name in new)
    return found


def _difference(before: Input, now: Input | None) -> str:
    """What is the matter with an input, "" for nothing."""
    if now is None:
        return "is read no more"
    if now.digest is None:
        return f"cannot be compared: {now.reason}"
    if before.digest is None:
        return f"could not be compared: {before.reason}"
    if now.digest == before.digest:
        return ""
    if now.kind == ABSENT:
        return "is gone"
    if before.kind == ABSENT:
        return "was not there before"
    if _hash_of(before.digest) != _hash_of(now.digest):
        return f"cannot be compared: the log was written {'without' if PREFIX == 'x3:' else 'with'} the package xxhash"
    return "changed"


def _hash_of(digest: str) -> str:
    return digest.partition(":")[0] if ":" in digest else ""


def _said(name: str, one: Input) -> str:
    """`K` (used by `f`)"""
    said = f"the module `{name.removeprefix('module ')}`" if name.startswith("module ") else f"`{name}`"
    users = ", ".join(f"`{user.removeprefix('module ')}`" for user in one.used_by[:2])
    return f"{said} (used by {users})" if users else said
