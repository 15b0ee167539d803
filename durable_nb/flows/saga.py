"""Undo what was done, in reverse order, when the flow fails: compensation as steps of the flow itself."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from durable_nb.engine.cursor import Suspended
from durable_nb.engine.mismatch import Mismatch
from durable_nb.errors import BadOption, DurableError
from durable_nb.flows.place import turn_here

_NOT_A_FAILURE = (Suspended, Mismatch, KeyboardInterrupt, GeneratorExit)


class SagaFailed(DurableError):
    """The flow failed and some of its compensations failed too; `failures` holds them."""

    def __init__(self, message: str, failures: list[BaseException]) -> None:
        super().__init__(message)
        self.failures = failures

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.failures)


class Saga:
    """`with Saga() as saga: receipt = charge(…); saga.undo(refund, receipt)`.

    When the block fails, the compensations run in reverse order, each a step; the failure then goes on. A suspension is
    not a failure: nothing is compensated by waiting.
    """

    def __init__(self) -> None:
        turn_here("Saga")
        self._undo: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def undo(self, compensation: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call this, should the block fail later on."""
        if not callable(compensation):
            raise BadOption(f"saga.undo takes a step and its arguments, not {compensation!r}")
        self._undo.append((compensation, args, kwargs))

    def compensate(self) -> list[BaseException]:
        """Run the compensations now, the last one first; returns those that failed."""
        failures: list[BaseException] = []
        while self._undo:
            compensation, args, kwargs = self._undo.pop()
            try:
                compensation(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the other compensations must run all the same
                failures.append(error)
        return failures

    def __enter__(self) -> "Saga":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, _NOT_A_FAILURE):
            return
        failures = self.compensate()
        if failures:
            names = "; ".join(f"{type(failure).__name__}: {failure}" for failure in failures)
            raise SagaFailed(f"{type(error).__name__}: {error} (and compensation failed: {names})", failures) from error
