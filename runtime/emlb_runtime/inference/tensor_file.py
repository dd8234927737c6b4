"""The header of a safetensors file, checked: every byte belongs to exactly one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.checked_json import members, parse_json, whole
from emlb_runtime.errors import BundleError

MAX_HEADER = 1 << 22
MAX_RANK = 8
MAX_AXIS = 1 << 31
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
}
"""The element types that a bundle stores."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies in its file.

    Attributes:
        dtype: of its elements.
        shape: of it.
        start: its first byte in the file.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int

    def view(self, data: bytes) -> NDArray[Any]:
        """The tensor's values, without a copy.

        Args:
            data: the file.
        """
        count = prod(self.shape)
        return np.frombuffer(data, self.dtype, count, self.start).reshape(self.shape)


def read_tensors(data: bytes, *, most: int) -> dict[str, Stored]:
    """The tensors of a safetensors file.

    Args:
        data: the file.
        most: tensors that it may hold.

    Raises:
        BundleError: if the file is malformed, has an element type that no bundle needs, or
            bytes that belong to no tensor or to two.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(MAX_HEADER, len(data) - 8):
        raise BundleError("it is not a safetensors file: its header has an impossible length")
    header = members(parse_json(data[8 : 8 + size], max_values=20 * most), "its header")
    described = {name: value for name, value in header.items() if name != "__metadata__"}
    if len(described) > most:
        raise BundleError(f"it holds more than {most:,} tensors")
    extents = {name: _extent(value) for name, value in described.items()}
    position = 0
    for start, end in sorted((start, end) for _, _, start, end in extents.values()):
        if start != position:
            raise BundleError("its tensors overlap or leave gaps")
        position = end
    if position != len(data) - 8 - size:
        less = position > len(data) - 8 - size
        raise BundleError("it is cut short" if less else "it holds more than its header says")
    return {
        name: Stored(dtype, shape, 8 + size + start)
        for name, (dtype, shape, start, _) in extents.items()
    }


def _extent(value: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    described: Mapping[str, Any] = members(value, "a tensor's description")
    if set(described) != {"dtype", "shape", "data_offsets"}:
        raise BundleError("a tensor is not described by type, shape and offsets")
    kind, shape, offsets = (described[name] for name in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in DTYPES:
        raise BundleError(f"a tensor is not one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise BundleError("a tensor has an impossible shape")
    axes = tuple(whole(axis, "a tensor's axis", 0, MAX_AXIS) for axis in shape)
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise BundleError("a tensor's offsets are not two numbers")
    start, end = (whole(offset, "a tensor's offset", 0, MAX_AXIS) for offset in offsets)
    if end - start != prod(axes) * DTYPES[kind].itemsize:
        raise BundleError("a tensor's offsets do not fit its shape")
    return DTYPES[kind], axes, start, end
