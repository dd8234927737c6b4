"""ONNX messages written without the onnx library: tensors for a graph, and tiny graphs.

The field numbers are those of ``onnx.proto``. A protocol buffer message may state an inner
message in parts, which parsers merge: a second ``graph`` field adds tensors to the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = {
    np.dtype(name): kind
    for name, kind in {"f4": 1, "u1": 2, "i1": 3, "i4": 6, "i8": 7, "f2": 10}.items()
}
"""ONNX's numbers of element types."""

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

OPSET, IR_VERSION = 17, 8
_LOCATION = b"given in memory"
"""Where a declared tensor is said to lie: it always comes from memory, and is no file."""


def varint(value: int) -> bytes:
    """A number that is not negative."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def number(field: int, value: int) -> bytes:
    """A field that is a number."""
    return varint(field << 3) + varint(value)


def chunk(field: int, *parts: bytes) -> bytes:
    """A field that is a text, bytes or an inner message, in parts."""
    return b"".join((varint(field << 3 | 2), varint(sum(map(len, parts))), *parts))


def declared(name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> bytes:
    """A tensor of a graph whose values the session is given apart, as external data in memory."""
    place = chunk(13, chunk(1, b"location"), chunk(2, _LOCATION))
    return _tensor(name, dtype, shape, place, number(14, 1))


def held(name: str, values: NDArray[Any]) -> bytes:
    """A tensor of a graph with its values."""
    return _tensor(name, values.dtype, values.shape, chunk(9, values.tobytes()))


def with_tensors(graph: bytes, tensors: Iterable[bytes]) -> bytes:
    """An ONNX file with tensors added to its graph.

    Args:
        graph: the file.
        tensors: of ``declared`` or ``held``.
    """
    return b"".join((graph, chunk(7, *tensors)))


def model(
    nodes: Iterable[bytes],
    inputs: Iterable[bytes],
    outputs: Iterable[bytes],
    tensors: Iterable[bytes],
) -> bytes:
    """An ONNX file of ``node``, ``value`` and ``held``."""
    graph = [
        *(chunk(1, node) for node in nodes),
        chunk(2, b"graph"),
        *tensors,
        *(chunk(11, value) for value in inputs),
        *(chunk(12, value) for value in outputs),
    ]
    opsets = [chunk(8, number(2, OPSET)), chunk(8, chunk(1, CONTRIB.encode()), number(2, 1))]
    return b"".join((number(1, IR_VERSION), chunk(7, *graph), *opsets))


def node(kind: str, inputs: Iterable[str], output: str, *, domain: str = "") -> bytes:
    """A node without attributes."""
    reads = (chunk(1, name.encode()) for name in inputs)
    parts = [*reads, chunk(2, output.encode()), chunk(4, kind.encode()), chunk(7, domain.encode())]
    return b"".join(parts)


def value(name: str, dtype: np.dtype[Any], axes: Sequence[int | str]) -> bytes:
    """An input or output; axes of any length have a name."""
    dims = (
        chunk(1, number(1, axis) if isinstance(axis, int) else chunk(2, axis.encode()))
        for axis in axes
    )
    described = chunk(1, number(1, KINDS[np.dtype(dtype)]), chunk(2, *dims))
    return chunk(1, name.encode()) + chunk(2, described)


def _tensor(name: str, dtype: np.dtype[Any], shape: Sequence[int], *values: bytes) -> bytes:
    dims = (number(1, axis) for axis in shape)
    kind = number(2, KINDS[np.dtype(dtype)])
    return chunk(5, *dims, kind, chunk(8, name.encode()), *values)
