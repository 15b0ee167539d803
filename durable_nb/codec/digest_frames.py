"""Digests of arrays and tables: by dtype, shape and contents, whatever the strides, blocks and chunks."""

import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

_PIECE: Final = 1024 * 1024


class Hashing(Protocol):
    """A hash that is being computed."""

    def update(self, data: Any, /) -> None: ...
    def digest(self) -> bytes: ...


class Walk(Protocol):
    """The walk over the whole value, which the parts of an array or table are given back to."""

    def token(self, value: Any) -> bytes:
        """The kind and the contents of a part."""

    def shortened(self, raw: bytes) -> bytes:
        """The token of a kind and contents."""

    def hashing(self) -> Hashing:
        """A new hash for buffers."""

    def remembered(self, fixed: Any, make: Callable[[], bytes]) -> bytes:
        """What `make` gives for a value that never changes."""


class Unknown(Exception):
    """Something in the value has no digest."""


def raw(value: Any, walk: Walk) -> bytes | None:
    """Kind and contents of an array, a scalar, a frame, a series, an index or a table; None for all else."""
    numpy, pandas, pyarrow = (sys.modules.get(name) for name in ("numpy", "pandas", "pyarrow"))
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _array(value, walk, numpy)
    if numpy is not None and isinstance(value, numpy.generic):
        return _scalar(value, walk, numpy)
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            return _frame(value, walk, pandas)
        if isinstance(value, pandas.Series):
            about = map(walk.token, (value.name, value.attrs, value.index))
            return _joined(b"s", *about, _column(value, walk, pandas))
        if isinstance(value, pandas.Index):
            return _index(value, walk, pandas)
    if pyarrow is not None and isinstance(value, pyarrow.Table):
        return walk.remembered(value, lambda: _table(value, walk, pyarrow))
    return None


def _joined(letter: bytes, *parts: bytes) -> bytes:
    return b"P" + letter + b"".join(b"%d:%b" % (len(part), part) for part in parts)


# numpy


def _array(array: Any, walk: Walk, numpy: Any) -> bytes:
    kind = type(array)
    name = f"{kind.__module__}:{kind.__qualname__}".encode()
    if isinstance(array, numpy.ma.MaskedArray):
        # What lies under the mask does not count, and differs after a round trip.
        filled = array.filled(numpy.zeros((), array.dtype)[()])
        mask = numpy.ma.getmaskarray(array)
        return _joined(b"m", name, walk.token(filled), walk.token(mask), walk.token(numpy.asarray(array.fill_value)))
    plain = array.view(numpy.ndarray)
    extra = walk.token(vars(array)) if kind is not numpy.ndarray and getattr(array, "__dict__", None) else b""
    return _whole(name, plain, _contents(plain, walk, numpy), extra)


def _whole(name: bytes, array: Any, contents: bytes, extra: bytes = b"") -> bytes:
    return _joined(b"a", name, repr(array.shape).encode(), contents, extra)


def _contents(array: Any, walk: Walk, numpy: Any) -> bytes:
    dtype = array.dtype
    if dtype.fields:  # field by field: the gaps between the fields hold anything
        return _joined(
            b"f", *(part for name in dtype.names for part in (walk.token(name), _contents(array[name], walk, numpy)))
        )
    if dtype.hasobject or dtype.kind not in "biufcSUVmM":
        return _joined(b"o", str(dtype).encode(), walk.token(array.reshape(-1).tolist()))
    if dtype.char in "gG":  # a long double has 10 bytes of number in 16, and anything in the other 6
        parts = (array.real, array.imag) if dtype.char == "G" else (array,)
        return _joined(b"l", dtype.str.encode(), *(walk.token(list(map(str, part.reshape(-1)))) for part in parts))
    return _joined(b"b", dtype.str.encode(), _buffer(array, walk, numpy))


def _buffer(array: Any, walk: Walk, numpy: Any) -> bytes:
    hashed = walk.hashing()
    if (array.ndim < 2 and array.flags.c_contiguous) or array.size == 0:
        hashed.update(_octets(array, numpy))
    else:
        # Piece by piece: a strided array of 1 GB must not be copied as a whole.
        line = max(1, array.nbytes // max(1, len(array)))
        rows = max(1, _PIECE // line)
        for start in range(0, len(array), rows):
            hashed.update(_octets(array[start : start + rows], numpy))
    return hashed.digest()


def _octets(array: Any, numpy: Any) -> Any:
    return numpy.ascontiguousarray(array).reshape(-1).view("u1") if array.size and array.itemsize else b""


def _scalar(value: Any, walk: Walk, numpy: Any) -> bytes:
    name = type(value).__name__.encode()
    item = value.item() if value.dtype.kind in "biufc" else None
    if type(item) in (bool, int, float, complex):
        return _joined(b"n", name, walk.token(item))
    return _joined(b"n", name, _contents(numpy.asarray(value), walk, numpy))


# pandas


def _frame(frame: Any, walk: Walk, pandas: Any) -> bytes:
    parts = [frame.iloc[:, place] for place in range(frame.shape[1])]
    hashes = _hashed_together(parts, walk, pandas)
    columns = (_column(part, walk, pandas, hashes.get(place)) for place, part in enumerate(parts))
    about = map(walk.token, (frame.attrs, frame.columns, frame.index))
    return _joined(b"d", _class_name(frame), *about, *columns)


def _hashed_together(columns: list[Any], walk: Walk, pandas: Any) -> dict[int, bytes]:
    """The hashes of columns that lie row by row in memory, which is read once and not once for each of them."""
    strided: dict[int, Any] = {}
    for place, column in enumerate(columns):
        if isinstance(column.dtype, pandas.api.extensions.ExtensionDtype) or len(column) < _PIECE // 256:
            continue
        array = column.to_numpy()
        if array.dtype.kind in "biufcmM" and array.dtype.char not in "gG" and not array.flags.c_contiguous:
            strided[place] = array
    if len(strided) < 2:
        return {}
    import numpy  # noqa: PLC0415 - pandas has loaded it already

    hashes = {place: walk.hashing() for place in strided}
    rows = max(1, _PIECE // sum(array.itemsize for array in strided.values()))
    for start in range(0, len(columns[0]), rows):
        for place, array in strided.items():
            hashes[place].update(_octets(array[start : start + rows], numpy))
    return {place: hashing.digest() for place, hashing in hashes.items()}


def _class_name(value: Any) -> bytes:
    return f"{type(value).__module__}:{type(value).__qualname__}".encode()


def _index(index: Any, walk: Walk, pandas: Any) -> bytes:
    names = walk.token(list(index.names))
    if isinstance(index, pandas.RangeIndex):
        return _joined(b"r", names, walk.token([index.start, index.stop, index.step]))
    if isinstance(index, pandas.MultiIndex):
        levels = (_column(index.get_level_values(place), walk, pandas) for place in range(index.nlevels))
        return _joined(b"u", names, *levels)
    return _joined(b"i", _class_name(index), names, _column(index, walk, pandas))


def _column(column: Any, walk: Walk, pandas: Any, hashed: bytes | None = None) -> bytes:
    """Dtype and values of a series or an index, without its labels and name; `hashed` is its buffer's hash, if known."""
    dtype = column.dtype
    name = str(dtype).encode()
    if not isinstance(dtype, pandas.api.extensions.ExtensionDtype):
        array = column.to_numpy()
        if hashed is None:
            return _joined(b"c", name, walk.token(array))
        contents = _joined(b"b", array.dtype.str.encode(), hashed)
        return _joined(b"c", name, walk.shortened(_whole(b"numpy:ndarray", array, contents)))
    array = column.array
    if isinstance(dtype, pandas.CategoricalDtype):
        return _joined(b"g", walk.token(bool(dtype.ordered)), walk.token(array.codes), walk.token(dtype.categories))
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return _joined(b"z", name, walk.token(array.view("i8")))
    if isinstance(dtype, pandas.StringDtype):
        fixed = getattr(array, "_pa_array", None)
        text = (
            _strings(array, walk, pandas)
            if fixed is None
            else walk.remembered(fixed, lambda: _strings(array, walk, pandas))
        )
        return _joined(b"t", name, text)
    if hasattr(dtype, "numpy_dtype") and hasattr(array, "_mask"):
        values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return _joined(b"k", name, walk.token(values), walk.token(array.isna()))
    return _joined(b"e", name, walk.token(list(array)))


def _strings(array: Any, walk: Walk, pandas: Any) -> bytes:
    """Lengths and text, read from Arrow's buffers: a million strings in milliseconds, and no object is made."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None:
        return walk.token([None if item is pandas.NA or item != item else item for item in array])
    import numpy  # noqa: PLC0415 - pandas has loaded it already

    found = pyarrow.array(array, type=pyarrow.large_string(), from_pandas=True)
    found = found.combine_chunks() if isinstance(found, pyarrow.ChunkedArray) else found
    missing = found.is_null().to_numpy(zero_copy_only=False)
    found = found.fill_null("")
    _, offsets, text = found.buffers()
    if not len(found):
        return walk.token(b"")
    ends = numpy.frombuffer(offsets, "i8")[found.offset : found.offset + len(found) + 1]
    hashed = walk.hashing()
    hashed.update(memoryview(text)[ends[0] : ends[-1]] if text is not None else b"")
    return _joined(b"x", walk.token(numpy.diff(ends)), walk.token(missing), hashed.digest())


# Arrow


def _table(table: Any, walk: Walk, pyarrow: Any) -> bytes:
    """The IPC form of the table in one chunk; tables do not change, so it needs no more than to be repeatable."""
    whole, hashed = table.combine_chunks(), walk.hashing()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    hashed.update(sink.getvalue())
    return _joined(b"T", walk.token(whole.num_rows), hashed.digest())
