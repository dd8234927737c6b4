"""Which 8-bit products this machine computes exactly, found by computing some.

ONNX Runtime multiplies unsigned activations by signed weights (``u8s8``) or by unsigned ones
(``u8u8``). Processors with VNNI, AMX or Arm's dot products add products of 8-bit numbers up in
32 bits. Other x86 processors add pairs of u8s8 products in 16 bits, which overflow and are cut
(``vpmaddubsw``), but widen u8u8 products first. The weights of a bundle serve both ways: 128
added to every weight, and 128 subtracted again as ONNX Runtime's zero point of weights, gives
the same sums.

No list of processors decides: the products below are computed by the very kernels that the
networks use, and their sums are known.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.errors import BackendError
from emlb_runtime.inference.onnx_bytes import CONTRIB, held, model, node, value

from .providers import PROVIDERS, import_onnxruntime

Products = Literal["u8s8", "u8u8"]
PRODUCTS: tuple[Products, ...] = ("u8s8", "u8u8")
"""In the order of their speed."""

ROWS, DEPTH, COLUMNS = (1, 7), 68, 40
"""Shapes of the self-test: kernels differ for one row and for many, and at the edges of blocks."""

LARGEST_LEVEL, LARGEST_WEIGHT = 255, 127


def choose_products() -> Products:
    """The fastest kind of products that is exact here.

    Raises:
        BackendError: if neither is.
    """
    for kind in PRODUCTS:  # the second is not tried where the first passes
        if self_test(kind):
            return kind
    raise BackendError(
        "the self-test of ONNX Runtime's 8-bit products fails on this processor, signed weights "
        "and unsigned: use --precision fp32, or another build of ONNX Runtime"
    )


@cache
def self_test(kind: Products) -> bool:
    """Whether products of the largest numbers have the right sums.

    Every activation is 255. Weights are 127 in even columns and -127 in odd ones, so that the
    sum of a column is 255 · 127 · 68 = 2,202,180 or its negative. Two such products already
    exceed 16 bits; a kernel that adds pairs in 16 bits gives 32,767 for each of 34 pairs
    instead, 1,114,078.
    """
    weights = np.full((DEPTH, COLUMNS), LARGEST_WEIGHT, np.int8)
    weights[:, 1::2] *= -1
    right = LARGEST_LEVEL * LARGEST_WEIGHT * DEPTH
    session = _session(kind, weights)
    for rows in ROWS:
        levels = np.full((rows, DEPTH), LARGEST_LEVEL, np.uint8)
        sums = session.run(None, {"levels": levels})[0]
        if not ((sums[:, 0::2] == right).all() and (sums[:, 1::2] == -right).all()):
            return False
    return True


def unsigned(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Signed weights as unsigned ones, 128 added to each."""
    return np.bitwise_xor(weights.view(np.uint8), np.uint8(128))


def zero_of(kind: Products) -> NDArray[np.generic]:
    """The level that means a weight of zero."""
    return np.zeros((), np.int8) if kind == "u8s8" else np.full((), 128, np.uint8)


def _session(kind: Products, weights: NDArray[np.int8]) -> Any:
    stored = unsigned(weights) if kind == "u8u8" else weights
    one = np.ones((), np.float32)
    inputs = ["levels", "weights", "one", "one", "middle", "zero"]
    onnx = model(
        [node("MatMulIntegerToFloat", inputs, "sums", domain=CONTRIB)],
        [value("levels", np.dtype(np.uint8), ["rows", DEPTH])],
        [value("sums", np.dtype(np.float32), ["rows", COLUMNS])],
        [
            held("weights", stored),
            held("one", one),
            held("middle", np.zeros((), np.uint8)),
            held("zero", zero_of(kind)),
        ],
    )
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(onnx, options, providers=[PROVIDERS["cpu"]])
