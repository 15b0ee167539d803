"""Classes and functions in values: named, kept as source beside them, and refused where only bytecode is there."""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from durable_nb import connect
from durable_nb.codec.values import decode
from durable_nb.errors import Corrupt
from durable_nb.flows.code import Code
from durable_nb.flows.source.capture import capture
from durable_nb.flows.values import Values


@pytest.fixture
def values(tmp_path: Path) -> Iterator[Values]:
    with connect(tmp_path / "log.db", carry=False) as app:
        yield app.values


def around(values: Values, value: object) -> Any:
    """The value as a flow gets it."""
    kept = values.mark(values.keep(value, "it"), "uid", 1, "returned")
    return values.take(kept, "uid", 1, "returned", "it")


def test_classes_that_a_function_makes_stay_apart(values: Values) -> None:
    def make() -> type:
        class Made:
            pass

        return Made

    first, second = make(), make()
    assert [type(one) for one in around(values, [first(), second()])] == [first, second]


def test_function_in_a_value_keeps_what_it_closes_over(values: Values) -> None:
    def make(k: int) -> Any:
        return lambda x: x * k

    found = around(values, {"double": make(2), "triple": make(3)})
    assert (found["double"](4), found["triple"](4)) == (8, 12)


def test_functions_that_share_a_variable_still_do(values: Values) -> None:
    def make() -> Any:
        log: list[int] = []
        return log, log.append, lambda: log

    log, _, given = around(values, make())
    assert given() is log


def test_class_without_source_is_refused_under_another_python(values: Values) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class Typed:\n    def answer(self): return 41", space)
    kept = values.keep(space["Typed"](), "it")
    assert kept.data is not None
    assert around(values, space["Typed"]()).answer() == 41
    here = f"{sys.version_info.major}.{sys.version_info.minor}".encode()
    elsewhere = kept.data.replace(b"bytecode of Python " + here, b"bytecode of Python 3.99", 1)
    with pytest.raises(Corrupt, match=r"as compiled by Python 3\.99, and this is Python 3\.\d+: open the log with"):
        decode("pickle", elsewhere)


def test_digest_of_code_does_not_depend_on_pickled_bytes() -> None:
    def capturing(first: str, second: str) -> Code:
        held = {"a": (Fraction(1, 3), first), "b": (Fraction(1, 3), second)}

        def uses() -> Any:
            return held

        return capture(uses, lambda thing: None)

    word = "".join(["ab"] * 20)
    one, other = capturing(word, word), capturing(word, "".join(["ab"] * 20))
    assert one.document != other.document
    assert one.digest == other.digest
