"""Digests of arrays and tables: by dtype, shape and contents, whatever the strides, blocks and chunks."""

import sys
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

Token = Callable[[Any], bytes]

_PIECE: Final = 1024 * 1024


class Unknown(Exception):
    """Something in the value has no digest."""


def raw(value: Any, token: Token) -> bytes | None:
    """Kind and contents of an array, a scalar, a frame, a series, an index or a table; None for all else."""
    numpy, pandas, pyarrow = (sys.modules.get(name) for name in ("numpy", "pandas", "pyarrow"))
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _array(value, token, numpy)
    if numpy is not None and isinstance(value, numpy.generic):
        return _scalar(value, token, numpy)
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            return _frame(value, token, pandas)
        if isinstance(value, pandas.Series):
            return _joined(
                b"s", token(value.name), token(value.attrs), token(value.index), _column(value, token, pandas)
            )
        if isinstance(value, pandas.Index):
            return _index(value, token, pandas)
    if pyarrow is not None and isinstance(value, pyarrow.Table):
        return _table(value, token, pyarrow)
    return None


def _joined(letter: bytes, *parts: bytes) -> bytes:
    return b"P" + letter + b"".join(b"%d:%b" % (len(part), part) for part in parts)


# numpy


def _array(array: Any, token: Token, numpy: Any) -> bytes:
    kind = type(array)
    name = f"{kind.__module__}:{kind.__qualname__}".encode()
    if isinstance(array, numpy.ma.MaskedArray):
        # What lies under the mask does not count, and differs after a round trip.
        filled = array.filled(numpy.zeros((), array.dtype)[()])
        mask = numpy.ma.getmaskarray(array)
        return _joined(b"m", name, token(filled), token(mask), token(numpy.asarray(array.fill_value)))
    plain = array.view(numpy.ndarray)
    extra = token(vars(array)) if kind is not numpy.ndarray and getattr(array, "__dict__", None) else b""
    return _joined(b"a", name, repr(plain.shape).encode(), _contents(plain, token, numpy), extra)


def _contents(array: Any, token: Token, numpy: Any) -> bytes:
    dtype = array.dtype
    if dtype.fields:  # field by field: the gaps between the fields hold anything
        return _joined(
            b"f", *(part for name in dtype.names for part in (token(name), _contents(array[name], token, numpy)))
        )
    if dtype.hasobject or dtype.kind not in "biufcSUVmM":
        return _joined(b"o", str(dtype).encode(), token(array.reshape(-1).tolist()))
    if dtype.char in "gG":  # a long double has 10 bytes of number in 16, and anything in the other 6
        parts = (array.real, array.imag) if dtype.char == "G" else (array,)
        return _joined(b"l", dtype.str.encode(), *(token(list(map(str, part.reshape(-1)))) for part in parts))
    return _joined(b"b", dtype.str.encode(), _buffer(array, numpy))


def _buffer(array: Any, numpy: Any) -> bytes:
    hashed = blake2b(digest_size=32)
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


def _scalar(value: Any, token: Token, numpy: Any) -> bytes:
    name = type(value).__name__.encode()
    item = value.item() if value.dtype.kind in "biufc" else None
    if type(item) in (bool, int, float, complex):
        return _joined(b"n", name, token(item))
    return _joined(b"n", name, _contents(numpy.asarray(value), token, numpy))


# pandas


def _frame(frame: Any, token: Token, pandas: Any) -> bytes:
    columns = (_column(frame.iloc[:, place], token, pandas) for place in range(frame.shape[1]))
    return _joined(b"d", _class_name(frame), token(frame.attrs), token(frame.columns), token(frame.index), *columns)


def _class_name(value: Any) -> bytes:
    return f"{type(value).__module__}:{type(value).__qualname__}".encode()


def _index(index: Any, token: Token, pandas: Any) -> bytes:
    names = token(list(index.names))
    if isinstance(index, pandas.RangeIndex):
        return _joined(b"r", names, token([index.start, index.stop, index.step]))
    if isinstance(index, pandas.MultiIndex):
        levels = (_column(index.get_level_values(place), token, pandas) for place in range(index.nlevels))
        return _joined(b"u", names, *levels)
    return _joined(b"i", _class_name(index), names, _column(index, token, pandas))


def _column(column: Any, token: Token, pandas: Any) -> bytes:
    """Dtype and values of a series or an index, without its labels and name."""
    dtype = column.dtype
    name = str(dtype).encode()
    if not isinstance(dtype, pandas.api.extensions.ExtensionDtype):
        return _joined(b"c", name, token(column.to_numpy()))
    array = column.array
    if isinstance(dtype, pandas.CategoricalDtype):
        return _joined(b"g", token(bool(dtype.ordered)), token(array.codes), token(dtype.categories))
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return _joined(b"z", name, token(array.view("i8")))
    if isinstance(dtype, pandas.StringDtype):
        return _joined(b"t", name, _strings(array, token, pandas))
    if hasattr(dtype, "numpy_dtype") and hasattr(array, "_mask"):
        values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return _joined(b"k", name, token(values), token(array.isna()))
    return _joined(b"e", name, token(list(array)))


def _strings(array: Any, token: Token, pandas: Any) -> bytes:
    """Lengths and text, read from Arrow's buffers: a million strings in milliseconds, and no object is made."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None:
        return token([None if item is pandas.NA or item != item else item for item in array])
    import numpy  # noqa: PLC0415 - pandas has loaded it already

    found = pyarrow.array(array, type=pyarrow.large_string(), from_pandas=True)
    found = found.combine_chunks() if isinstance(found, pyarrow.ChunkedArray) else found
    missing = found.is_null().to_numpy(zero_copy_only=False)
    found = found.fill_null("")
    _, offsets, text = found.buffers()
    if not len(found):
        return token(b"")
    ends = numpy.frombuffer(offsets, "i8")[found.offset : found.offset + len(found) + 1]
    octets = memoryview(text)[ends[0] : ends[-1]] if text is not None else memoryview(b"")
    return _joined(b"x", token(numpy.diff(ends)), token(missing), blake2b(octets, digest_size=32).digest())


# Arrow


def _table(table: Any, token: Token, pyarrow: Any) -> bytes:
    """The IPC form of the table in one chunk; tables do not change, so it needs no more than to be repeatable."""
    whole, hashed = table.combine_chunks(), blake2b(digest_size=32)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    hashed.update(sink.getvalue())
    return _joined(b"T", token(whole.num_rows), hashed.digest())
