"""The other side of an isolated step: `python -m durable_nb.runtime.child FD` reads an order and writes one answer."""

import asyncio
import os
import pickle
import sys
import traceback

import cloudpickle

from durable_nb.engine.turn import place
from durable_nb.errors import StepFailed, Unstorable
from durable_nb.flows import registry
from durable_nb.flows.place import StepPlace
from durable_nb.flows.restore import restore


def main() -> None:
    order = sys.stdin.buffer.read()
    answer = _answer(order)
    with os.fdopen(int(sys.argv[1]), "wb") as pipe:
        pipe.write(answer)


def _answer(order: bytes) -> bytes:
    try:
        return _value_answer(order)
    except BaseException as error:  # noqa: BLE001 - whatever the body raises is its outcome
        failure: BaseException = error
    text = "".join(traceback.format_exception(failure))
    failure.__cause__ = failure.__context__ = None
    try:
        answer = bytes(cloudpickle.dumps((False, failure)))
        pickle.loads(answer)
        return answer
    except Exception:  # noqa: BLE001 - an exception that cannot travel is told in words
        return pickle.dumps((False, StepFailed(f"{type(failure).__name__}: {failure}\n{text}")))


def _value_answer(order: bytes) -> bytes:
    path, document, is_async, args, kwargs, where = pickle.loads(order)
    sys.path[:] = path
    with registry.quietly():
        body = restore(document, lambda kind, name: registry.lookup(kind, name))
    id, uid, execution, ask, name, attempt = where
    place.set(StepPlace(id, uid, execution, ask, name, attempt, lambda ask: 0))
    result = body(*args, **kwargs)
    value = asyncio.run(result) if is_async else result
    try:
        return bytes(cloudpickle.dumps((True, value)))
    except (TypeError, pickle.PicklingError, RecursionError) as cause:
        raise Unstorable(f"the result of step `{name}` cannot leave its process: {cause}") from cause


if __name__ == "__main__":
    main()
