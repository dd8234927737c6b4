"""int8 whose result for a window does not depend on what runs beside it.

Weights are int8 with one scale per output column. Activations are quantised while running
with one scale per piece (row): ``y[t] = s_t · w_s · (q_t Wq)``. Usual dynamic quantisation
has one scale for the whole batch: one patient's outlier then coarsens every other patient's
note, and its error is about twice as large. Products are ONNX Runtime's
``MatMulIntegerToFloat``, which scales columns while they are still in the cache.

Inputs of matrices that narrow (the second feed-forward matrix, behind GELU) are mostly
positive; they get a range of their own, ``x = s_t · q_t + m_t``, whose constant part is one
outer product: ``y[t] = s_t · w_s · (q_t Wq) + m_t · colsum(W)``.

The word embeddings become int8 rows with a scale each.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

MIN_EMBEDDING_ROWS = 1024
"""Smaller lookup tables (positions, types) stay as they are."""


def quantize(source: Path, target: Path, *, own_ranges: bool = True, min_columns: int = 1) -> None:
    """Write the int8 form of an encoder or relation graph.

    Args:
        source: fp32 ONNX file, opset 17 or lower (``ReduceMax`` with axes as attribute).
        target: the file to write.
        own_ranges: give the inputs of matrices that narrow a range of their own. What leaves
            a layer norm needs none.
        min_columns: narrower matrices stay as they are.
    """
    model = onnx.load(str(source))
    graph = _Quantizer(model.graph, own_ranges=own_ranges, min_columns=min_columns)
    for node in list(model.graph.node):
        graph.add(node)
    graph.finish()
    if all(item.domain != CONTRIB for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


class _Quantizer:
    """Rewrites a graph node by node."""

    def __init__(self, graph: onnx.GraphProto, *, own_ranges: bool, min_columns: int) -> None:
        self._graph = graph
        self._own_ranges = own_ranges
        self._min_columns = min_columns
        self._weights = {item.name: item for item in graph.initializer}
        self._nodes: list[NodeProto] = []
        self._new: list[TensorProto] = []
        self._quantized: dict[tuple[str, bool], tuple[str, str]] = {}
        self._constant("int8_levels", np.float32(1 / 127))
        self._constant("uint8_levels", np.float32(1 / 255))
        self._constant("smallest_scale", np.float32(1e-12))
        self._constant("one", np.float32(1))
        self._constant("as_list", np.array([-1]))
        self._constant("middle", np.uint8(128))

    def add(self, node: NodeProto) -> None:
        """Copy a node, or put its quantised form in its place."""
        if node.op_type == "MatMul" and self._is_matrix(
            node.input[1], min_columns=self._min_columns
        ):
            self._matmul(node)
        elif node.op_type == "Gather" and self._is_matrix(node.input[0], MIN_EMBEDDING_ROWS):
            self._embedding(node)
        else:
            self._nodes.append(node)

    def finish(self) -> None:
        """Put the new nodes and weights in place of the old."""
        used = {name for node in self._nodes for name in node.input}
        kept = [item for item in (*self._graph.initializer, *self._new) if item.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _is_matrix(self, name: str, min_rows: int = 1, min_columns: int = 1) -> bool:
        weight = self._weights.get(name)
        return (
            weight is not None
            and weight.data_type == TensorProto.FLOAT
            and len(weight.dims) == 2
            and weight.dims[0] >= min_rows
            and weight.dims[1] >= min_columns
        )

    def _matmul(self, node: NodeProto) -> None:
        source, name = node.input
        out = node.output[0]
        weight = numpy_helper.to_array(self._weights[name]).astype(np.float32)
        own_range = self._own_ranges and weight.shape[0] > weight.shape[1]
        quantized, scale = self._activation(source, own_range, weight.shape[0])
        levels, column_scale = _symmetric(weight, axis=0)
        self._constant(f"{name}_int8", levels)
        self._constant(f"{name}_scale", column_scale)
        zero = [] if own_range else ["middle"]
        self._op(
            "MatMulIntegerToFloat",
            [quantized, f"{name}_int8", "one", f"{name}_scale", *zero],
            f"{out}_columns",
            domain=CONTRIB,
        )
        if not own_range:
            self._op("Mul", [f"{out}_columns", scale], out)
            return
        self._constant(f"{name}_sum", (levels * column_scale).sum(axis=0, dtype=np.float32))
        self._op("Mul", [f"{out}_columns", scale], f"{out}_rows")
        self._op("Mul", [f"{source}_lowest", f"{name}_sum"], f"{out}_constant")
        self._op("Add", [f"{out}_rows", f"{out}_constant"], out)

    def _activation(self, source: str, own_range: bool, width: int) -> tuple[str, str]:
        """Names of the rows' levels and scales; made once for all matrices that read them."""
        if (source, own_range) in self._quantized:
            return self._quantized[source, own_range]
        base = f"{source}_{'range' if own_range else 'even'}"
        if own_range:
            self._op("ReduceMax", [source], f"{base}_highest", axes=[-1], keepdims=1)
            self._op("ReduceMin", [source], f"{source}_lowest", axes=[-1], keepdims=1)
            self._op("Sub", [f"{base}_highest", f"{source}_lowest"], f"{base}_extent")
            self._op("Mul", [f"{base}_extent", "uint8_levels"], f"{base}_step")
            self._op("Max", [f"{base}_step", "smallest_scale"], f"{base}_scale")
            self._op("Sub", [source, f"{source}_lowest"], f"{base}_shifted")
            self._levels(f"{base}_shifted", base, width, zero="")
        else:
            self._op("Abs", [source], f"{base}_size")
            self._op("ReduceMax", [f"{base}_size"], f"{base}_extent", axes=[-1], keepdims=1)
            self._op("Mul", [f"{base}_extent", "int8_levels"], f"{base}_step")
            self._op("Max", [f"{base}_step", "smallest_scale"], f"{base}_scale")
            self._levels(source, base, width, zero="middle")
        self._quantized[source, own_range] = (f"{base}_uint8", f"{base}_scale")
        return self._quantized[source, own_range]

    def _levels(self, source: str, base: str, width: int, *, zero: str) -> None:
        """Every row divided by its scale, rounded, and shifted by the level that means zero.

        Levels are unsigned: ONNX Runtime's fast x86 kernels multiply uint8 by int8.
        """
        self._op("Shape", [source], f"{base}_shape")
        self._constant(f"{base}_flat", np.array([-1, width]))
        self._op("Reshape", [source, f"{base}_flat"], f"{base}_rows")
        self._op("Reshape", [f"{base}_scale", "as_list"], f"{base}_scales")
        zeros = []
        if zero:
            self._op("Shape", [f"{base}_scales"], f"{base}_count")
            self._op("Expand", [zero, f"{base}_count"], f"{base}_zeros")
            zeros = [f"{base}_zeros"]
        self._op(
            "QuantizeLinear",
            [f"{base}_rows", f"{base}_scales", *zeros],
            f"{base}_levels",
            axis=0,
        )
        self._op("Reshape", [f"{base}_levels", f"{base}_shape"], f"{base}_uint8")

    def _embedding(self, node: NodeProto) -> None:
        name, index = node.input
        out = node.output[0]
        levels, scale = _symmetric(
            numpy_helper.to_array(self._weights[name]).astype(np.float32), axis=1
        )
        self._constant(f"{name}_int8", levels)
        self._constant(f"{name}_scale", scale)
        self._op("Gather", [f"{name}_int8", index], f"{out}_int8", axis=0)
        self._op("Gather", [f"{name}_scale", index], f"{out}_scale", axis=0)
        self._op("Cast", [f"{out}_int8"], f"{out}_levels", to=TensorProto.FLOAT)
        self._op("Mul", [f"{out}_levels", f"{out}_scale"], out)

    def _op(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> None:
        self._nodes.append(
            helper.make_node(kind, list(inputs), [output], name=f"{output}/{kind}", **attributes)
        )

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> None:
        if all(item.name != name for item in self._new):
            self._new.append(numpy_helper.from_array(np.asarray(value), name))


def _symmetric(weight: Floats, *, axis: int) -> tuple[NDArray[np.int8], Floats]:
    """int8 levels and the scale of each column (axis 0) or row (axis 1, kept as a column)."""
    extent = np.abs(weight).max(axis=axis, keepdims=True)
    scale = (np.maximum(extent, 1e-12) / 127).astype(np.float32)
    levels = np.clip(np.round(weight / scale), -127, 127).astype(np.int8)
    return levels, scale[0] if axis == 0 else scale
