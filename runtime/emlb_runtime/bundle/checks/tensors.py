"""Weights inside an ONNX file: stored in it, as large as their dimensions say, and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.errors import BundleError

from .wire import BYTES, VARINT, Reader, key, signed

FLOAT, INT64, FLOAT16 = 1, 7, 10
_BFLOAT16 = 16

_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Per element type: no texts, complex numbers, or types below a byte."""

_FLOATING = {FLOAT: "<f4", FLOAT16: "<f2", 11: "<f8", _BFLOAT16: "<u2"}
_MAX_RANK = 8
_CHUNK = 1 << 16

_DIM, _PACKED_DIMS, _KIND = key(1, VARINT), key(1, BYTES), key(2, VARINT)
_NAME, _RAW, _DOC, _LOCATION = key(8, BYTES), key(9, BYTES), key(12, BYTES), key(14, VARINT)
_EXTERNAL, _METADATA = key(13, BYTES), key(16, BYTES)
_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S = (key(n, BYTES) for n in (4, 5, 7, 10, 11))
_TYPED = {
    _FLOATS: {FLOAT},
    _INT32S: {2, 3, 4, 5, 6, 9},
    _INT64S: {INT64},
    _DOUBLES: {11},
    _UINT64S: {12, 13},
}
"""Which element types may be stored as lists of numbers; half precision comes as bytes only."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a tensor once its values have been looked at.

    Attributes:
        name: as stored.
        dims: its dimensions.
    """

    name: bytes
    dims: tuple[int, ...]


def read_tensor(reader: Reader, start: int, end: int) -> Tensor:
    """Check the tensor in ``[start, end)`` of the file.

    Raises:
        BundleError: if its values lie elsewhere, do not fill its dimensions, or are no numbers.
    """
    name, kind, location = b"", 0, 0
    dims: list[int] = []
    values: tuple[int, int, int] | None = None
    seen: set[int] = set()
    for field in reader.fields(start, end):
        tag, first, last = field
        if tag == _DIM:
            dims.append(signed(first))
            continue
        if tag in seen:
            raise BundleError("a tensor states something twice")
        seen.add(tag)
        if tag == _KIND:
            kind = first
        elif tag == _NAME:
            name = reader.data[first:last]
        elif tag == _RAW or tag in _TYPED:
            if values is not None:
                raise BundleError("a tensor holds its values twice")
            values = field
        elif tag == _LOCATION:
            location = first
        elif tag == _EXTERNAL:
            raise BundleError("a tensor's values lie in another file (external data)")
        elif tag not in (_DOC, _METADATA):
            raise BundleError("a tensor has parts that no bundle needs")
    if location:
        # Given bytes, ONNX Runtime would look for the file from the working directory on.
        raise BundleError("a tensor's values lie in another file (external data)")
    if kind not in _ITEM_BYTES:
        raise BundleError(f"a tensor is of element type {kind}, which no bundle needs")
    if len(dims) > _MAX_RANK or any(dim < 0 for dim in dims):
        raise BundleError("a tensor has impossible dimensions")
    _check_values(reader.data, kind, prod(dims), values)
    return Tensor(name, tuple(dims))


def _check_values(data: bytes, kind: int, count: int, values: tuple[int, int, int] | None) -> None:
    tag, start, end = values or (_RAW, 0, 0)
    if tag == _RAW:
        stored, rest = divmod(end - start, _ITEM_BYTES[kind])
    elif kind not in _TYPED[tag]:
        raise BundleError("a tensor's values are not stored as its element type asks")
    elif tag in (_FLOATS, _DOUBLES):
        stored, rest = divmod(end - start, _ITEM_BYTES[kind])
    else:
        final = np.frombuffer(data, np.uint8, end - start, start) < 0x80
        stored, rest = int(np.count_nonzero(final)), int(end > start and not final[-1])
    if stored != count or rest:
        raise BundleError(f"a tensor of {count:,} values stores {stored:,}")
    if kind in _FLOATING and count:
        _check_numbers(np.frombuffer(data, _FLOATING[kind], count, start), kind)


def _check_numbers(values: NDArray[Any], kind: int) -> None:
    """Refuse NaN and infinity; a single minus infinity is how some graphs write a mask."""
    for first in range(0, len(values), _CHUNK):
        part = values[first : first + _CHUNK]
        finite = (part & 0x7F80) != 0x7F80 if kind == _BFLOAT16 else np.isfinite(part)
        if not finite.all() and (len(values) > 1 or values[0] != -np.inf):
            raise BundleError("a tensor holds NaN or infinity")
