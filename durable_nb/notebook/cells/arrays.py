"""Arrays that share memory: one of them is stored, the others as views of it."""

import ctypes
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from durable_nb.codec import frames


class View(NamedTuple):
    """An array as a part of another one's memory."""

    owner: Any
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any
    is_writable: bool


def views_among(stored: Iterable[Any], inputs: Iterable[Any]) -> dict[int, View]:
    """By id: those of the stored arrays whose memory lies in another one's, or in an input's."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return {}
    found: dict[int, View] = {}
    bounds = numpy.lib.array_utils.byte_bounds
    given = [_Span(array, bounds(array)) for array in inputs if array.nbytes]
    wanted = [_Span(array, bounds(array)) for array in stored if array.nbytes]
    for group in _groups(wanted):
        owner = _owner_of(group, given, numpy)
        for span in group:
            if owner is not None and span.array is not owner.array and owner.covers(span):
                found[id(span.array)] = _view(span, owner)
    return found


def make_view(
    owner: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, is_writable: bool
) -> Any:
    """The view again. Never renamed: logs name it."""
    import numpy  # noqa: PLC0415 - only values that hold arrays need it

    flat = numpy.ravel(owner, "K")
    if dtype.hasobject:
        made = numpy.lib.stride_tricks.as_strided(flat[offset // dtype.itemsize :], shape, strides)
    else:
        # Over the array itself and not its `.data`: the next time they are stored they still belong together.
        made = numpy.ndarray(shape, dtype, flat.view("u1"), offset, strides)
    if not is_writable:
        made.flags.writeable = False
    return made


def make_array(data: Any, dtype: Any, shape: tuple[int, ...], is_fortran: bool) -> Any:
    """An array over its bytes. Never renamed: logs name it."""
    return frames.over(data, 0, dtype, shape, is_fortran)


def is_array(value: object) -> bool:
    """Whether it is an array of numpy's own type: subclasses know themselves how they are stored."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


class _Span:
    """The memory an array lies in."""

    def __init__(self, array: Any, bounds: tuple[int, int]) -> None:
        self.array = array
        self.low, self.high = bounds
        self.is_whole = array.flags.c_contiguous or array.flags.f_contiguous

    def covers(self, other: "_Span") -> bool:
        fits = self.array.dtype == other.array.dtype or not (self.array.dtype.hasobject or other.array.dtype.hasobject)
        return self.is_whole and fits and self.low <= other.low and other.high <= self.high


def _groups(spans: list[_Span]) -> list[list[_Span]]:
    """Those that overlap, together; and each that lies several times in its own memory."""
    groups: list[list[_Span]] = []
    high = 0
    for span in sorted(spans, key=lambda span: (span.low, -span.high)):
        if groups and span.low < high:
            groups[-1].append(span)
            high = max(high, span.high)
        else:
            groups.append([span])
            high = span.high
    return groups


def _owner_of(group: list[_Span], given: list[_Span], numpy: Any) -> _Span | None:
    low, high = min(span.low for span in group), max(span.high for span in group)
    for span in given:
        if span.is_whole and span.low <= low and high <= span.high:
            return span
    for span in group:
        if span.is_whole and (span.low, span.high) == (low, high):
            return span
    is_repeated = any(span.array.nbytes > span.high - span.low for span in group)
    if (len(group) < 2 and not is_repeated) or any(span.array.dtype.hasobject for span in group):
        return None
    # The part of somebody's memory that they have in common; a copy, because he may let go of it before it is stored.
    octets = (ctypes.c_ubyte * (high - low)).from_address(low)
    return _Span(numpy.ctypeslib.as_array(octets).copy(), (low, high))


def _view(span: _Span, owner: _Span) -> View:
    array = span.array
    # An array with steps backwards begins behind the lowest byte it uses.
    start = array.__array_interface__["data"][0]
    return View(owner.array, start - owner.low, array.shape, array.strides, array.dtype, bool(array.flags.writeable))
