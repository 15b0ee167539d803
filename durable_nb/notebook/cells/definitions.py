"""Functions, classes and modules as parts of a digest: by their normalised source, and what they hold besides it."""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from durable_nb.flows.code import write
from durable_nb.flows.flow import Flow
from durable_nb.flows.source import fingerprint, known
from durable_nb.flows.source.classes import set_beside
from durable_nb.flows.source.compiling import names_read
from durable_nb.flows.source.packages import CACHED, is_installed
from durable_nb.flows.source.texts import Left, bound_by, find_class, find_function, own_functions
from durable_nb.flows.source.watched import content_of, own_names
from durable_nb.flows.step import Step

_MOST_TEXTS: Final = 10_000
_HERE: Final = ("__main__", "__mp_main__")


class Uncomparable(Exception):
    """The value has no digest; the text says why."""


class Walk(Protocol):
    """The walk over the value that holds the definition."""

    def token(self, value: Any) -> bytes: ...
    def met_code(self, thing: Any) -> None: ...


def token(thing: Any, walk: Walk) -> bytes:
    """The source of a definition and what it holds; of an installed one its name."""
    if isinstance(thing, ModuleType):
        return _module(thing, walk)
    if isinstance(thing, CodeType):
        return b"c" + _bytecode(thing)
    if isinstance(thing, Flow | Step):
        kind = "flow" if isinstance(thing, Flow) else "step"
        return write([kind, thing.name]) + walk.token(thing.function)
    if type(thing) is CACHED:
        return b"l" + write(sorted(thing.cache_parameters().items())) + walk.token(thing.__wrapped__)
    if isinstance(thing, FunctionType):
        return _function(thing, walk)
    return _class(thing, walk)


def reads_of(thing: Any) -> Iterator[str]:
    """The names of the notebook that the user's function or class reads when it runs, sorted."""
    functions = own_functions(thing) if isinstance(thing, type) else iter([thing])
    found: set[str] = set()
    for function in functions:
        if function.__globals__.get("__name__") in _HERE:
            found |= _text_of(function)[1]
    yield from sorted(found)


def kind_of(value: object) -> str:
    """What an input is: data, function, class, module, flow or step."""
    if isinstance(value, Step):
        return "step"
    if isinstance(value, Flow):
        return "flow"
    if isinstance(value, type):
        return "class"
    if isinstance(value, ModuleType):
        return "module"
    return "function" if isinstance(value, FunctionType | CACHED | _BUILTIN) else "data"


_BUILTIN: Final = type(len)


# functions


def _function(function: FunctionType, walk: Walk) -> bytes:
    home = str(function.__globals__.get("__name__"))
    held = _held(function, walk)
    if home not in _HERE:
        module = sys.modules.get(home)
        if module is not None and vars(module) is function.__globals__:
            if not is_installed(home):
                walk.met_code(module)
            return write(["named", home, function.__code__.co_qualname]) + held
        # Code with globals of its own, made by exec: what it reads there belongs to it.
        text, reads = _text_of(function)
        names = sorted(name for name in reads if name in function.__globals__)
        return text + held + b"".join(walk.token((name, function.__globals__[name])) for name in names)
    walk.met_code(function)
    return b"f" + _text_of(function)[0] + held


def _held(function: FunctionType, walk: Walk) -> bytes:
    """Defaults, what it closes over, attributes: values that differ between functions of one text."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closure = {name: content_of(cell) for name, cell in cells if name != "__class__"}
    held: list[Any] = [function.__defaults__, function.__kwdefaults__, closure, dict(sorted(vars(function).items()))]
    return b"" if held == [None, None, {}, {}] else walk.token(held)


_texts: OrderedDict[int, tuple[CodeType, bytes, frozenset[str]]] = OrderedDict()


def _text_of(function: FunctionType) -> tuple[bytes, frozenset[str]]:
    """The normalised source of a function, and the globals it reads; its bytecode where there is no source."""
    code = function.__code__
    # By id, and kept: code objects that differ in annotations alone compare equal.
    if id(code) in _texts:
        _texts.move_to_end(id(code))
        return _texts[id(code)][1:]
    try:
        text = write(fingerprint.tree(find_function(function).source))
    except Left:
        text = _bytecode(code)
    if len(_texts) >= _MOST_TEXTS:
        _texts.popitem(last=False)
    _texts[id(code)] = code, text, frozenset(names_read(code))
    return _texts[id(code)][1:]


def _bytecode(code: CodeType) -> bytes:
    """What compiled code does, comparable within one version of Python."""
    constants = [
        _bytecode(part).hex() if isinstance(part, CodeType) else ascii(part) for part in code.co_consts if part != ""
    ]
    names = [code.co_names, code.co_varnames, code.co_freevars]
    return write([list(sys.version_info[:2]), code.co_code.hex(), names, constants])


# classes


_statements: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def _class(cls: Any, walk: Walk) -> bytes:
    module = str(cls.__module__)
    if module not in _HERE and known.live(module, cls.__qualname__) is cls:
        found = sys.modules.get(module)
        if found is not None and not is_installed(module):
            walk.met_code(found)
        return write(["class", module, cls.__qualname__])
    walk.met_code(cls)
    bases = b"".join(walk.token(base) for base in cls.__bases__ if base is not object)
    try:
        found, node = _statement(cls)
    except Left:
        return b"C" + write([cls.__qualname__]) + bases + _parts(cls, _own(cls), walk)
    written = {name for statement in node.body for name in bound_by(statement)}
    beside = set_beside(cls, node)
    beside |= {name: value for name, value in _own(cls).items() if name not in written and not _is_code(value)}
    held = b"".join(_held(function, walk) for function in own_functions(cls))
    return b"C" + write(fingerprint.tree(found.source)) + bases + held + _parts(cls, beside, walk)


def _statement(cls: type) -> Any:
    if cls not in _statements:
        _statements[cls] = find_class(cls, set())
    return _statements[cls]


def _own(cls: type) -> dict[str, Any]:
    """Its attributes, without what Python writes into every class."""
    return {
        name: value
        for name, value in own_names(cls).items()
        if not (name.startswith("__") and name.endswith("__")) and not name.startswith("_abc_")
    }


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, property | staticmethod | classmethod) or hasattr(value, "__get__")


def _parts(cls: type, attributes: dict[str, Any], walk: Walk) -> bytes:
    parts: list[tuple[str, bytes]] = []
    for name in sorted(attributes):
        value = attributes[name]
        for part in (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,):
            plain = getattr(part, "__func__", part)
            is_own = not hasattr(type(plain), "__get__") or isinstance(plain, FunctionType)
            is_member = isinstance(plain, cls)
            parts.append((name, walk.token(_value_of(plain) if is_member else plain) if is_own else b""))
    return walk.token(parts) if parts else b""


def _value_of(member: Any) -> Any:
    """Of a member of an enum its value; of another instance of the class what it holds."""
    return getattr(member, "_value_", None) or getattr(member, "__dict__", None)


def _module(module: ModuleType, walk: Walk) -> bytes:
    if not is_installed(module.__name__):
        walk.met_code(module)
    return write(["module", module.__name__])
