"""Hidden states that stay on the device where the encoder wrote them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}


class HeldFloats:
    """A contiguous part of an ``OrtValue``, to be handed to another session without a copy.

    It can be cut as the pipeline cuts hidden states: ``held[row, :length]`` and
    ``held[None]``. ``numpy.asarray`` copies it to the processor.

    Args:
        value: an ``OrtValue`` of float32 or float16.
        shape: of this part; None is the whole.
        offset: of its first number in the value.
    """

    def __init__(self, value: Any, shape: tuple[int, ...] | None = None, offset: int = 0) -> None:
        self._value = value  # kept: the buffer lives as long as the value
        self._offset = offset
        self.shape = tuple(value.shape()) if shape is None else shape
        self.dtype = _DTYPES[value.data_type()]

    @property
    def pointer(self) -> int:
        """The address of the first number, on the value's device."""
        return int(self._value.data_ptr()) + self._offset * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: None | tuple[int, slice]) -> HeldFloats:
        if key is None:
            return HeldFloats(self._value, (1, *self.shape), self._offset)
        row, cut = key
        first, stop, step = cut.indices(self.shape[1])
        if not 0 <= row < len(self) or first != 0 or step != 1:
            raise IndexError("held hidden states are cut as [row, :length] only")
        below = self.shape[2:]
        return HeldFloats(
            self._value,
            (stop, *below),
            self._offset + row * self.shape[1] * math.prod(below),
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole: NDArray[Any] = self._value.numpy().reshape(-1)
        part = whole[self._offset : self._offset + math.prod(self.shape)].reshape(self.shape)
        return part if dtype is None else part.astype(dtype)
