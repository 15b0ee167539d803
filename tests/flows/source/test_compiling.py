"""Source text to trees, by several threads at once."""

import ast
import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from durable_nb.flows.source.compiling import parse

TEXT = "\n".join(f"def f{n}(a, b={n}):\n    return [x * (a + b) for x in range({n}) if x > 1]" for n in range(30))


def collected(phase: str, info: dict[str, int]) -> None:
    """Python code in the middle of the parser, where threads change over."""
    sum(range(50))


@pytest.fixture
def restless() -> Iterator[None]:
    """Garbage is collected all the time, and threads change over whenever they can."""
    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(collected)
    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        gc.callbacks.remove(collected)
        gc.set_threshold(*before)
        sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_threads_that_parse_at_once_do_not_spoil_each_other() -> None:
    found: list[object] = []

    def work() -> None:
        try:
            found.extend(len(parse(TEXT).body) for _ in range(20))
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [30] * 80


def test_what_is_no_python_is_refused_at_once() -> None:
    with pytest.raises(SyntaxError):
        parse("def")
    assert isinstance(parse(""), ast.Module)
