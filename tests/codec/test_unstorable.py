"""A value that cannot be stored is refused with the way to the part at fault; nothing is changed silently."""

import functools
import io
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_nb.codec.values import decode, encode
from durable_nb.errors import Unstorable
from tests.codec.samples import BadError, Frozen, GoodError, Plain, Slotted

LOCK = threading.Lock()
WHAT = "the result of step `charge`"


def _generator() -> Iterator[int]:
    yield 1


def _refusal(value: Any) -> str:
    with pytest.raises(Unstorable) as caught:
        encode(value, WHAT)
    text = str(caught.value)
    assert text.startswith(f"{WHAT} cannot be stored: ")
    return text.removeprefix(f"{WHAT} cannot be stored: ")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (LOCK, "it is a _thread.lock"),
        (Plain([0, {"lock": LOCK}]), ".value[1]['lock']: _thread.lock"),
        (Frozen((LOCK,)), ".value[0]: _thread.lock"),
        (Slotted([LOCK]), ".value[0]: _thread.lock"),
        ({"a": _generator()}, "['a']: generator"),
        ({LOCK: 1}, ".key(<lock>): _thread.lock"),
        ([1, memoryview(b"")], "[1]: memoryview"),
        (functools.partial(len, LOCK), ".args[0]: _thread.lock"),
        (Plain(sys._getframe()), ".value: frame"),
        ([LOCK].append, ".__self__[0]: _thread.lock"),
    ],
)
def test_part_at_fault_is_named_with_its_path(value: Any, place: str) -> None:
    assert _refusal(value).startswith(place)


def test_closure_and_global_of_a_function_are_named() -> None:
    held = threading.Lock()
    function = lambda: held  # noqa: E731 - a lambda is what people return
    assert _refusal([function]).startswith("[0].closure['held']: _thread.lock")
    scope: dict[str, Any] = {"held": held}
    exec("def f(): return held", scope)
    assert _refusal(scope["f"]).startswith(".globals['held']: _thread.lock")


def test_open_file_is_refused_and_not_turned_into_text(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file:
        assert _refusal({"log": [file]}).startswith(
            "['log'][0]: _io.TextIOWrapper (an open file is tied to this process"
        )


def test_socket_is_refused() -> None:
    with socket.socket() as found:
        assert _refusal([found]).startswith("[0]: socket.socket (cannot pickle")


def test_coroutine_is_refused() -> None:
    async def work() -> None: ...

    coroutine = work()
    assert _refusal([coroutine]).startswith("[0]: coroutine (a coroutine")
    coroutine.close()


def test_file_in_memory_is_stored() -> None:
    found = decode(*encode(io.StringIO("a")))
    assert found.getvalue() == "a"


def test_exception_that_would_not_load_is_refused_at_once() -> None:
    assert "a BadError is pickled as BadError(*args), and that fails" in _refusal(BadError(1, "x"))
    assert same_error(decode(*encode(GoodError("a"))), GoodError("a"))


def same_error(one: BaseException, other: BaseException) -> bool:
    return type(one) is type(other) and one.args == other.args


def test_reducer_that_raises_is_told() -> None:
    class Angry:
        def __reduce__(self) -> str:
            raise ZeroDivisionError("not me")

    assert _refusal([Angry()]).endswith("Angry (not me)")


def test_value_changed_by_another_thread_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from durable_nb.codec import tags

    def changed(value: object) -> None:
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(tags, "encode", changed)
    assert _refusal((1,)) == "it was changed by another thread meanwhile"


def test_cached_function_of_a_notebook_travels(tmp_path: Path) -> None:
    import subprocess

    store = "import functools, sys\nfrom durable_nb.codec.values import encode\n" + (
        "@functools.lru_cache(maxsize=7)\ndef fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "sys.stdout.buffer.write(encode(fib).data)\n"
    )
    data = subprocess.run([sys.executable, "-c", store], capture_output=True, check=True).stdout
    found = decode("pickle", data)
    assert found(30) == 832040
    assert found.cache_parameters() == {"maxsize": 7, "typed": False}


def test_function_and_class_of_a_notebook_travel() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("class K:\n    def __init__(self, v): self.v = v\ndef f(v): return K(v).v + 1", scope)
    assert decode(*encode(scope["f"]))(1) == 2
    assert decode(*encode(scope["K"](3))).v == 3
