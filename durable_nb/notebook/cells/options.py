"""The options of pandas and matplotlib, read and set without loading a library that nobody has loaded."""

import importlib
import sys
import warnings
from typing import Any, Final

_OF_THE_PROCESS: Final = frozenset({"backend", "backend_fallback", "interactive", "toolbar", "timezone", "datapath"})
_CYCLER: Final = "cycler"


def pandas_options() -> dict[str, Any] | None:
    """Every option by its full name, None while pandas is not loaded."""
    config = _pandas_config()
    return None if config is None else _flat(config._global_config, "")


def pandas_defaults() -> dict[str, Any]:
    config = _pandas_config()
    return {} if config is None else {name: one.defval for name, one in config._registered_options.items()}


def set_pandas(options: dict[str, Any]) -> None:
    pandas = importlib.import_module("pandas")
    for name, value in options.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an option on its way out warned its user when it was set
            pandas.set_option(name, value)


def _pandas_config() -> Any:
    pandas = sys.modules.get("pandas")
    return getattr(getattr(pandas, "_config", None), "config", None)


def _flat(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[prefix + name] = value
    return found


def matplotlib_options() -> dict[str, Any] | None:
    """rcParams without what belongs to this kernel, None while matplotlib is not loaded."""
    matplotlib = sys.modules.get("matplotlib")
    return _of_user(matplotlib.rcParams) if matplotlib is not None and hasattr(matplotlib, "rcParams") else None


def matplotlib_defaults() -> dict[str, Any]:
    """As they are after loading: the user's matplotlibrc is part of that."""
    return _of_user(sys.modules["matplotlib"].rcParamsOrig)


def _of_user(params: Any) -> dict[str, Any]:
    return {name: value for name, value in dict.items(params) if name not in _OF_THE_PROCESS}


def set_matplotlib(options: dict[str, Any]) -> None:
    params: Any = importlib.import_module("matplotlib").rcParams
    cycler = importlib.import_module("cycler").cycler
    for name, value in options.items():
        is_cycler = isinstance(value, dict) and set(value) == {_CYCLER}
        params[name] = cycler(**value[_CYCLER]) if is_cycler else value


def plain(value: Any) -> Any:
    """An option in the form in which it is written."""
    if type(value).__name__ == "Cycler":
        return {_CYCLER: {name: list(items) for name, items in value.by_key().items()}}
    return value


def are_equal(before: Any, now: Any) -> bool:
    """Whether an option has not changed; a comparison that fails says no."""
    if before is now:
        return True
    if type(before).__module__.partition(".")[0] == "numpy" or type(now).__module__.partition(".")[0] == "numpy":
        return repr(before) == repr(now)
    return bool(type(before) is type(now) and before == now)
