"""What cells set in the process beside their variables: environment, folder, import path, chance, options.

A snapshot before and after gives the difference, which is kept with the outcome and set again when that is restored.
It is never a reason to run again. Values of the environment that look like secrets are named and not kept.
"""

import os
import random
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from durable_nb.codec import tags
from durable_nb.codec.plain import dumps, loads
from durable_nb.notebook.cells import options

_SECRET_NAME: Final = re.compile(
    r"key|token|secret|passw|pwd|credential|auth|cookie|session|private|dsn|signature|_pat$|^pat_", re.IGNORECASE
)
_SECRET_VALUE: Final = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|^(?:gh[pousr]_|github_pat_|sk-|xox[abp]-|AKIA|eyJ|glpat-|hf_)|-----BEGIN"
)


class Process(NamedTuple):
    """The state of the process at one time; None for libraries that are not loaded."""

    environ: dict[str, str]
    folder: str
    path: tuple[str, ...]
    random: Any
    numpy: Any
    pandas: dict[str, Any] | None
    matplotlib: dict[str, Any] | None


def snapshot() -> Process:
    """The state now; 0.1 ms."""
    folder = ""
    with suppress(OSError):
        folder = os.getcwd()
    numpy_random = sys.modules.get("numpy.random")
    return Process(
        environ=dict(os.environ),
        folder=folder,
        path=tuple(map(str, sys.path)),
        random=random.getstate(),
        numpy=numpy_random.get_state() if numpy_random is not None else None,
        pandas=options.pandas_options(),
        matplotlib=options.matplotlib_options(),
    )


def difference(before: Process, after: Process, earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What changed, as plain JSON. What the cell set `earlier` and finds set is kept: it would have set it now.

    `unkept` names what cannot be kept, each with the reason.
    """
    unkept: dict[str, str] = {}
    found: dict[str, Any] = {
        "environ": _environ(before.environ, after.environ, unkept),
        "folder": after.folder if after.folder != before.folder else None,
        "path": _path(before.path, after.path),
        "random": _packed(after.random) if after.random != before.random else None,
        "numpy": _numpy(before.numpy, after.numpy),
    }
    for name, defaults in _LIBRARIES.items():
        was, now = getattr(before, name), getattr(after, name)
        if now is not None:
            found[name] = _options(name, defaults() if was is None else was, now, unkept)
    found = {name: value for name, value in found.items() if value}
    _go_on(found, earlier or {}, after)
    return found | ({"unkept": unkept} if unkept else {})


def apply(changes: Mapping[str, Any]) -> list[str]:
    """Set it again; sentences about what could not be."""
    failed: list[str] = []
    for name, value in changes.get("environ", {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    path = changes.get("path", {})
    for entry in path.get("removed", ()):
        if entry in sys.path:
            sys.path.remove(entry)
    for place, entry in path.get("added", ()):
        if entry not in sys.path:
            sys.path.insert(place if place >= 0 else len(sys.path), entry)
    for name, setter in _SETTERS.items():
        if name in changes:
            _try(name, setter, changes[name], failed)
    return failed


def _try(name: str, setter: Callable[[Any], None], value: Any, failed: list[str]) -> None:
    try:
        setter(value)
    except Exception as error:  # noqa: BLE001 - options of other versions of a library; the cell is restored all the same
        failed.append(f"{_SAID[name]} could not be set again: {error}")


# what changed


def _environ(before: dict[str, str], after: dict[str, str], unkept: dict[str, str]) -> dict[str, str | None]:
    changed: dict[str, str | None] = {}
    for name in sorted({*before, *after}):
        value = after.get(name)
        if value == before.get(name):
            continue
        if value is not None and is_secret(name, value):
            unkept[f"environment variable {name}"] = "it looks like a secret; set it again after a restart"
        else:
            changed[name] = value
    return changed


def is_secret(name: str, value: str) -> bool:
    """Whether a value of the environment must not be written anywhere."""
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))


def _path(before: tuple[str, ...], after: tuple[str, ...]) -> dict[str, Any]:
    if before == after:
        return {}
    added = [[place if place < len(before) else -1, entry] for place, entry in enumerate(after) if entry not in before]
    removed = [entry for entry in before if entry not in after]
    return {name: value for name, value in (("added", added), ("removed", removed)) if value}


def _numpy(before: Any, after: Any) -> Any:
    if after is None or _packed_numpy(after) == (None if before is None else _packed_numpy(before)):
        return None
    return _packed_numpy(after)


def _packed_numpy(state: Any) -> list[Any]:
    name, keys, *rest = state
    return [name, keys.tobytes().hex(), *(part.item() if hasattr(part, "item") else part for part in rest)]


def _packed(state: Any) -> list[Any]:
    version, numbers, rest = state
    return [version, list(numbers), rest]


def _options(library: str, before: dict[str, Any], after: dict[str, Any], unkept: dict[str, str]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, value in after.items():
        if name in before and options.are_equal(before[name], value):
            continue
        try:
            text, needs_classes = tags.encode(options.plain(value))
        except (tags.NotTaggable, RecursionError):
            needs_classes = True
        if needs_classes:
            unkept[f"{library} option {name}"] = f"a {type(value).__name__} cannot be written as JSON"
        else:
            changed[name] = loads(text)
    return changed


def _go_on(found: dict[str, Any], earlier: Mapping[str, Any], after: Process) -> None:
    """Take over what the same cell set before, where it still stands."""
    states: dict[str, Any] = {"environ": after.environ, "pandas": after.pandas, "matplotlib": after.matplotlib}
    for kind, state in states.items():
        for name, value in earlier.get(kind, {}).items():
            now = (state or {}).get(name)
            stands = now == value if kind == "environ" else options.are_equal(options.plain(now), _value_of(value))
            if stands and name not in found.get(kind, {}):
                found.setdefault(kind, {})[name] = value
    if "folder" not in found and earlier.get("folder") == after.folder:
        found["folder"] = after.folder
    added = [item for item in earlier.get("path", {}).get("added", []) if item[1] in after.path]
    if added and "path" not in found:
        found["path"] = {"added": added}


def _value_of(plain: Any) -> Any:
    return tags.decode(dumps(plain), with_classes=False)


# setting it again


def _set_numpy(plain: list[Any]) -> None:
    import numpy  # noqa: PLC0415 - the cell that is restored has used it

    name, keys, *rest = plain
    numpy.random.set_state((name, numpy.frombuffer(bytes.fromhex(keys), numpy.uint32), *rest))


def _set_random(plain: list[Any]) -> None:
    version, numbers, rest = plain
    random.setstate((version, tuple(numbers), rest))


def _set_pandas(plain: dict[str, Any]) -> None:
    options.set_pandas({name: _value_of(value) for name, value in plain.items()})


def _set_matplotlib(plain: dict[str, Any]) -> None:
    options.set_matplotlib({name: _value_of(value) for name, value in plain.items()})


_LIBRARIES: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "pandas": options.pandas_defaults,
    "matplotlib": options.matplotlib_defaults,
}
_SETTERS: Final[dict[str, Callable[[Any], None]]] = {
    "folder": os.chdir,
    "random": _set_random,
    "numpy": _set_numpy,
    "pandas": _set_pandas,
    "matplotlib": _set_matplotlib,
}
_SAID: Final = {
    "folder": "the working folder",
    "random": "the state of random",
    "numpy": "the state of numpy.random",
    "pandas": "the options of pandas",
    "matplotlib": "the options of matplotlib",
}
