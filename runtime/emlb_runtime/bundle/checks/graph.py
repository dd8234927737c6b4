"""An ONNX file read without the onnx library: what goes in, what comes out, what it runs.

A graph is refused for any part that export does not write: operators outside the lists
below, functions, training steps, loops, values in other files. Only the branches of ``If``
(which DeBERTa needs) may hold graphs of their own.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from emlb_runtime.errors import BundleError

from .tensors import read_tensor
from .values import Value, read_value
from .wire import BYTES, FIXED32, VARINT, Field, Reader, key

OPSETS = range(14, 22)
IR_VERSIONS = range(7, 11)
MAX_BYTES = 2 << 30
MAX_FIELDS = 1_000_000
MAX_NODES = 20_000
MAX_TENSORS = 20_000
MAX_ENTRIES = 64
MAX_DEPTH = 2
"""Graphs inside graphs."""

STANDARD = frozenset(
    b"""
    Abs Add And ArgMax ArgMin Cast CastLike Ceil Clip Concat Constant ConstantOfShape Conv Cos
    CumSum DequantizeLinear Div DynamicQuantizeLinear Einsum Equal Erf Exp Expand Flatten Floor
    Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual HardSwish Identity If
    InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul
    MatMulInteger Max Mean Min Mod Mul Neg NonZero Not Or Pad Pow QuantizeLinear Range Reciprocal
    ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round ScatterElements
    ScatterND Shape Sigmoid Sign Sin Size Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh
    Tile Transpose Trilu Unsqueeze Where Xor
    """.split()
)
"""Arithmetic on tensors: nothing random, nothing with texts, sequences, images or loops."""

CONTRIB = frozenset(
    b"BiasGelu DynamicQuantizeMatMul FastGelu FusedMatMul Gelu MatMulIntegerToFloat "
    b"SkipLayerNormalization".split()
)
"""What export and ONNX Runtime's optimiser make of encoders (domain com.microsoft)."""

_DOMAINS = frozenset(
    b"""
    ai.onnx ai.onnx.ml ai.onnx.preview ai.onnx.preview.training ai.onnx.training com.microsoft
    com.microsoft.dml com.microsoft.experimental com.microsoft.nchwc com.ms.internal.nhwc
    com.xilinx org.pytorch.aten
    """.split()
) | {b""}
"""ONNX Runtime declares all that it knows, used or not."""

_IR, _GRAPH, _OPSET, _MODEL_METADATA = key(1, VARINT), key(7, BYTES), key(8, BYTES), key(14, BYTES)
_MODEL_TEXTS = {key(2, BYTES), key(3, BYTES), key(4, BYTES), key(5, VARINT), key(6, BYTES)}
_NODE, _TENSOR, _INPUT, _OUTPUT = key(1, BYTES), key(5, BYTES), key(11, BYTES), key(12, BYTES)
_GRAPH_NAME, _GRAPH_DOC = key(2, BYTES), key(10, BYTES)
_GRAPH_NOTES = {key(13, BYTES), key(16, BYTES)}
_READS, _WRITES, _KIND, _DOMAIN = key(1, BYTES), key(2, BYTES), key(4, BYTES), key(7, BYTES)
_ATTRIBUTE, _NODE_NOTES = key(5, BYTES), {key(3, BYTES), key(6, BYTES), key(9, BYTES)}
_NUMBER, _VALUE, _BRANCH = key(2, FIXED32), key(5, BYTES), key(6, BYTES)
_SMALL = {key(1, BYTES), key(3, VARINT), key(4, BYTES), key(13, BYTES), key(20, VARINT)}
_LISTS = {key(7, FIXED32), key(7, BYTES), key(8, VARINT), key(8, BYTES)}


@dataclass(frozen=True)
class Network:
    """What a checked ONNX file takes and gives.

    Attributes:
        inputs: in order.
        outputs: in order.
        rows: per input, rows of the smallest table that it picks from directly.
        weights: names of the values that it reads and that the bundle's weights give.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    rows: dict[str, int]
    weights: tuple[str, ...] = ()


def read_network(
    data: bytes,
    weights: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    *,
    holder: str = "nothing else",
) -> Network:
    """Check an ONNX file and say what it takes and gives.

    Args:
        data: the file.
        weights: per name that the file may read without holding it, the value's shape.
        holder: of the weights, for messages.

    Raises:
        BundleError: if it is not well formed, has parts that no bundle needs, or reads a value
            that nothing gives.
    """
    if len(data) >= MAX_BYTES:
        raise BundleError("it is 2 GB or more")
    if data[4:8] == b"ORTM":
        # ONNX Runtime would take it for its other format, and read something else than this.
        raise BundleError("it is not an ONNX file but one in ONNX Runtime's own format")
    reader = Reader(data, max_fields=MAX_FIELDS)
    graph: Field | None = None
    version, opset = 0, 0
    domains: set[bytes] = set()
    for field in _once(reader.fields(0, len(data)), {_OPSET, _MODEL_METADATA}):
        tag, first, _ = field
        if tag == _GRAPH:
            graph = field
        elif tag == _IR:
            version = first
        elif tag == _OPSET:
            domain, number = _opset(reader, field)
            if domain in domains or len(domains) >= MAX_ENTRIES:
                raise BundleError("it declares an operator set twice, or too many")
            domains.add(domain)
            opset = number if domain in (b"", b"ai.onnx") else opset
        elif tag == _MODEL_METADATA:
            _check_metadata(reader, field)
        elif tag not in _MODEL_TEXTS:
            raise BundleError("it has functions, training steps or other parts no bundle needs")
    if version not in IR_VERSIONS or opset not in OPSETS:
        raise BundleError(
            f"it is of ONNX version {version} and operator set {opset}; this runtime reads "
            f"versions {IR_VERSIONS[0]} to {IR_VERSIONS[-1]} and sets {OPSETS[0]} to {OPSETS[-1]}"
        )
    if graph is None:
        raise BundleError("it has no graph")
    return _GraphReader(reader, weights, holder).read(graph)


def _once(fields: list[Field], repeated: set[int]) -> Iterable[Field]:
    """The fields; none but the repeated ones twice, which parsers would merge."""
    seen: set[int] = set()
    for field in fields:
        if field[0] in seen and field[0] not in repeated:
            raise BundleError("it states something twice")
        seen.add(field[0])
    return fields


def _opset(reader: Reader, field: Field) -> tuple[bytes, int]:
    domain, version = b"", 0
    for tag, first, last in _once(reader.fields(field[1], field[2]), set()):
        if tag == key(1, BYTES):
            domain = reader.data[first:last]
        elif tag == key(2, VARINT):
            version = first
    if domain not in _DOMAINS:
        raise BundleError("it declares custom operators")
    if domain == b"com.microsoft" and version != 1:
        raise BundleError(f"it uses version {version} of the operators of com.microsoft, not 1")
    return domain, version


def _check_metadata(reader: Reader, field: Field) -> None:
    for tag, first, last in reader.fields(field[1], field[2]):
        if tag == key(1, BYTES) and reader.data[first:last] == b"ort_config":
            raise BundleError("it brings settings for ONNX Runtime")


class _GraphReader:
    """Reads a graph and the branches inside it, with one count of nodes and tensors."""

    def __init__(self, reader: Reader, weights: Mapping[str, tuple[int, ...]], holder: str) -> None:
        self._reader = reader
        self._holder = holder
        self._weights = {name.encode(): shape for name, shape in weights.items()}
        self._reads: set[bytes] = set()
        self._writes: set[bytes] = {b""}  # an optional input that is left out
        self._waiting: list[tuple[Field, int]] = []
        self._n_nodes = 0
        self._n_tensors = 0
        self._picks: list[tuple[bytes, bytes]] = []

    def read(self, graph: Field) -> Network:
        """The network of the outermost graph."""
        inputs, outputs, tables = self._graph(graph, 0)
        picks, self._picks = self._picks, []
        while self._waiting:
            branch, depth = self._waiting.pop()
            if self._graph(branch, depth)[0]:
                raise BundleError("a branch in it has inputs of its own")
        given = self._given(value.name.encode() for value in inputs)
        if any(value.name.encode() in tables for value in inputs):
            raise BundleError("it holds values for its own inputs")
        tables |= {name: self._weights[name] for name in given}
        rows: dict[str, int] = {}
        for value in inputs:
            name = value.name.encode()
            found = [tables[table] for table, index in picks if index == name and table in tables]
            if sizes := [dims[0] for dims in found if dims]:
                rows[value.name] = min(sizes)
        return Network(
            tuple(inputs), tuple(outputs), rows, tuple(sorted(name.decode() for name in given))
        )

    def _given(self, inputs: Iterable[bytes]) -> set[bytes]:
        """The values that the weights must give."""
        known = self._writes.union(inputs)
        missing = self._reads - known
        if unknown := missing - self._weights.keys():
            shown = min(unknown)[:80].decode("ascii", "replace")
            raise BundleError(f"it reads {shown!a}, which it does not hold, nor {self._holder}")
        if self._weights.keys() & known:
            raise BundleError("it holds or computes a value that the weights give")
        return missing

    def _graph(
        self, graph: Field, depth: int
    ) -> tuple[list[Value], list[Value], dict[bytes, tuple[int, ...]]]:
        inputs: list[Value] = []
        outputs: list[Value] = []
        tables: dict[bytes, tuple[int, ...]] = {}
        for tag, first, last in self._reader.fields(graph[1], graph[2]):
            if tag == _NODE:
                self._node(first, last, depth)
            elif tag == _TENSOR:
                self._count_tensor()
                tensor = read_tensor(self._reader, first, last)
                if tensor.name in tables or not tensor.name:
                    raise BundleError("two of its tensors have one name, or one has none")
                tables[tensor.name] = tensor.dims
                self._writes.add(tensor.name)
            elif tag in (_INPUT, _OUTPUT):
                values = inputs if tag == _INPUT else outputs
                if len(values) >= MAX_ENTRIES:
                    raise BundleError("it has too many inputs or outputs")
                values.append(read_value(self._reader, first, last, typed=depth == 0))
            elif tag not in _GRAPH_NOTES and tag not in (_GRAPH_NAME, _GRAPH_DOC):
                raise BundleError("its graph has sparse tensors or other parts no bundle needs")
        return inputs, outputs, tables

    def _count_tensor(self) -> None:
        self._n_tensors += 1
        if self._n_tensors > MAX_TENSORS:
            raise BundleError(f"it has more than {MAX_TENSORS:,} tensors")

    def _node(self, start: int, end: int, depth: int) -> None:
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            raise BundleError(f"it has more than {MAX_NODES:,} nodes")
        data, kind, domain = self._reader.data, None, None
        reads: list[bytes] = []
        attributes: list[Field] = []
        for field in self._reader.fields(start, end):
            tag, first, last = field
            if tag == _READS:
                reads.append(data[first:last])
            elif tag == _ATTRIBUTE:
                attributes.append(field)
            elif tag == _KIND and kind is None:
                kind = data[first:last]
            elif tag == _DOMAIN and domain is None:
                domain = data[first:last]
            elif tag == _WRITES:
                self._writes.add(data[first:last])
            elif tag not in _NODE_NOTES:
                raise BundleError("a node has parts no bundle needs, or states something twice")
        if not domain or domain == b"ai.onnx":
            known = kind in STANDARD
        else:
            known = domain == b"com.microsoft" and kind in CONTRIB
        if not known:
            shown = b".".join(part for part in (domain, kind) if part)[:80]
            raise BundleError(
                f"it uses the operator {shown.decode('ascii', 'replace')!a}, which no bundle needs"
            )
        self._reads.update(reads)
        for _, first, last in attributes:
            self._attribute(first, last, kind, depth)
        if kind == b"Gather" and len(reads) == 2:
            self._picks.append((reads[0], reads[1]))

    def _attribute(self, start: int, end: int, kind: bytes | None, depth: int) -> None:
        for field in _once(self._reader.fields(start, end), _LISTS):
            tag, first, last = field
            if tag in _SMALL or tag in _LISTS:
                continue
            if tag == _NUMBER:
                if not math.isfinite(struct.unpack_from("<f", self._reader.data, first)[0]):
                    raise BundleError("an attribute is NaN or infinite")
            elif tag == _VALUE:
                self._count_tensor()
                read_tensor(self._reader, first, last)
            elif tag == _BRANCH and kind == b"If" and depth < MAX_DEPTH:
                self._waiting.append((field, depth + 1))
            else:
                raise BundleError("a node has a graph, texts or other parts no bundle needs")
