"""The user's key and the marks made with it: what carries a good mark was written by this user."""

import hmac
import os
import secrets
import stat
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

from durable_nb.errors import BadOption, Untrusted

_SHORTEST: Final = 16
_MARK_BYTES: Final = 16


class Signer:
    """Makes and checks marks; a mark is 32 hex digits of HMAC-SHA-256 over all parts, each with its length and kind."""

    __slots__ = ("_keyed", "fingerprint")

    def __init__(self, key: bytes) -> None:
        if len(key) < _SHORTEST:
            raise BadOption(f"a key has at least {_SHORTEST} characters; `durable key export` shows a good one")
        self._keyed = hmac.new(key, digestmod="sha256")  # copied for each mark: the key is hashed once
        self.fingerprint: str = sha256(b"durable_nb key\0" + key).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"<Signer {self.fingerprint}>"

    def sign(self, *parts: str | bytes) -> str:
        """The mark of these parts in this order."""
        # Lengths make ("ab", "c") and ("a", "bc") differ; the letter keeps text and bytes apart.
        pieces = [
            f"s{len(part)}:{part}".encode("utf-8", "surrogatepass")
            if isinstance(part, str)
            else b"b%d:%b" % (len(part), part)
            for part in parts
        ]
        mark = self._keyed.copy()
        mark.update(b"".join(pieces))
        return mark.digest()[:_MARK_BYTES].hex()

    def verify(self, mark: str, *parts: str | bytes) -> bool:
        """Whether the mark was made from these parts with this key."""
        return mark.isascii() and hmac.compare_digest(mark, self.sign(*parts))


def load_signer() -> Signer:
    """The signer of this user; the key is made at the first use."""
    return Signer(_key_of(export_key()))


def export_key() -> str:
    """The key as text, from DURABLE_NB_KEY, the file DURABLE_NB_KEY_FILE, or the user's data folder."""
    text = os.environ.get("DURABLE_NB_KEY")
    if text is not None:
        return _checked(text, "DURABLE_NB_KEY")
    path = key_path()
    try:
        return _read(path)
    except FileNotFoundError:
        if "DURABLE_NB_KEY_FILE" in os.environ:
            # A mistyped path must not give a new key under which every log looks foreign.
            raise BadOption(f"DURABLE_NB_KEY_FILE names {path}, which does not exist") from None
    _create(path, secrets.token_hex(32))
    return _read(path)


def import_key(text: str, *, force: bool = False) -> None:
    """Make `text` the user's key; a different one is overwritten only with `force`, for its logs turn foreign."""
    if "DURABLE_NB_KEY" in os.environ:
        raise BadOption("DURABLE_NB_KEY is set and would hide the imported key; unset it first")
    key, path = _checked(text, "the key to import"), key_path()
    if not force:
        try:
            kept = _read(path)
        except FileNotFoundError:
            _create(path, key)
            kept = _read(path)
        if _key_of(kept) != _key_of(key):
            raise BadOption(
                f"{path} holds another key; logs signed with it would need `durable trust`. force=True replaces it"
            )
        return
    os.replace(_write_beside(path, key), path)


def key_path() -> Path:
    """Where the key lies when DURABLE_NB_KEY does not carry it."""
    named = os.environ.get("DURABLE_NB_KEY_FILE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return folder / "durable_nb" / "key"


def _checked(text: str, origin: str) -> str:
    text = text.strip()
    if len(text) < _SHORTEST:
        raise BadOption(f"{origin} has {len(text)} characters; a key has at least {_SHORTEST}")
    return text


def _key_of(text: str) -> bytes:
    """Hex digits in either case are the same key; any other text is taken as it is."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    return key if len(key) >= _SHORTEST else text.encode("utf-8", "surrogateescape")


def _read(path: Path) -> str:
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        if os.name == "posix" and stat.S_IMODE(about.st_mode) & 0o077:
            raise Untrusted(
                f"other users can reach the key file {path} (mode {stat.S_IMODE(about.st_mode):o}), so it vouches for"
                f" nothing; run `chmod 600 {path}`, or give it a new key if somebody may have read it"
            )
        raw = file.read()
    try:
        return _checked(raw.decode(), f"the key file {path}")
    except UnicodeDecodeError:
        raise BadOption(f"the key file {path} holds no text") from None


def _create(path: Path, text: str) -> None:
    """Put the key there unless somebody else just did: a link is made whole or not at all, and the first one wins."""
    written = _write_beside(path, text)
    try:
        os.link(written, path)
    except FileExistsError:
        return
    except OSError:  # no hard links on this file system: still the first one wins, but a reader may come too early
        _write_first(path, text)
    finally:
        written.unlink()


def _write_first(path: Path, text: str) -> None:
    try:
        _write_new(path, text)
    except FileExistsError:
        return


def _write_beside(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    _write_new(beside, text)
    return beside


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
