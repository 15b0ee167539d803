"""Arrays as npy, tables as Arrow, when they come back equal; what does not is left to cloudpickle.

Both are given in parts, of which the large ones are the memory of the array or table itself: nothing is copied.

An Arrow payload is one line of JSON (kind, name, attrs), padded to 64 bytes so that the buffers stay aligned, and an
IPC stream. Frames are taken by a list of column types known to come back whatever the values are, and the first rows
are read back to compare what the list cannot know (labels, categories, the storage of text).
"""

import ast
import importlib
import io
import sys
from typing import Any, Final

from durable_nb.codec import tags
from durable_nb.codec.chunks import Part
from durable_nb.codec.plain import dumps, loads

_ALIGNMENT: Final = 64
_COMPARED_ROWS: Final = 1000
_ARRAY_KINDS: Final = frozenset("biufcSUVmM?")
_NPY: Final = b"\x93NUMPY\x03\x00"
_COLUMN: Final = "durable_nb"
_NUMPY_COLUMNS: Final = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
) | {
    "float32",
    "float64",
}
_NULLABLE_COLUMNS: Final = frozenset(
    {"boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "str", "string"}
)
_UNITS: Final = frozenset({"s", "ms", "us", "ns"})


def encode(value: Any) -> tuple[str, list[Part]] | None:
    """The codec's name and the parts of an array or a table; None for all else, and for those that would change."""
    numpy, pandas, polars = (sys.modules.get(name) for name in ("numpy", "pandas", "polars"))
    kind = type(value)
    if numpy is not None and kind is numpy.ndarray:
        return _encode_array(value, numpy)
    if (pandas is not None and kind in (pandas.DataFrame, pandas.Series)) or _is_index(value, pandas):
        return _encode_pandas(value, pandas)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and kind is pyarrow.Table:
        return "arrow", _packed({"kind": "table"}, value, pyarrow)
    if polars is not None and kind is polars.DataFrame:
        return _encode_polars(value, polars)
    return None


# numpy


def _encode_array(array: Any, numpy: Any) -> tuple[str, list[Part]] | None:
    dtype = array.dtype
    if dtype.hasobject or dtype.kind not in _ARRAY_KINDS or _loses_dtype(dtype, numpy):
        return None
    described = sorted(numpy.lib.format.header_data_from_array_1_0(array).items())
    about = "".join(["{", *(f"{name!r}: {value!r}, " for name, value in described), "}"]).encode()
    about += b" " * (-(len(_NPY) + 4 + len(about) + 1) % _ALIGNMENT) + b"\n"
    return "npy", [_NPY + len(about).to_bytes(4, "little") + about, octets(array)]


def octets(array: Any) -> memoryview:
    """The bytes of an array in its own order, in rows when it has some; a copy only when there are gaps in it."""
    if not array.nbytes:
        return memoryview(b"")
    ordered = array if array.flags.c_contiguous else array.T if array.flags.f_contiguous else array.copy("C")
    rows = len(ordered) if ordered.ndim > 1 else 1
    return memoryview(ordered.reshape(rows, -1).view("u1"))


def _loses_dtype(dtype: Any, numpy: Any) -> bool:
    """Whether the header of an npy file cannot say all of this dtype: metadata, alignment, types of other libraries."""
    if dtype.metadata or dtype.isalignedstruct:
        return True
    if dtype.subdtype is not None:
        return _loses_dtype(dtype.base, numpy)
    if dtype.kind != "V":
        return False
    if dtype.fields and any(_loses_dtype(field[0], numpy) for field in dtype.fields.values()):
        return True
    described = numpy.lib.format.descr_to_dtype(numpy.lib.format.dtype_to_descr(dtype))
    return bool(described != dtype or described.type is not dtype.type)


def decode_array(data: bytes | bytearray) -> Any:
    """The array; it can be written to, into the very bytes if those can be."""
    import numpy  # noqa: PLC0415 - 80 ms, and only a log that holds arrays needs it

    if not data.startswith(_NPY):
        return numpy.lib.format.read_array(io.BytesIO(data), allow_pickle=False, max_header_size=len(data))
    start = len(_NPY) + 4
    start += int.from_bytes(data[start - 4 : start], "little")
    about = ast.literal_eval(data[len(_NPY) + 4 : start].decode())
    return over(data, start, numpy.lib.format.descr_to_dtype(about["descr"]), about["shape"], about["fortran_order"])


def over(data: Any, start: int, dtype: Any, shape: tuple[int, ...], is_fortran: bool) -> Any:
    """The array over these bytes from `start` on; over a copy when they cannot be written to."""
    import numpy  # noqa: PLC0415 - as above

    if dtype.hasobject:
        raise ValueError("an array of objects does not lie in bytes")
    if isinstance(data, bytes):
        data, start = bytearray(memoryview(data)[start:]), 0
    order: Any = "F" if is_fortran else "C"
    if not dtype.itemsize or 0 in shape:
        return numpy.empty(shape, dtype, order)
    return numpy.ndarray(shape, dtype, data, start, order=order)


# pandas


def _is_index(value: Any, pandas: Any) -> bool:
    return pandas is not None and type(value) in (pandas.Index, pandas.DatetimeIndex)


def _encode_pandas(value: Any, pandas: Any) -> tuple[str, list[Part]] | None:
    try:
        import pyarrow  # noqa: PLC0415 - pandas works without it, and then frames go to cloudpickle
    except ImportError:
        return None
    head = _head_of(value, pandas)
    if head is None:
        return None
    frame = _as_frame(value, pandas)
    if not _travels(frame, pandas):
        return None
    try:
        data = _packed(head, pyarrow.Table.from_pandas(frame), pyarrow)
        first = value[:_COMPARED_ROWS] if _is_index(value, pandas) else value.iloc[:_COMPARED_ROWS]
        probe = _packed(head, pyarrow.Table.from_pandas(_as_frame(first, pandas)), pyarrow)
        return ("arrow", data) if _are_same(decode_arrow(b"".join(probe)), first, pandas) else None
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError, UnicodeError):
        return None  # Arrow has no word for something in it: the pickle takes it as it is


def _head_of(value: Any, pandas: Any) -> dict[str, Any] | None:
    """Kind, name and attrs; None when one of them cannot be written without classes."""
    if _is_index(value, pandas):
        if getattr(value, "freq", None) is not None:
            return None
        kind, name, attrs = "index", value.name, {}
    else:
        if not value.flags.allows_duplicate_labels:
            return None
        kind, name, attrs = type(value).__name__.lower(), getattr(value, "name", None), value.attrs
        name = None if kind == "dataframe" else name
    try:
        text, needs_classes = tags.encode([name, attrs])
    except (tags.NotTaggable, RecursionError):
        return None
    return None if needs_classes else {"kind": kind, "about": loads(text)}


def _as_frame(value: Any, pandas: Any) -> Any:
    """One shape for all three: a frame without attrs, which Arrow would write as JSON of its own."""
    if _is_index(value, pandas):
        return pandas.DataFrame({_COLUMN: value.to_series(index=range(len(value)))}, copy=False)
    frame = value.to_frame(_COLUMN) if type(value) is pandas.Series else value.copy(deep=False)
    frame.attrs = {}
    return frame


def _travels(frame: Any, pandas: Any) -> bool:
    labels = frame.columns
    if type(labels) is not pandas.Index or labels.name is not None or not labels.is_unique:
        return False
    if not all(type(label) is str for label in labels):
        return False
    index = frame.index
    if type(index) not in (pandas.RangeIndex, pandas.Index, pandas.DatetimeIndex):
        return False
    if index.name is not None and (type(index.name) is not str or index.name in labels):
        return False
    return not getattr(index, "freq", None) and all(_is_known(dtype, pandas) for dtype in [index.dtype, *frame.dtypes])


def _is_known(dtype: Any, pandas: Any) -> bool:
    if isinstance(dtype, pandas.CategoricalDtype):
        return str(dtype.categories.dtype) in {"str", "int64"} and type(dtype.categories) is pandas.Index
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return dtype.unit in _UNITS
    if getattr(dtype, "kind", "") in "mM" and not isinstance(dtype, pandas.api.extensions.ExtensionDtype):
        return any(str(dtype).endswith(f"[{unit}]") for unit in _UNITS)
    return str(dtype) in _NUMPY_COLUMNS or str(dtype) in _NULLABLE_COLUMNS


def _are_same(found: Any, value: Any, pandas: Any) -> bool:
    if type(found) is not type(value):
        return False
    if _is_index(value, pandas):
        return bool(found.dtype == value.dtype and found.equals(value) and found.name == value.name)
    same = type(found.index) is type(value.index) and found.index.dtype == value.index.dtype
    same = same and found.index.equals(value.index) and found.index.names == value.index.names
    if type(value) is pandas.DataFrame:
        same = same and found.columns.dtype == value.columns.dtype and found.columns.equals(value.columns)
        same = same and list(found.dtypes) == list(value.dtypes)
    else:
        same = same and found.dtype == value.dtype
    return bool(same and found.equals(value))


# polars: its own IPC stream, refused for columns of Python objects


def _encode_polars(frame: Any, polars: Any) -> tuple[str, list[Part]] | None:
    if any(dtype == polars.Object for dtype in frame.dtypes):
        return None
    file = io.BytesIO()
    frame.write_ipc_stream(file)
    return "arrow", [_begun({"kind": "polars"}), file.getbuffer()]


# The payload


class _Parts(io.RawIOBase):
    """A file that keeps what is written to it, as it is given."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.parts.append(view)
        return view.nbytes


def _packed(head: dict[str, Any], table: Any, pyarrow: Any) -> list[Part]:
    file = _Parts([_begun(head)])
    with (
        pyarrow.PythonFile(file, mode="w") as sink,
        pyarrow.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    return file.parts


def _begun(head: dict[str, Any]) -> bytes:
    line = dumps(head)
    return line + b" " * (-(len(line) + 1) % _ALIGNMENT) + b"\n"


def decode_arrow(data: bytes | bytearray) -> Any:
    """The table, frame, series or index."""
    end = data.index(b"\n") + 1
    head = loads(data[:end])
    if head["kind"] == "polars":
        return importlib.import_module("polars").read_ipc_stream(bytes(memoryview(data)[end:]))
    import pyarrow  # noqa: PLC0415 - 100 ms, and only a log that holds tables needs it

    with pyarrow.ipc.open_stream(memoryview(data)[end:]) as reader:
        table = reader.read_all()
    return table if head["kind"] == "table" else _to_pandas(head, table)


def _to_pandas(head: dict[str, Any], table: Any) -> Any:
    import pandas  # noqa: PLC0415 - 300 ms, and only a log that holds frames needs it

    name, attrs = tags.decode(dumps(head["about"]), with_classes=False)
    frame = table.to_pandas()
    if any(isinstance(dtype, pandas.api.extensions.ExtensionDtype) for dtype in frame.dtypes):
        frame = frame.copy()  # Arrow lends them its own memory, which pandas then cannot write to
    if head["kind"] == "dataframe":
        frame.attrs = attrs
        return frame
    if head["kind"] == "series":
        series = frame[_COLUMN].rename(name)
        series.attrs = attrs
        return series
    return pandas.Index(frame[_COLUMN]).rename(name)
