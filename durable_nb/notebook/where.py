"""Which notebook this kernel belongs to, and where its log would be."""

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG = "DURABLE_NB_LOG"  # set by whoever runs a notebook without a page: then nothing else is asked
SUFFIX = ".durable.db"

_PATIENCE = 5.0  # seconds for an answer of a server on this machine, which may be starting a dozen kernels
_KERNEL = re.compile(r"kernel-(.+)\.json$")


@dataclass(frozen=True, slots=True)
class Found:
    """A log to open, the notebook it belongs to where that is known, and who said so. No log: `why_not` says why."""

    log: str | None  # a path or a URL
    notebook: Path | None
    by: str
    why_not: str = ""


def find(
    argument: str | None = None,
    namespace: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    connection_file: str | None = None,
) -> Found:
    """The log for this kernel. Asked in this order: the environment, the argument, the server, what the kernel was told.

    The server comes before the kernel's own knowledge, which is that of its start: a notebook may have been renamed.
    """
    if environ.get(LOG):
        return Found(environ[LOG], None, LOG)
    if argument:
        return Found(argument, None, "argument")
    names = namespace or {}
    for by, path in (
        ("server", ask_server(connection_file) if connection_file else None),
        ("JPY_SESSION_NAME", _as_notebook(environ.get("JPY_SESSION_NAME"))),
        ("__session__", _as_notebook(names.get("__session__"))),
        ("__vsc_ipynb_file__", _as_notebook(names.get("__vsc_ipynb_file__"))),
    ):
        if path is not None:
            return Found(str(log_beside(path)), path, by)
    return Found(None, None, "nobody", "nothing here says which notebook this kernel belongs to")


def log_beside(notebook: Path) -> Path:
    """The log of a notebook: `report.durable.db` beside `report.ipynb`."""
    return notebook.with_name(notebook.name.removesuffix(".ipynb") + SUFFIX)


def orphans(notebook: Path) -> list[Path]:
    """Logs in its folder whose notebook is gone, newest first: one may be its own, of before it was renamed.

    Empty when it has a log of its own name. Whether one fits, its cells have to say.
    """
    own = log_beside(notebook)
    if own.exists():
        return []
    logs = [one for one in notebook.parent.glob("*" + SUFFIX) if not _notebook_of(one).exists()]
    return sorted(logs, key=lambda one: one.stat().st_mtime, reverse=True)


def ask_server(connection_file: str) -> Path | None:
    """The notebook whose session has this kernel, says the Jupyter server that started it; None when none says so."""
    match = _KERNEL.search(os.path.basename(connection_file))
    if match is None:
        return None
    for server in _servers():
        try:
            sessions = _get(server, "api/sessions")
            for session in sessions:
                if session["kernel"] and session["kernel"]["id"] == match[1]:
                    path = _as_notebook(os.path.join(server["root_dir"], session["path"]))
                    return path if path is not None and path.exists() else None  # other editors make paths up
        except (OSError, ValueError, KeyError, TypeError):  # gone, not ours to ask, or something else altogether
            continue
    return None


def _notebook_of(log: Path) -> Path:
    return log.with_name(log.name.removesuffix(SUFFIX) + ".ipynb")


def _as_notebook(path: Any) -> Path | None:
    """The path when it is one of a notebook: consoles and unsaved pages have other names."""
    if not isinstance(path, str) or not path.endswith(".ipynb") or not os.path.isabs(path):
        return None
    return Path(path)


def _servers() -> Iterator[dict[str, Any]]:
    """What the running servers of this user have written down, that of our parent first."""
    from jupyter_core.paths import jupyter_runtime_dir  # noqa: PLC0415 - a kernel has loaded it, other places need not

    ours = f"jpserver-{os.getppid()}.json"
    files = sorted(Path(jupyter_runtime_dir()).glob("jpserver-*.json"), key=lambda one: (one.name != ours, one.name))
    for file in files:
        try:
            server = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(server, dict) and str(server.get("url", "")).startswith(("http://", "https://")):
            yield server


def _get(server: Mapping[str, Any], what: str) -> Any:
    headers = {"Authorization": f"token {server['token']}"} if server.get("token") else {}
    request = urllib.request.Request(server["url"] + what, headers=headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=_PATIENCE) as answer:
        return json.load(answer)
