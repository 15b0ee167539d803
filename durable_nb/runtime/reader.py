"""What flow code reaches of the log while it runs: values in and out, the clock, and the check on large values."""

from collections.abc import Callable
from typing import Any, NoReturn

from durable_nb.codec.digest import digest
from durable_nb.engine.cursor import Suspended
from durable_nb.engine.turn import Turn
from durable_nb.errors import DurableError, LogError, UnknownCode, Untrusted
from durable_nb.flows.values import Values
from durable_nb.history.failure import Failure
from durable_nb.history.values import Value
from durable_nb.where import calling_line


class Reader:
    """One per carry. Large values that were handed over live are looked at again when they meet the next durable call."""

    def __init__(self, values: Values, now: Callable[[], float], park: Callable[[str, str], None]) -> None:
        self._values = values
        self._reading: Values | None = None  # made when a replay needs it
        self._park = park
        self._large: list[tuple[Any, str, str]] = []
        self.now = now
        self.keep_arguments = values.keep_arguments

    def take(self, value: Value, uid: str, seq: int, kind: str, what: str) -> Any:
        return self._values.take(value, uid, seq, kind, what)

    def keep_own(self, turn: Turn, value: Any, kind: str, what: str) -> Value:
        """The form of a value that lies beside the run (its state, its note), marked for that place."""
        # What is there already is not put again: it would wait for a commit that refers to it, and none will come.
        if not turn.cursor.is_in_the_log():
            return self._values.mark(self._values.keep(value, what), turn.run_uid, 0, kind)
        values = self._reading = self._reading or self._values.reading()
        return values.mark(values.keep(value, what), turn.run_uid, 0, kind)

    def give_up(self, turn: Turn, error: LogError | UnknownCode | Untrusted) -> NoReturn:
        """What the log holds cannot be read here: the run is parked, the flow's code never sees it."""
        reason = (
            "untrusted" if isinstance(error, Untrusted) else "no_code" if isinstance(error, UnknownCode) else "corrupt"
        )
        self._park(reason, str(error))
        turn.cursor.close(Suspended())

    def error(
        self, failure: Failure, uid: str, seq: int, kind: str, otherwise: Callable[[str], DurableError]
    ) -> BaseException:
        return self._values.error(failure, uid, seq, kind, otherwise)

    def hand_over(self, value: Any, name: str) -> None:
        """The flow gets this very object; remember what it looked like."""
        known = digest(value)
        if known is not None:
            self._large.append((value, known, name))

    def check_handed(self, turn: Turn, named: dict[str, Any], step: str) -> None:
        """Park the run when the flow has changed a large result in place: a replay would not see the change."""
        for name, given in named.items():
            for value, known, source in self._large:
                if value is given and digest(value) != known:
                    self._park(
                        "value_changed",
                        f"the result of step `{source}` was changed in place before it was given to step `{step}` as "
                        f"`{name}`, at {calling_line()}; a replay would not see the change: change a copy, or change it "
                        "in a step that returns it",
                    )
                    turn.cursor.close(Suspended())
