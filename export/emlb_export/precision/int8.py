"""int8 whose result for a window does not depend on what runs beside it.

Weights are int8 with one scale per output column. Activations are quantised while running
with one scale per piece (row): ``y[t] = s_t · w_s · (q_t Wq)``. Usual dynamic quantisation
has one scale for the whole batch: one patient's outlier then coarsens every other patient's
note, and its error is about twice as large. Products are ONNX Runtime's
``MatMulIntegerToFloat``, which scales columns while they are still in the cache.

Inputs of matrices that narrow (the second feed-forward matrix, behind GELU) are mostly
positive; they get a range of their own, ``x = s_t · q_t + m``, whose constant part is known
beforehand: ``y[t] = s_t · w_s · (q_t Wq) + m · colsum(W)``. GELU has a least value, and m is
that; of anything else it is the row's lowest, ``m_t``.

The word embeddings become int8 rows with a scale each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from emlb_runtime.inference.weights import LEVELS, SCALES

Floats = NDArray[np.float32]

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

LEAST = {"Gelu": -0.17, "BiasGelu": -0.17, "FastGelu": -0.17, "Relu": 0.0}
"""The least value that an activation function gives, or a little less."""

MIN_EMBEDDING_ROWS = 1024
"""Smaller lookup tables (positions, types) stay as they are."""

MIN_COLUMNS = 32
"""Narrower matrices stay as they are: to quantise their input costs more than it saves."""


def quantize(source: Path, target: Path, *, own_ranges: bool = True) -> None:
    """Write the int8 form of an encoder or relation graph.

    Args:
        source: fp32 ONNX file, opset 17 or lower (``ReduceMax`` with axes as attribute).
        target: the file to write.
        own_ranges: give the inputs of matrices that narrow a range of their own. What leaves
            a layer norm needs none.
    """
    model = onnx.load(str(source))
    graph = _Quantizer(model.graph, own_ranges=own_ranges)
    for node in list(model.graph.node):
        graph.add(node)
    graph.finish()
    if all(item.domain != CONTRIB for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


@dataclass(frozen=True)
class _Levels:
    """The quantised form of a matrix of activations; names of graph values.

    Attributes:
        values: unsigned levels.
        scale: of each row, as a column.
        zero: the level that means zero, as a constant; empty where a range begins at level 0.
        lowest: what level 0 of a range means: a column, or one number for all rows.
    """

    values: str
    scale: str
    zero: str = ""
    lowest: str | float = 0.0


class _Quantizer:
    """Rewrites a graph node by node."""

    def __init__(self, graph: onnx.GraphProto, *, own_ranges: bool) -> None:
        self._graph = graph
        self._own_ranges = own_ranges
        self._weights = {item.name: item for item in graph.initializer}
        self._kinds = {name: node.op_type for node in graph.node for name in node.output}
        self._rows = {node.input[0] for node in graph.node if node.op_type == "Gemm"}
        self._nodes: list[NodeProto] = []
        self._new: list[TensorProto] = []
        self._quantized: dict[tuple[str, bool], _Levels] = {}
        self._constant("int8_levels", np.float32(1 / 127))
        self._constant("uint8_levels", np.float32(1 / 255))
        self._constant("smallest_scale", np.float32(1e-12))
        self._constant("one", np.float32(1))
        self._constant("as_list", np.array([-1]))
        self._constant("middle", np.uint8(128))
        self._constant("weight_zero", np.int8(0))  # bundles may turn the weights unsigned

    def add(self, node: NodeProto) -> None:
        """Copy a node, or put its quantised form in its place."""
        if self._is_product(node) and self._is_matrix(node.input[1], min_columns=MIN_COLUMNS):
            self._product(node)
        elif node.op_type == "Gather" and self._is_matrix(node.input[0], MIN_EMBEDDING_ROWS):
            self._embedding(node)
        else:
            self._nodes.append(node)

    def finish(self) -> None:
        """Put the new nodes and weights in place of the old."""
        used = {name for node in self._nodes for name in node.input if name}
        kept = [item for item in (*self._graph.initializer, *self._new) if item.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _is_product(self, node: NodeProto) -> bool:
        """Whether it is ``x W`` or, of rows, ``x W + b``, with b known."""
        if node.op_type != "Gemm":
            return node.op_type == "MatMul"
        asked = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        return (
            all(asked.get(name, value) == value for name, value in plain.items())
            and len(node.input) == 3
            and node.input[2] in self._weights
        )

    def _is_matrix(self, name: str, min_rows: int = 1, min_columns: int = 1) -> bool:
        weight = self._weights.get(name)
        return (
            weight is not None
            and weight.data_type == TensorProto.FLOAT
            and len(weight.dims) == 2
            and weight.dims[0] >= min_rows
            and weight.dims[1] >= min_columns
        )

    def _product(self, node: NodeProto) -> None:
        source, name, out = node.input[0], node.input[1], node.output[0]
        weight = self._value(name)
        own_range = self._own_ranges and weight.shape[0] > weight.shape[1]
        rows = self._activation(source, own_range, weight.shape[0])
        levels, column_scale = _symmetric(weight, axis=0)
        self._constant(f"{name}{LEVELS}", levels)
        self._constant(f"{name}{SCALES}", column_scale)
        weights = [f"{name}{LEVELS}", "one", f"{name}{SCALES}"]
        self._op(
            "MatMulIntegerToFloat",
            [rows.values, *weights, rows.zero, "weight_zero"],
            f"{out}_columns",
            domain=CONTRIB,
        )
        added = self._added(node, rows, (levels * column_scale).sum(axis=0, dtype=np.float32))
        self._op("Mul", [f"{out}_columns", rows.scale], f"{out}_rows" if added else out)
        if added:
            self._op("Add", [f"{out}_rows", added], out)

    def _added(self, node: NodeProto, rows: _Levels, sums: Floats) -> str:
        """The name of what a product lacks yet: its bias, and what its input's lowest adds.

        Args:
            node: the product.
            rows: its input.
            sums: of the weight's columns.
        """
        name, out = node.input[1], node.output[0]
        bias = self._value(node.input[2]) if len(node.input) == 3 else np.zeros_like(sums)
        lowest = rows.lowest
        if lowest == 0.0:
            return node.input[2] if bias.any() else ""
        if isinstance(lowest, float):
            bias = bias + np.float32(lowest) * sums
        known = f"{out}_bias" if bias.any() else ""
        if known:
            self._constant(known, bias)
        if isinstance(lowest, float):
            return known
        self._constant(f"{name}_sum", sums)
        self._op("Mul", [lowest, f"{name}_sum"], f"{out}_lowest")
        if not known:
            return f"{out}_lowest"
        self._op("Add", [f"{out}_lowest", known], f"{out}_constant")
        return f"{out}_constant"

    def _activation(self, source: str, own_range: bool, width: int) -> _Levels:
        """The levels of some activations; made once for all products that read them."""
        if (source, own_range) not in self._quantized:
            make = self._range if own_range else self._even
            self._quantized[source, own_range] = make(source, width)
        return self._quantized[source, own_range]

    def _even(self, source: str, width: int) -> _Levels:
        """Levels on both sides of zero."""
        base = f"{source}_even"
        self._op("Abs", [source], f"{base}_size")
        self._op("ReduceMax", [f"{base}_size"], f"{base}_extent", axes=[-1], keepdims=1)
        self._op("Mul", [f"{base}_extent", "int8_levels"], f"{base}_step")
        self._op("Max", [f"{base}_step", "smallest_scale"], f"{base}_scale")
        self._levels(source, source, base, width, zero="middle")
        return _Levels(f"{base}_uint8", f"{base}_scale", zero="middle")

    def _range(self, source: str, width: int) -> _Levels:
        """Levels from the lowest value on."""
        base = f"{source}_range"
        least = LEAST.get(self._kinds.get(source, ""))
        lowest = f"{source}_lowest"
        if least is None:
            self._op("ReduceMin", [source], lowest, axes=[-1], keepdims=1)
        else:
            self._constant(lowest, np.float32(least))
        self._op("ReduceMax", [source], f"{base}_highest", axes=[-1], keepdims=1)
        self._op("Sub", [f"{base}_highest", lowest], f"{base}_extent")
        self._op("Mul", [f"{base}_extent", "uint8_levels"], f"{base}_step")
        self._op("Max", [f"{base}_step", "smallest_scale"], f"{base}_scale")
        self._op("Sub", [source, lowest], f"{base}_shifted")
        self._levels(f"{base}_shifted", source, base, width)
        return _Levels(f"{base}_uint8", f"{base}_scale", lowest=lowest if least is None else least)

    def _levels(self, values: str, source: str, base: str, width: int, *, zero: str = "") -> None:
        """Every row divided by its scale, rounded, and shifted by the level that means zero.

        Levels are unsigned: ONNX Runtime's fast x86 kernels multiply uint8 by int8.

        Args:
            values: what to divide, of the shape of ``source``.
            source: a value of the graph as it was, rows or of more dimensions.
            base: beginning of the new values' names.
            width: of a row.
            zero: the constant for the level that means zero; empty for level 0.
        """
        self._op("Reshape", [f"{base}_scale", "as_list"], f"{base}_scales")
        zeros = []
        if zero:
            self._op("Shape", [f"{base}_scales"], f"{base}_count")
            self._op("Expand", [zero, f"{base}_count"], f"{base}_zeros")
            zeros = [f"{base}_zeros"]
        if source in self._rows:
            rows = [values, f"{base}_scales", *zeros]
            self._op("QuantizeLinear", rows, f"{base}_uint8", axis=0)
            return
        self._op("Shape", [values], f"{base}_shape")
        self._constant(f"{base}_flat", np.array([-1, width]))
        self._op("Reshape", [values, f"{base}_flat"], f"{base}_rows")
        rows = [f"{base}_rows", f"{base}_scales", *zeros]
        self._op("QuantizeLinear", rows, f"{base}_levels", axis=0)
        self._op("Reshape", [f"{base}_levels", f"{base}_shape"], f"{base}_uint8")

    def _embedding(self, node: NodeProto) -> None:
        name, index = node.input
        out = node.output[0]
        levels, scale = _symmetric(self._value(name), axis=1)
        self._constant(f"{name}{LEVELS}", levels)
        self._constant(f"{name}{SCALES}", scale)
        self._op("Gather", [f"{name}{LEVELS}", index], f"{out}_int8", axis=0)
        self._op("Gather", [f"{name}{SCALES}", index], f"{out}_scale", axis=0)
        self._op("Cast", [f"{out}_int8"], f"{out}_levels", to=TensorProto.FLOAT)
        self._op("Mul", [f"{out}_levels", f"{out}_scale"], out)

    def _value(self, name: str) -> Floats:
        """A weight, as numbers."""
        return numpy_helper.to_array(self._weights[name]).astype(np.float32)

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
