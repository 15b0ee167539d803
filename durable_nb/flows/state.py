"""`state`: what a run keeps about itself by key, for its own code, for other runs, for people."""

from collections.abc import Iterator, MutableMapping
from typing import Any

from durable_nb.engine.turn import Turn
from durable_nb.errors import BadOption, NotInFlow, Unstorable
from durable_nb.flows.outcome import outcome_of
from durable_nb.flows.place import turn_here
from durable_nb.history import calls
from durable_nb.history.values import Value

STATE_LIMIT = 1024 * 1024  # bytes of one value
_KEY_LIMIT = 200


class State(MutableMapping[str, Any]):
    """A dict in the log. Each change is written with the next ask and seen by everybody from then on."""

    def __getitem__(self, key: str) -> Any:
        turn = turn_here("state")
        kept: Value = turn.state[key]
        return turn.reader.take(kept, turn.run_uid, 0, "state", f"state[{key!r}]")

    def __setitem__(self, key: str, value: Any) -> None:
        turn = turn_here("state")
        kept = kept_small(turn, value, "state", f"state[{_checked(key)!r}]")
        turn.cursor.begin(calls.Ask("set", key, calls.encode(calls.Held(kept))))
        turn.state[key] = kept

    def __delitem__(self, key: str) -> None:
        turn = turn_here("state")
        if key not in turn.state:
            raise KeyError(key)
        turn.cursor.begin(calls.Ask("unset", key, b"{}"))
        del turn.state[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(turn_here("state").state))

    def __len__(self) -> int:
        return len(turn_here("state").state)

    def __repr__(self) -> str:
        try:
            return f"<state of run {turn_here('state').id!r}: {', '.join(self)}>"
        except NotInFlow:
            return "<state: the own data of a run, in the code of its flow>"


class StateOf:
    """The state of another run as it is when asked: an ask, so a replay sees the same."""

    def __init__(self, run: str) -> None:
        self._run = run

    def __getitem__(self, key: str) -> Any:
        turn = turn_here("state_of")
        ask = calls.Ask("look", _checked(key), calls.encode(calls.RunCall(self._run)))
        return outcome_of(turn, turn.call(ask), key)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


state = State()


def state_of(run: str) -> StateOf:
    """The state of the run of that id, in flow code: `state_of("order-1")["total"]`."""
    turn_here("state_of")
    return StateOf(getattr(run, "id", run))


def kept_small(turn: Turn, value: Any, kind: str, what: str) -> Value:
    """The stored form of a value that lies beside the run, marked for that place; Unstorable when it is too large."""
    kept: Value = turn.reader.keep_own(turn, value, kind, what)
    size = len(kept.json) if kept.is_plain else kept.size or 0
    if size > STATE_LIMIT:
        raise Unstorable(f"{what} is {size:,} bytes; {STATE_LIMIT:,} are allowed. Let a step return it")
    return kept


def _checked(key: object) -> str:
    if not isinstance(key, str) or not 1 <= len(key) <= _KEY_LIMIT:
        raise BadOption(f"a key of the state is text of 1 to {_KEY_LIMIT} characters, not {key!r:.60}")
    return key
