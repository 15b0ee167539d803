"""A run as one file: a zip of its rows, payloads, code and output, with one mark over all of it."""

import hashlib
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from durable_nb.codec import chunks as pieces
from durable_nb.errors import BadOption, Corrupt, Refused
from durable_nb.flows.code import references
from durable_nb.flows.values import Values
from durable_nb.history.events import Row
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import CodeRecord, Mail, OutputRecord, RunRecord

FORMAT = 1
_TRIES = 20
_TOLD = ("signal", "returned", "raised")  # mail that is worth something elsewhere
_ALWAYS = (2020, 1, 1, 0, 0, 0)  # the same run gives the same file


class About(msgspec.Struct, frozen=True):
    """Whose file it is."""

    format: int
    log: str
    id: str
    uid: str
    flow: str
    version: str | None
    execution: int
    base: int
    status: str
    reason: str | None
    sentence: str | None
    waits: str | None
    code: str
    note: bytes | None


class Payload(msgspec.Struct, frozen=True):
    """A large value: its size and the chunks it is of."""

    digest: str
    size: int
    chunks: list[str]


class Parcel(NamedTuple):
    """What a file holds. `seal` is over the digest of all its parts."""

    about: About
    rows: list[Row]
    mail: list[Mail]
    output: list[OutputRecord]
    codes: list[CodeRecord]
    payloads: list[Payload]
    chunks: dict[str, bytes]
    digest: str
    seal: str


def pack(values: Values, store: Store, record: RunRecord, path: str | os.PathLike[str]) -> None:
    """Write the file; it is there whole or not at all. What is not trusted here is not signed either."""
    record, rows, letters = _as_one(store, record)
    about = About(FORMAT, store.log().uid, *(getattr(record, name) for name in About.__struct_fields__[2:]))
    mail = [one for one in letters if one.kind in _TOLD]
    codes = _codes(store, record)
    payloads: list[Payload] = []
    parts: dict[str, bytes] = {
        "run.json": msgspec.json.format(msgspec.json.encode(about)),
        "rows.jsonl": _lines(rows),
        "mail.jsonl": _lines(mail),
        "output.jsonl": _lines(store.output(record.key)),
        "code.jsonl": _lines(codes),
    }
    for digest in _payloads([*(row.data for row in rows), *(one.value for one in mail), record.note or b""]):
        kept = store.payload(digest)
        if kept is None:
            raise Corrupt(f"the payload {digest} of run {record.id!r} is not in the log")
        size = sum(len(pieces.unpack(data, chunk)) for chunk, data in kept)
        payloads.append(Payload(digest, size, [chunk for chunk, _ in kept]))
        parts |= {f"chunks/{chunk}": data for chunk, data in kept}
    parts["payloads.jsonl"] = _lines(payloads)
    parts["seal"] = values.seal(_digest(parts)).encode() if values.is_trusted else b""
    _write(Path(path), parts)


def _as_one(store: Store, record: RunRecord) -> tuple[RunRecord, list[Row], list[Mail]]:
    """Row, history and mail of the run as they were at one moment: nothing has moved while they were read."""
    for _ in range(_TRIES):
        before, letters = store.run_by_key(record.key), store.mail(record.key)
        rows = store.history(record.key)
        if before is not None and before == store.run_by_key(record.key) and letters == store.mail(record.key):
            return before, rows, letters
    raise Refused(f"run {record.id!r} changes all the time, or is gone; pause it, then export it")


def unpack(path: str | os.PathLike[str]) -> Parcel:
    """Read such a file; nothing in it is decoded. Corrupt when it is none, or was damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        seal = parts.pop("seal").decode()
        about = msgspec.json.decode(parts["run.json"], type=About)
        if about.format != FORMAT:
            raise Corrupt(f"{path} was written by a newer durable_nb (format {about.format}); upgrade durable_nb")
        return Parcel(
            about=about,
            rows=_read(parts["rows.jsonl"], Row),
            mail=_read(parts["mail.jsonl"], Mail),
            output=_read(parts["output.jsonl"], OutputRecord),
            codes=_read(parts["code.jsonl"], CodeRecord),
            payloads=_read(parts["payloads.jsonl"], Payload),
            chunks={name.removeprefix("chunks/"): data for name, data in parts.items() if name.startswith("chunks/")},
            digest=_digest(parts),
            seal=seal,
        )
    except OSError as error:
        raise BadOption(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise Corrupt(f"{os.fspath(path)} is not an exported run, or was damaged: {error}") from error


def _codes(store: Store, record: RunRecord) -> list[CodeRecord]:
    """The flow it is pinned to, what that calls, and the classes of values."""
    found: dict[str, CodeRecord] = {}
    ahead = [store.code(record.code)]
    while ahead:
        code = ahead.pop()
        if code is None or code.digest in found:
            continue
        found[code.digest] = code
        document = msgspec.json.decode(code.document, type=dict[str, msgspec.Raw])["document"]
        ahead += [store.latest_code(kind, name) for kind, name in references(bytes(document))]
    return [*found.values(), *(code for code in store.codes() if code.kind == "class")]


def _payloads(texts: Iterable[bytes]) -> list[str]:
    """The payloads that these wire forms name."""
    found: dict[str, None] = {}
    for text in texts:
        if b'"payload":' in text:
            _collect(msgspec.json.decode(text), found)
    return list(found)


def _collect(node: Any, found: dict[str, None]) -> None:
    if isinstance(node, list):
        for one in node:
            _collect(one, found)
    elif isinstance(node, dict):
        name = node.get("payload")
        if isinstance(name, str) and "size" in node:
            found[name] = None
        for key, one in node.items():
            # A value's own JSON may say what it likes; that of arguments is made of values.
            if key != "json" or node.get("codec") == "arguments":
                _collect(one, found)


def _lines(items: Iterable[Any]) -> bytes:
    return b"".join(msgspec.json.encode(item) + b"\n" for item in items)


def _read(lines: bytes, kind: Any) -> list[Any]:
    return [msgspec.json.decode(line, type=kind) for line in lines.splitlines()]


def _digest(parts: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(parts):
        whole.update(f"{len(name)}:{name}{len(parts[name])}:".encode())
        whole.update(parts[name])
    return whole.hexdigest()


def _write(path: Path, parts: dict[str, bytes]) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(beside, "w") as file:
            for name, data in parts.items():
                how = zipfile.ZIP_STORED if name.startswith("chunks/") else zipfile.ZIP_DEFLATED
                file.writestr(zipfile.ZipInfo(name, _ALWAYS), data, how)
        os.replace(beside, path)
    except OSError as error:
        raise BadOption(f"{path} cannot be written: {error.strerror}") from error
