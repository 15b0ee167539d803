"""The other side of an isolated step: `python -m durable_nb.runtime.child FD` reads an order and writes one answer."""

import asyncio
import os
import pickle
import sys
import traceback

from durable_nb.engine.turn import place
from durable_nb.errors import StepFailed
from durable_nb.flows import registry
from durable_nb.flows.place import StepPlace
from durable_nb.flows.source.parcel import pack, unpack
from durable_nb.flows.source.restore import restore


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
        answer = pack((False, failure), "the failure")
        unpack(answer)
        return answer
    except Exception:  # noqa: BLE001 - an exception that cannot travel is told in words
        return pack((False, StepFailed(f"{type(failure).__name__}: {failure}\n{text}")), "the failure")


def _value_answer(order: bytes) -> bytes:
    path, document, is_async, given, where = pickle.loads(order)
    sys.path[:] = path
    with registry.quietly():
        body = restore(document, lambda kind, name: registry.lookup(kind, name))
    args, kwargs = unpack(given)  # after the body, whose classes these are
    id, uid, execution, ask, name, attempt = where
    place.set(StepPlace(id, uid, execution, ask, name, attempt, lambda ask: 0))
    result = body(*args, **kwargs)
    value = asyncio.run(result) if is_async else result
    return pack((True, value), f"the result of step `{name}`")


if __name__ == "__main__":
    main()
