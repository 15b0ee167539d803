"""Values on their way into the log and out of it: codec, chunks, signatures, trust."""

import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from durable_nb.codec import values as codec
from durable_nb.codec.chunks import Part, Stream
from durable_nb.codec.digest import digest_bytes
from durable_nb.codec.preview import preview
from durable_nb.codec.sign import Signer
from durable_nb.errors import Corrupt, DurableError, UnknownCode, Unstorable, Untrusted
from durable_nb.flows import payloads
from durable_nb.flows.payloads import LARGE, Kept, Large
from durable_nb.flows.source.travelling import Classes, digest_of
from durable_nb.history import wire
from durable_nb.history.events import Row
from durable_nb.history.failure import Failure
from durable_nb.history.summary import started_of
from durable_nb.history.values import ARGUMENTS, SAFE, Value, inner_values, plain
from durable_nb.stores.shapes import CodeRecord
from durable_nb.where import failing_line

LIMIT = 16 * 1024**3


class _Kept(Kept, Protocol):
    def put_code(self, code: CodeRecord) -> None: ...

    def code(self, digest: str) -> CodeRecord | None: ...


class _Reading(payloads.Reading):
    """What is kept already; nothing is added."""

    def __init__(self, kept: _Kept) -> None:
        super().__init__(kept)
        self.code = kept.code

    def put_code(self, code: CodeRecord) -> None:
        """Not for a replay either."""


class OriginalTraceback(DurableError):
    """Where a logged failure came from, as text: the cause of every exception that is raised from the log."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class Values:
    """One log's values. Everything but plain JSON carries a mark of (log, run, event), checked before decoding."""

    def __init__(self, payloads: Any, signer: Signer, log_uid: str) -> None:
        self._payloads: _Kept = payloads
        self._signer = signer
        self._log = log_uid
        self.is_trusted = True
        self.classes = Classes(payloads, self)

    def reading(self) -> "Values":
        """The same values for code that is only replayed: what it keeps goes nowhere."""
        made = Values(_Reading(self._payloads), self._signer, self._log)
        made.is_trusted = self.is_trusted
        made.classes.now, made.classes.resolve = self.classes.now, self.classes.resolve
        return made

    def keep(self, value: object, what: str, codec_name: str | None = None, large: Large | None = None) -> Value:
        """The value's form in the log, without its mark.

        Large bytes are in the store when this returns; with `large` they are put there instead, for `put_large`.
        """
        with self.classes.taking():
            codec_used, parts = (
                codec.encode_parts(value, what)
                if codec_name is None
                else codec.encode_parts_as(codec_name, value, what)
            )
        size = payloads.size_of(parts)
        if size < LARGE and codec_used == SAFE:
            return plain(b"".join(parts))
        return self._keep_parts(codec_used, parts, what, preview(value), large)

    def _keep_parts(
        self, codec_name: str, parts: Sequence[Part], what: str, shown: str | None, large: Large | None = None
    ) -> Value:
        """What a codec has made of a value, as `keep` does it."""
        size = payloads.size_of(parts)
        if size > LIMIT:
            raise Unstorable(f"{what} is {size / 1024**3:.1f} GiB; the log takes up to {LIMIT // 1024**3} GiB")
        if size < LARGE:
            return Value(codec=codec_name, data=b"".join(parts), size=size, preview=shown)
        if large is None:
            name = payloads.put(self._payloads, parts)
        else:
            name, large_one = payloads.hold(parts)
            large[name] = large_one
        return Value(codec=codec_name, payload=name, size=size, preview=shown)

    def put_large(self, large: Large) -> None:
        """Large values into the store; what is there already is not written again."""
        for name, held in large.items():
            self._payloads.put_payload(name, held.size, held.chunks)

    def keep_arguments(
        self, named: dict[str, Any], what: str, codec_name: str | None = None, large: Large | None = None
    ) -> Value:
        """Arguments by name, each a value of its own, so that a frame handed from step to step is stored once."""
        kept = {
            name: self.keep(value, f"argument `{name}` of {what}", codec_name, large) for name, value in named.items()
        }
        if all(value.is_plain for value in kept.values()):
            whole = msgspec.json.encode({name: value.json for name, value in kept.items()})
            if len(whole) < LARGE and b'"$"' not in b"".join(name.encode() for name in named):
                return plain(whole)
        return Value(codec=ARGUMENTS, json=msgspec.Raw(msgspec.json.encode(kept)))

    def take_arguments(self, value: Value, uid: str, seq: int, kind: str, what: str) -> dict[str, Any]:
        """The arguments by name."""
        if value.codec != ARGUMENTS:
            named: dict[str, Any] = self.take(value, uid, seq, kind, f"the arguments of {what}")
            return named
        return {
            name: self.take(inner, uid, seq, f"{kind}.{name}", f"argument `{name}` of {what}")
            for name, inner in inner_values(value).items()
        }

    def started_with(self, rows: Sequence[Row], uid: str, flow: str) -> dict[str, Any]:
        """The arguments of a run, from its history; Corrupt when that does not begin as every history does."""
        return self.take_arguments(started_of(rows).arguments, uid, rows[0].seq, "started", f"flow `{flow}`")

    def take(self, value: Value, uid: str, seq: int, kind: str, what: str) -> Any:
        """The value itself. Untrusted or Corrupt, naming `what`, when it may or can not be decoded.

        UnknownCode when all it lacks is a class that nobody has here now.
        """
        self.check(value, uid, seq, kind, what)
        try:
            return self._decoded(value.codec, self._bytes_of(value))
        except Corrupt as cause:
            if isinstance(cause.__cause__, UnknownCode):
                raise UnknownCode(f"{what} cannot be read: {cause.__cause__}") from cause
            raise Corrupt(f"{what} cannot be read: {cause}") from cause

    def _bytes_of(self, value: Value) -> bytes | Stream:
        if value.payload is not None:
            return payloads.take(self._payloads, value.payload)
        return value.data if value.data is not None else bytes(value.json)

    def _decoded(self, codec_name: str, data: bytes | Stream) -> Any:
        if codec_name == SAFE:
            return codec.decode(codec_name, data)
        with self.classes.giving():
            return codec.decode(codec_name, data)

    def mark(self, value: Value, uid: str, seq: int, kind: str) -> Value:
        """The value with the mark of its place in the log."""
        if value.codec == SAFE:
            return value
        if value.codec == ARGUMENTS:
            inner = {name: self.mark(one, uid, seq, f"{kind}.{name}") for name, one in inner_values(value).items()}
            return Value(codec=ARGUMENTS, json=msgspec.Raw(msgspec.json.encode(inner)))
        return msgspec.structs.replace(value, mark=self._signer.sign(*self._parts(value, uid, seq, kind)))

    def mark_row(self, row: Row, uid: str) -> Row:
        """The row with every value in it marked; a plain row comes back as it is."""
        if b'"codec":' not in row.data:
            return row
        event = wire.event_of(row)
        changed: dict[str, Any] = {}
        for name in event.__struct_fields__:
            part = getattr(event, name)
            if name == "state":  # which lies beside the run
                changed[name] = {key: self.mark(kept, uid, 0, "state") for key, kept in part.items()}
            elif isinstance(part, Value):
                changed[name] = self.mark(part, uid, row.seq, row.kind)
            elif isinstance(part, Failure) and part.error is not None:
                changed[name] = msgspec.structs.replace(part, error=self.mark(part.error, uid, row.seq, row.kind))
        return wire.row_of(msgspec.structs.replace(event, **changed)) if changed else row

    def check(self, value: Value, uid: str, seq: int, kind: str, what: str) -> None:
        """Untrusted when the value does not carry the mark of this place."""
        if value.codec != SAFE:
            self._check(value, uid, seq, kind, what)

    def check_row(self, row: Row, uid: str) -> None:
        """Untrusted when a value in the row does not carry the mark of this place."""
        if b'"codec":' not in row.data:
            return
        event = wire.event_of(row)
        for name in event.__struct_fields__:
            part = getattr(event, name)
            value = part.error if isinstance(part, Failure) else part
            if isinstance(value, Value) and value.codec != SAFE:
                self._check(value, uid, row.seq, row.kind, f"event {row.seq}")

    def of_log(self, uid: str) -> "Values":
        """For values that another log of this user has signed."""
        return Values(self._payloads, self._signer, uid)

    def seal(self, digest: str) -> str:
        """The mark of a file that leaves the log."""
        return self._signer.sign("export", digest)

    def is_sealed(self, digest: str, seal: str) -> bool:
        """Whether this key has sealed the file."""
        return self._signer.verify(seal, "export", digest)

    def sign_code(self, kind: str, name: str, digest: str) -> str:
        return self._signer.sign(self._log, "code", kind, name, digest)

    def check_code(self, kind: str, name: str, digest: str, document: bytes, mark: str) -> None:
        """Untrusted when this key did not sign the definition, Corrupt when it is not the one that was signed."""
        if not self.is_trusted or not self._signer.verify(
            mark, self._log, "code", kind, name, digest_of(document, digest)
        ):
            raise Untrusted(
                f"the code of {kind} `{name}` was not stored with your key; `durable trust FILE` accepts it"
            )

    def failure(self, error: BaseException) -> Failure:
        """The exception as an outcome; the exception itself is kept where it can be restored."""
        text = _traceback(error)
        name = type(error).__qualname__
        module = type(error).__module__
        return Failure(
            type=name if module in ("builtins", "__main__") else f"{module}.{name}",
            message=_message(error),
            traceback=text[-16_000:],
            where=failing_line(error.__traceback__),
            error=self._restorable(error),
        )

    def error(
        self, failure: Failure, uid: str, seq: int, kind: str, otherwise: Callable[[str], DurableError]
    ) -> BaseException:
        """The exception to raise for a logged failure: the original class when it can be restored."""
        restored: BaseException | None = None
        if failure.error is not None:
            try:
                restored = self.take(failure.error, uid, seq, kind, "the exception")
            except (DurableError, ImportError, AttributeError):
                restored = None
        if not isinstance(restored, BaseException):
            restored = otherwise(failure.sentence)
        restored.__cause__ = OriginalTraceback(failure.traceback) if failure.traceback else None
        return restored

    def _restorable(self, error: BaseException) -> Value | None:
        try:
            kept = self.keep(error, "the exception")
            taken = self._decoded(kept.codec, kept.data) if kept.data is not None else None
        except Exception:  # noqa: BLE001 - an exception that cannot be stored is told by type, message and traceback
            return None
        if not isinstance(taken, BaseException) or _message(taken) != _message(error):
            return None
        # Its class may have been defined again since: by name it is the same.
        return kept if _name(type(taken)) == _name(type(error)) else None

    def _check(self, value: Value, uid: str, seq: int, kind: str, what: str) -> None:
        if not self.is_trusted:
            raise Untrusted(
                f"{what} is stored as {value.codec} in a log from elsewhere; `durable trust FILE` accepts it"
            )
        if value.mark is None or not self._signer.verify(value.mark, *self._parts(value, uid, seq, kind)):
            raise Untrusted(f"{what} ({value.codec}) was not stored with your key; `durable trust FILE` accepts it")

    def _parts(self, value: Value, uid: str, seq: int, kind: str) -> tuple[str, ...]:
        name = value.payload or digest_bytes(value.data or b"")
        return (self._log, uid, str(seq), kind, value.codec, name)


def _name(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _traceback(error: BaseException) -> str:
    """The traceback as text; of a failure that came out of the log, where it first was and where it came again."""
    if isinstance(error.__cause__, OriginalTraceback):
        again = "".join(traceback.format_exception(error, chain=False))
        return f"{error.__cause__.args[0]}\nwhich the flow raised again:\n\n{again}"
    return "".join(traceback.format_exception(error))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - a broken __str__ must not hide the failure
        return f"<its message could not be read: {broken!r}>"
