"""Which modules are installed and which are first-party, and how to import an object again."""

import os
import site
import sys
import sysconfig
from functools import lru_cache
from types import (
    BuiltinFunctionType,
    FunctionType,
    ModuleType,
)
from typing import Any, Final

from durable_nb.flows.code import Import

CACHED: Final = type(lru_cache(len))


def _folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {site.getusersitepackages()}
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


_FOLDERS: Final = _folders()


def is_installed(module: str) -> bool:
    """Whether a module comes with Python or a package, so that importing it elsewhere gives the same."""
    if module in ("__main__", "__mp_main__"):
        return False
    if module.partition(".")[0] in ("durable_nb", *sys.builtin_module_names):
        return True
    found = sys.modules.get(module)
    return found is not None and _is_installed_at(module, _file_of(found))


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return file
    folders = list(getattr(module, "__path__", None) or ())
    if folders:
        return os.path.join(folders[0], "")
    return getattr(getattr(module, "__spec__", None), "origin", None)


@lru_cache(maxsize=4096)
def _is_installed_at(module: str, file: str | None) -> bool:
    if file is None:
        return False
    if file in ("built-in", "frozen") or not file.endswith((".py", ".pyc", os.sep)):
        return True  # an extension has no source to take
    parts = file.replace("\\", "/").split("/")
    return "site-packages" in parts or "dist-packages" in parts or os.path.realpath(file).startswith(_FOLDERS)


@lru_cache(maxsize=1024)
def version_of(package: str) -> str:
    if package in sys.stdlib_module_names:
        return ""
    import importlib.metadata  # noqa: PLC0415 - 20 ms, and needed only when code that uses other packages is stored

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = getattr(sys.modules.get(package), "__version__", "")
        return version if isinstance(version, str) else ""


def import_of(module: str, path: str = "") -> Import:
    return Import(module, path, version_of(module.partition(".")[0]))


def imported_as(obj: Any) -> Import | None:
    """How to import this very object, if some installed module has it."""
    if isinstance(obj, type | FunctionType | BuiltinFunctionType | CACHED):
        module, path = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
        if isinstance(module, str) and isinstance(path, str) and is_installed(module):
            found: Any = sys.modules.get(module)
            for part in path.split("."):
                found = getattr(found, part, None)
            if found is obj:
                return import_of(module, path)
    home = type(obj).__module__
    if not is_installed(home):
        return None
    # Builtin types without a builtin name, such as NoneType, stand in types.
    homes = ("builtins", "types") if home == "builtins" else (home, home.partition(".")[0])
    for module in dict.fromkeys(homes):
        for name, value in list(vars(sys.modules[module]).items()):
            if value is obj and name != "_":  # the interactive prompt keeps its last result in builtins._
                return import_of(module, name)
    return None
