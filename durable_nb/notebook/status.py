"""Bare `%durable`: the state of this notebook in a few lines."""

from durable_nb.notebook.session import Session


def status(session: Session) -> str:
    """The log, what was restored here, what waits."""
    log = session.log
    standing = log.standing()
    sizes = log.app.store.sizes()
    size = sizes.get("file", 0) + sizes.get("wal", 0)
    lines = [f"{log.name} · {size_words(size)}", session.restored.sentence, standing.sentence]
    lines += [f"`{name}` is waited for: %durable ls --status waiting" for name in sorted(standing.needed)]
    return "\n".join(line for line in lines if line)


def size_words(size: float) -> str:
    """'93 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
