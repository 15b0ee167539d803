"""A value on its way to another process of the same machine and back, with the source of the classes it names."""

import pickle
from typing import Any

from durable_nb.codec import pickles
from durable_nb.flows.source.travelling import Classes
from durable_nb.stores.shapes import CodeRecord


class _Loose:
    """Where the code lies: beside the value. It comes through a pipe of our own, so nothing is signed."""

    def __init__(self, codes: dict[str, CodeRecord]) -> None:
        self.codes = codes

    def put_code(self, code: CodeRecord) -> None:
        self.codes[code.digest] = code

    def code(self, digest: str) -> CodeRecord | None:
        return self.codes.get(digest)

    def sign_code(self, kind: str, name: str, digest: str) -> str:
        return ""

    def check_code(self, kind: str, name: str, digest: str, document: bytes, mark: str) -> None:
        return None


def pack(value: object, what: str) -> bytes:
    """The value for the other process; Unstorable, naming `what`, when it has no pickle."""
    loose = _Loose({})
    with Classes(loose, loose).taking():
        data = b"".join(pickles.encode(value, what))
    return pickle.dumps((data, loose.codes))


def unpack(parcel: bytes) -> Any:
    """The value again, its classes those that this process has."""
    data, codes = pickle.loads(parcel)
    loose = _Loose(codes)
    with Classes(loose, loose).giving():
        return pickles.decode(data)
