"""A safetensors file of CRF scores: exactly those of the tasks, and all of them numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emlb_runtime.checked_json import members, parse_json, whole
from emlb_runtime.errors import BundleError

MAX_HEADER = 1 << 20
MAX_SCORE = 1e6
"""Above it, sums of scores lose what tells two labels apart."""


def check_scores(data: bytes, *, labels: Mapping[str, int]) -> None:
    """Check ``<task>.start``, ``.end`` and ``.transitions`` of every task.

    Args:
        data: the file.
        labels: per task, the number of labels.

    Raises:
        BundleError: if the file is malformed, has other tensors, sizes or types, or a score
            is not a number of sensible size.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(MAX_HEADER, len(data) - 8):
        raise BundleError("it is not a safetensors file: its header has an impossible length")
    header = members(parse_json(data[8 : 8 + size], max_values=10_000), "its header")
    tensors = {name: value for name, value in header.items() if name != "__metadata__"}
    shapes = _shapes(labels)
    if set(tensors) != set(shapes):
        raise BundleError("it does not fit the tasks: it holds scores of others")
    position = 0
    for name, (start, end) in sorted(
        ((name, _extent(tensors[name], shape)) for name, shape in shapes.items()),
        key=lambda item: item[1],
    ):
        if start != position:
            raise BundleError("its tensors overlap or leave gaps")
        if 8 + size + end > len(data):
            raise BundleError("it is cut short")
        values = np.frombuffer(data, "<f4", (end - start) // 4, 8 + size + start)
        if not (np.abs(values) <= MAX_SCORE).all():
            raise BundleError(f"a score of {name} is no number of sensible size")
        position = end
    if position != len(data) - 8 - size:
        raise BundleError("it holds more than its header says")


def _shapes(labels: Mapping[str, int]) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}
    for task, n_labels in labels.items():
        shapes |= {f"{task}.start": [n_labels], f"{task}.end": [n_labels]}
        shapes[f"{task}.transitions"] = [n_labels, n_labels]
    return shapes


def _extent(value: Any, shape: list[int]) -> tuple[int, int]:
    described = members(value, "a tensor's description")
    if set(described) != {"dtype", "shape", "data_offsets"} or described["dtype"] != "F32":
        raise BundleError("a tensor is not described as F32 with a shape and offsets")
    if described["shape"] != shape or any(type(axis) is not int for axis in described["shape"]):
        raise BundleError(
            f"it does not fit the tasks: a tensor is not of shape {tuple(shape)}, as its "
            "task's labels ask"
        )
    offsets = described["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise BundleError("a tensor's offsets are not two numbers")
    start, end = (whole(offset, "a tensor's offset", 0, 1 << 31) for offset in offsets)
    size = 4
    for axis in shape:
        size *= axis
    if end - start != size:
        raise BundleError("a tensor's offsets do not fit its shape")
    return start, end
