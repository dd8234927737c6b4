"""A bundle's weights, kept once, and the values that each graph makes of them.

``weights.safetensors`` holds the tensors of the trained model by their names there:

* ``NAME``: the tensor itself;
* ``NAME.T``: the tensor transposed, as products read it, (inputs, outputs);
* ``….levels`` and ``….scales`` in place of either: int8 levels, and the float that one level
  is worth, for each column or, with shape (rows, 1), for each row;
* ``NAME+NAME…``: several tensors one after the other along the first axis.

A graph holds no weights. It reads them by name: levels and scales as they are stored, the
tensor itself as float32 whether stored so or as levels, or in half precision as ``….half``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.errors import BundleError
from emlb_runtime.inference.arithmetic import Products, unsigned, zero_of

from .onnx_bytes import held, with_tensors
from .tensor_file import Stored, read_tensors

LEVELS, SCALES, HALF = ".levels", ".scales", ".half"
ZERO = "levels.zero"
"""The level that means a weight of zero, which depends on the kind of products."""

UNNAMED = "graph."
"""What the names of large constants begin with that are no tensors of the trained model."""

MAX_TENSORS = 20_000
_FINITE_CHUNK = 1 << 16


class Weights:
    """The weights in a safetensors file.

    Args:
        data: the file.

    Raises:
        BundleError: if it is malformed, holds NaN or infinity, or levels without fitting scales.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stored = read_tensors(data, most=MAX_TENSORS)
        for name, stored in self._stored.items():
            self._check(name, stored)
        self.shapes = self._shapes()
        """Shapes of all values that a graph may read, by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stored tensors."""
        return tuple(self._stored)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {ZERO: ()}
        for name, stored in self._stored.items():
            base = name.removesuffix(LEVELS)
            found[name] = found[base] = stored.shape
            if not name.endswith(SCALES):
                found[base + HALF] = stored.shape
        return found

    def value(self, name: str, products: Products = "u8s8") -> NDArray[Any]:
        """A value; what is stored as it is needed is not copied.

        Args:
            name: one of ``shapes``.
            products: the kind that levels are for.
        """
        if name == ZERO:
            return zero_of(products)
        if name in self._stored:
            found = self._view(name)
            if products == "u8u8" and self._is_matrix(name):
                return unsigned(found)
            return found.astype(np.float32) if found.dtype == np.float16 else found
        if name.endswith(HALF):
            return self.value(name.removesuffix(HALF)).astype(np.float16)
        product: NDArray[Any] = self._view(name + LEVELS) * self._view(name + SCALES)
        return product

    def _view(self, name: str) -> NDArray[Any]:
        return self._stored[name].view(self._data)

    def _is_matrix(self, name: str) -> bool:
        """Whether it is the levels of a product's matrix, not those of a table of rows."""
        scales = self._stored.get(name.removesuffix(LEVELS) + SCALES)
        return name.endswith(LEVELS) and scales is not None and len(scales.shape) == 1

    def _check(self, name: str, stored: Stored) -> None:
        if not name or not name.isprintable() or name == ZERO:
            raise BundleError("one of its tensors has a name that cannot be used")
        if name.endswith(LEVELS):
            base = name.removesuffix(LEVELS)
            scales = self._stored.get(base + SCALES)
            fitting = [stored.shape[1:], (*stored.shape[:1], 1)]
            if (
                stored.dtype != np.int8
                or len(stored.shape) != 2
                or scales is None
                or scales.dtype != np.float32
                or scales.shape not in fitting
            ):
                raise BundleError(f"the levels {name[:80]!a} are not int8 with fitting scales")
            if base in self._stored:
                raise BundleError(f"it holds {base[:80]!a} twice")
        elif stored.dtype == np.int8:
            raise BundleError(f"the int8 tensor {name[:80]!a} has no scales")
        else:
            self._check_numbers(name, stored)

    def _check_numbers(self, name: str, stored: Stored) -> None:
        values = stored.view(self._data).reshape(-1)
        scales = name.endswith(SCALES)
        if scales and name.removesuffix(SCALES) + LEVELS not in self._stored:
            raise BundleError(f"the scales {name[:80]!a} have no levels")
        for first in range(0, len(values), _FINITE_CHUNK):
            part = values[first : first + _FINITE_CHUNK]
            if not np.isfinite(part).all() or (scales and not (part > 0).all()):
                raise BundleError(f"the tensor {name[:80]!a} holds NaN, infinity or no scale")


@dataclass(frozen=True)
class Given:
    """The values that a graph reads.

    Attributes:
        weights: of the bundle.
        names: of those that the graph reads.
    """

    weights: Weights
    names: tuple[str, ...]

    def whole(self, onnx: bytes, products: Products = "u8s8") -> bytes:
        """The graph with its weights in it, as any ONNX tool can read it.

        Args:
            onnx: the graph's file.
            products: the kind that int8 weights are made ready for.
        """
        tensors = [held(name, self.weights.value(name, products)) for name in self.names]
        return with_tensors(onnx, tensors)
