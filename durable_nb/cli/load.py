"""The flow that `durable run` names: `module:flow`, or `path/to/file.py:flow`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from durable_nb.errors import BadOption
from durable_nb.flows.flow import Flow
from durable_nb.where import failing_line


def split(target: str) -> tuple[str, str]:
    """Module or file, and flow."""
    module, colon, name = target.rpartition(":")
    if not colon or not module or not name:
        raise BadOption(f"{target!r} is not MODULE:FLOW, such as shop:checkout or shop.py:checkout")
    return module, name


def stem(target: str) -> str:
    """What the log of such a run is called when there is none yet: the module's last name."""
    module, _ = split(target)
    return Path(module).stem if _is_file(module) else module.rpartition(".")[2]


def flow_of(target: str) -> Flow[..., Any]:
    """Import the module and take the flow out of it."""
    where, name = split(target)
    see_folder(Path.cwd())
    try:
        module = _file_module(Path(where)) if _is_file(where) else importlib.import_module(where)
    except BadOption:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
            raise BadOption(f"there is no module {error.name!r}, seen from {Path.cwd()}") from error
        raise _broken(where, error) from error
    except Exception as error:  # a module of the user may raise anything while it is imported
        raise _broken(where, error) from error
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Flow):
        flows = ", ".join(sorted(each for each, thing in vars(module).items() if isinstance(thing, Flow)))
        raise BadOption(f"{where} has no flow {name!r}; " + (f"it has {flows}" if flows else "it has none at all"))
    return found


def see_folder(folder: Path) -> None:
    """As `python script.py` does: modules beside the work can be imported."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _is_file(where: str) -> bool:
    return where.endswith(".py")


def _file_module(path: Path) -> ModuleType:
    """The file under its own name, so that it is the same module to those who import it."""
    if not path.is_file():
        raise BadOption(f"there is no file {path}")
    path = path.resolve()
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None:
        raise BadOption(f"{path.name} has the name of a module that is in use, {path.stem}; give it another one")
    see_folder(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _broken(where: str, error: Exception) -> BadOption:
    line = failing_line(error.__traceback__)
    return BadOption(f"{where} cannot be imported: {type(error).__name__}: {error}" + (f" ({line})" if line else ""))
