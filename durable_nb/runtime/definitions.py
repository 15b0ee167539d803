"""Where code comes from: what this process has defined, else the source in the log. And how it gets there."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from durable_nb.codec.digest import digest_bytes
from durable_nb.errors import Corrupt, DurableError, Uncapturable, UnknownCode, Untrusted
from durable_nb.flows import registry
from durable_nb.flows.code import Code, is_bundle, references
from durable_nb.flows.flow import Flow
from durable_nb.flows.host import StartOptions
from durable_nb.flows.place import turn_or_none
from durable_nb.flows.policy import NEVER
from durable_nb.flows.queue import NO_KEYS, Keys, queue_of
from durable_nb.flows.source.bundle import bundle
from durable_nb.flows.source.capture import capture_watched
from durable_nb.flows.source.identity import refer
from durable_nb.flows.source.restore import restore
from durable_nb.flows.source.travelling import digest_of
from durable_nb.flows.source.watched import Watched
from durable_nb.flows.step import Step
from durable_nb.flows.values import Values
from durable_nb.runtime.given import Given, given_of, options_of, policy, with_policy
from durable_nb.stores.protocol import Store
from durable_nb.stores.shapes import CodeRecord, RunRecord

_logger = logging.getLogger("durable_nb.definitions")


class _Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the log keeps of a definition: its code document, and the options it was defined with."""

    document: msgspec.Raw
    given: Given = Given()


class Late:
    """A step or flow in restored code: whatever has its name when it is called, which may be defined, or restored, only then.

    Where there is none the run is parked: that a process lacks code is nothing a flow could handle.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        self._look = find

    def _find(self) -> Any:
        try:
            return self._look()
        except (UnknownCode, Untrusted, Corrupt) as error:
            turn = turn_or_none()
            if turn is None:
                raise
            turn.reader.give_up(turn, error)
            raise AssertionError("the turn is over") from error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._find()(*args, **kwargs)

    def __getitem__(self, id: str) -> Any:
        return self._find()[id]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else self._find().__get__(instance, owner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)


class Definitions:
    """The code of one log's runs."""

    def __init__(self, store: Store, values: Values, now: Callable[[], float]) -> None:
        self._now = now
        self._store = store
        self._values = values
        self._captured: dict[tuple[str, int], tuple[Any, Code, Watched]] = {}
        self._latest: dict[tuple[str, str], str] = {}  # what we have put last of each name
        self._reached: dict[str, list[tuple[Step[..., Any], str | None]]] = {}  # by the digest of a flow
        self._restored: dict[str, Any] = {}
        self._from_store: dict[Callable[..., Any], str] = {}  # functions of restored flows, and their digests
        values.classes.now, values.classes.resolve = now, self._resolve

    def pin(self, flow: Flow[..., Any]) -> str:
        """The digest of the flow's present code, in the log when this returns with all flows and steps it can reach."""
        stored = self._from_store.get(flow.function)
        if stored is not None:
            return stored
        code = self._capture("flow", flow.name, _root(flow))
        if code.missing:
            names = "; ".join(f"`{gap.name}` ({gap.why})" for gap in code.missing)
            raise Uncapturable(f"flow `{flow.name}` uses what cannot travel with it: {names}. Make it inside a step")
        if self._latest.get(("flow", flow.name)) != code.digest:
            self._put("flow", flow.name, code.digest, _Envelope(msgspec.Raw(code.document)))
        if not self._is_put(code):
            self._reached[code.digest] = []
            self._put_reached(code, self._reached[code.digest])
        return code.digest

    def code(self, record: RunRecord) -> tuple[Flow[..., Any], bool]:
        """The flow a turn of the run works with, and whether its code is another than the run is pinned to.

        This process's definition if it is the pinned one; also when it is importable and has changed, for then the
        old code is gone for everybody and the caller must see whether the new one fits. Else the source in the log.
        """
        flow = self.registered(record)
        if flow is not None:
            if self._capture("flow", flow.name, _root(flow)).digest == record.code:
                return flow, False
            if _is_importable(flow):
                return flow, True
        return self.pinned(record), False

    def registered(self, record: RunRecord) -> Flow[..., Any] | None:
        """The flow of that name in this process."""
        flow = registry.lookup("flow", record.flow)
        if not isinstance(flow, Flow):
            return None
        return flow

    def newest_flow(self, record: RunRecord) -> Flow[..., Any]:
        """What the next execution of the run works with."""
        return self.flow(record.flow)

    def newest(self, record: RunRecord) -> str | None:
        """The digest of this process's definition of the flow, where it is another one than the run's."""
        flow = self.registered(record)
        if flow is None:
            return None
        digest = self.pin(flow)
        return digest if digest != record.code else None

    def step(self, name: str) -> Step[..., Any]:
        """The step of that name: registered here, else the newest in the log."""
        found = registry.lookup("step", name)
        if isinstance(found, Step):
            return found
        record = self._store.latest_code("step", name)
        if record is None:
            raise UnknownCode(
                f"step `{name}` is not defined here and its code is not in the log: run its cell or import its module"
            )
        restored: Step[..., Any] = self._restore(record)
        return restored

    def policy(self, step: Step[..., Any]) -> bytes:
        """The options of one call, for whoever performs it; empty where they are those that the step was defined with."""
        known = registry.lookup("step", step.name)
        is_as_defined = isinstance(known, Step) and (known is step or known.options_ == step.options_)
        return b"{}" if is_as_defined else policy(step.options_)

    def step_of(self, name: str, policy: bytes, run: RunRecord) -> Step[..., Any]:
        """The step of that name, with the options of one call of the run."""
        try:
            step = self.step(name)
        except UnknownCode:
            with suppress(DurableError):
                self.code(run)  # the steps of an installed package are defined when its flow's code imports it
            step = self.step(name)
        if policy == b"{}":
            return step
        return Step(step.function, step.name, with_policy(step.options_, policy), step.instance, step.owner)

    def flow(self, name: str) -> Flow[..., Any]:
        """The newest flow of that name: registered here, else the newest in the log."""
        found = registry.lookup("flow", name)
        if isinstance(found, Flow):
            return found
        record = self._store.latest_code("flow", name)
        if record is None:
            raise UnknownCode(
                f"flow `{name}` is not defined here and its code is not in the log: run its cell or import its module"
            )
        restored: Flow[..., Any] = self._restore(record)
        return restored

    def unknown_steps(self, record: RunRecord) -> list[str]:
        """What is said of every step that the run's stored code names and nobody has."""
        stored = self._store.code(record.code)
        names = [] if stored is None else [name for kind, name in references(_read(stored).document) if kind == "step"]
        said: list[str] = []
        for name in names:
            try:
                self.step(name)
            except UnknownCode as error:
                said.append(str(error))
        return said

    def pinned(self, record: RunRecord) -> Flow[..., Any]:
        """The flow as the run is pinned to it, from the log."""
        stored = self._store.code(record.code)
        if stored is None:
            raise UnknownCode(
                f"the code of flow `{record.flow}` is not in the log: run its cell or import its module, then resume"
            )
        flow: Flow[..., Any] = self._restore(stored)
        return flow

    def _restore(self, record: CodeRecord) -> Any:
        known = self._restored.get(record.digest)
        if known is not None:
            return known
        self._values.check_code(record.kind, record.name, record.digest, record.document, record.mark)
        envelope = _read(record)
        try:
            with registry.quietly():
                made = self._made(record, envelope)
        except Corrupt as error:  # a constant in the code may be of a class that nobody has here now
            if isinstance(error.__cause__, UnknownCode):
                raise error.__cause__ from None
            raise
        self._restored[record.digest] = made
        if isinstance(made, Flow):
            self._from_store[made.function] = record.digest
        return made

    def _made(self, record: CodeRecord, envelope: _Envelope) -> Any:
        document = bytes(envelope.document)
        function = restore(document, self._resolve)
        if record.kind == "flow":
            owner, function = function() if is_bundle(document) else (None, function)
            return Flow(function, record.name, StartOptions(), owner)
        if not is_bundle(document):
            return Step(function, record.name, options_of(envelope.given, NEVER.retry_on, NEVER.give_up_on))
        function, retry_on, give_up_on, owner, *keys = function()
        options = options_of(envelope.given, retry_on, give_up_on, Keys(*keys))
        return Step(function, record.name, options, owner=owner)

    def _resolve(self, kind: str, name: str) -> object:
        if kind == "step":
            return Late(lambda: self.step(name))
        return Late(lambda: self.flow(name))

    def _capture(self, kind: str, name: str, function: Callable[..., Any]) -> Code:
        key = (kind, id(function))
        known = self._captured.get(key)
        if known is not None and known[0] is function and known[2].is_current():
            return known[1]
        code, watched = capture_watched(function, refer)
        self._captured[key] = (function, code, watched)
        return code

    def _put(self, kind: str, name: str, digest: str, envelope: _Envelope) -> None:
        document = msgspec.json.encode(envelope)
        mark = self._values.sign_code(kind, name, digest_of(document, digest))
        self._store.put_code(CodeRecord(kind, name, digest, document, mark, self._now()))
        self._latest[kind, name] = digest

    def _is_put(self, code: Code) -> bool:
        """Whether the steps this code reaches are in the log as they are now; asked at every start, so quickly."""
        known = self._reached.get(code.digest)
        return known is not None and all(
            registry.lookup("step", step.name) is step and self._digest_of(step) == digest for step, digest in known
        )

    def _put_reached(self, code: Code, reached: list[tuple[Step[..., Any], str | None]]) -> None:
        """Every step the code names, and what those name, as far as this process knows them."""
        for kind, name in references(code.document):
            step = registry.lookup(kind, name)
            if isinstance(step, Flow):
                self._pin_child(step)
            if not isinstance(step, Step) or any(step is one for one, _ in reached):
                continue
            reached.append((step, self._digest_of(step)))
            portable = self._portable(step)
            if portable is None:
                continue
            envelope = _step_envelope(step, portable)
            digest = digest_bytes(portable.digest.encode() + msgspec.json.encode(envelope.given))
            if self._latest.get(("step", name)) != digest:
                self._put("step", name, digest, envelope)
            self._put_reached(portable, reached)

    def _pin_child(self, flow: Flow[..., Any]) -> None:
        """A flow that the code may call. What cannot travel fails where it is called, if it is."""
        try:
            self.pin(flow)
        except DurableError as error:
            _logger.info("flow %r does not travel: %s", flow.name, error)

    def _digest_of(self, step: Step[..., Any]) -> str | None:
        code = self._portable(step)
        return None if code is None else code.digest

    def _portable(self, step: Step[..., Any]) -> Code | None:
        """The step's code, or None for a kernel-bound step: one that runs only where it is defined."""
        try:
            code = self._capture("step", step.name, _step_root(step))
        except DurableError:
            return None
        return None if code.missing else code


def _is_importable(flow: Flow[..., Any]) -> bool:
    """True for a flow of a module's file; what a cell or a script has defined may be defined again at any time."""
    function = flow.function
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    return function.__module__ != "__main__" and file is not None and function.__code__.co_filename == file


def _root(flow: Flow[..., Any]) -> Callable[..., Any]:
    """The function to capture. Of a method flow, one that gives the class and the method's plain function."""
    if flow.owner is None:
        return flow.function
    return _bundled("method_flow", flow.owner.__module__, owner=flow.owner, function=flow.function)


def _step_root(step: Step[..., Any]) -> Callable[..., Any]:
    """The function to capture. With classes of errors or of its own, or a queue's key, one that gives them too."""
    retry = step.options_.retry
    queue = queue_of(step.options_.queue)
    keys = queue.keys if queue is not None else step.options_.keys
    is_usual = (retry.retry_on, retry.give_up_on) == (NEVER.retry_on, NEVER.give_up_on)
    if keys == NO_KEYS and step.owner is None and is_usual:
        return step.function
    return _bundled(
        "step_and_errors",
        str(getattr(step.function, "__module__", "__main__")),
        function=step.function,
        retry_on=retry.retry_on,
        give_up_on=retry.give_up_on,
        owner=step.owner,
        key=keys.key,
        dedup=keys.dedup,
    )


def _bundled(name: str, module: str, **content: Any) -> Callable[..., Any]:
    """Always the same function for the same content, so that it is captured once."""
    key = (name, *content.values())
    if key not in _bundles:
        _bundles[key] = bundle(name, module, **content)
    return _bundles[key]


_bundles: dict[tuple[Any, ...], Callable[..., Any]] = {}


def _step_envelope(step: Step[..., Any], code: Code) -> _Envelope:
    return _Envelope(msgspec.Raw(code.document), given_of(step.options_))


def _read(record: CodeRecord) -> _Envelope:
    try:
        return msgspec.json.decode(record.document, type=_Envelope)
    except msgspec.MsgspecError as cause:
        raise Corrupt(f"the stored code of {record.kind} `{record.name}` cannot be read: {cause}") from cause
