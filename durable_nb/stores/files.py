"""The log as a file: what it may lie on, and whether it is still the one that was opened.

Nothing here opens the database file: closing any descriptor of it would drop the locks SQLite holds for this process.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from durable_nb.errors import LogError, LogMissing, LogReadOnly, NetworkFileSystem

_MOUNTS = "/proc/self/mountinfo"
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs"}
    | {"gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)


class Identity(NamedTuple):
    """Which file a path leads to."""

    device: int
    inode: int


def identity(path: str) -> Identity | None:
    """The file at `path`; None when there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return Identity(found.st_dev, found.st_ino)


def size_of(path: str) -> int:
    """Bytes of the file at `path`; 0 when there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def file_system(path: str) -> str:
    """The type of the file system `path` lies on, as the system calls it; "" where it does not say."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
            lines = mounts.read().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].encode("latin-1", "replace").decode("unicode_escape")
        holds = path == point or path.startswith(point.rstrip("/") + "/")
        if holds and len(point) >= len(best):  # the later of two mounts at one place hides the earlier
            best, kind = point, right.split(" ")[0]
    return kind


def refuse_unusable(path: str) -> None:
    """Raise when no log can be kept at `path`, saying why, before SQLite says it in its own words."""
    parent = Path(path).parent
    if not parent.is_dir():
        raise LogMissing(f"there is no folder {parent}; create it first")
    if os.path.isdir(path):
        raise LogError(f"{path} is a folder; name a file in it")
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        raise LogReadOnly(f"{path} cannot be written; change its permissions (chmod u+rw) or copy it")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise LogReadOnly(
            f"{path} cannot be written: its folder {parent} is read-only, and the log needs files beside it"
        )
    kind = file_system(os.path.realpath(path)) if sys.platform == "linux" else ""
    if kind in _NETWORK:
        raise NetworkFileSystem(
            f"{path} lies on a network file system ({kind}), where SQLite can lose data; "
            "put the log on a local disk (DURABLE_NB_LOG or connect(path))"
        )


def refuse_moved(path: str, opened: dict[str, Identity | None]) -> None:
    """Raise LogMissing when a file is not the one it was when the log was opened."""
    for name, before in opened.items():
        now = identity(name)
        if now == before or before is None:
            continue
        what = "was removed" if now is None else "was replaced by another file"
        raise LogMissing(f"{name} {what} while {path} was open; nothing more is written. Open the log again")
