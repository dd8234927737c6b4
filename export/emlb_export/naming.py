"""The weights of a trained model by name, and graphs without weights that read them by it.

Names and orientations are those of ``inference.weights``. Export folds some tensors into
others, which leaves the model's function as it is (``emlb_runtime.bundle.state`` undoes it):

* for ``PlainBert``, queries hold the scale of attention, the output's bias holds the values'
  bias, positions hold the first token type, and keys have no bias;
* a relation head's table of distances holds its values' bias.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import Tensor

from emlb.model.model import EmlbModel
from emlb.model.relation import RelationHead
from emlb_runtime.inference.weights import HALF, LEVELS, SCALES, ZERO

from .graph.plain_bert import is_plain_bert

TRANSPOSED = ".T"
MAX_HELD = 4096
"""Values of a tensor of no name that a graph may hold itself."""

Arrays = dict[str, NDArray[Any]]


def fold(model: EmlbModel) -> Arrays:
    """The model's tensors as export folds them, by their names in its ``state_dict``.

    Those that are folded into others, and the CRF's, are left out.
    """
    state = {
        name: _array(value)
        for name, value in model.state_dict().items()
        if value.is_floating_point() and ".crf." not in name
    }
    if is_plain_bert(model.encoder):
        _fold_bert(state, model.encoder)
    for task in model.heads:
        if isinstance(model.head(task).relation, RelationHead):
            base = f"heads.{task}.relation"
            bias = state.pop(f"{base}.value.bias")
            state[f"{base}.distance.weight"] = state[f"{base}.distance.weight"] + np.tile(bias, 2)
    return state


def _fold_bert(state: Arrays, encoder: Any) -> None:
    """See ``PlainBert``, whose arithmetic this repeats."""
    embeddings = "encoder.embeddings"
    types = state.pop(f"{embeddings}.token_type_embeddings.weight")
    places = f"{embeddings}.position_embeddings.weight"
    state[places] = state[places] + types[0]
    for number, layer in enumerate(encoder.encoder.layer):
        base = f"encoder.encoder.layer.{number}.attention"
        scale = layer.attention.self.attention_head_size**-0.5
        for name in ("weight", "bias"):
            value = layer.attention.self.query.get_parameter(name)
            state[f"{base}.self.query.{name}"] = _array(value.detach() * scale)
        del state[f"{base}.self.key.bias"], state[f"{base}.self.value.bias"]
        dense = layer.attention.output.dense
        bias = dense.bias + dense.weight @ layer.attention.self.value.bias
        state[f"{base}.output.dense.bias"] = _array(bias)


def names_of(state: Mapping[str, NDArray[Any]]) -> Arrays:
    """Every array that a graph may hold for these tensors, by the name it is to have.

    Products read matrices transposed, and some read two of a relation head's side by side.
    """
    joined = dict(state)
    for name, value in state.items():
        for one, other in (("key", "value"), ("query_head", "query_tail")):
            ending = f".relation.{one}.weight"
            second = f"{name.removesuffix(ending)}.relation.{other}.weight"
            if name.endswith(ending) and second in state:
                joined[f"{name}+{second}"] = np.concatenate([value, state[second]])
    found = {}
    for name, value in joined.items():
        found[name] = value
        if value.ndim == 2:
            found[name + TRANSPOSED] = np.ascontiguousarray(value.T)
    return found


def rename(graph: onnx.GraphProto, arrays: Mapping[str, NDArray[Any]], *, prefix: str) -> None:
    """Give a graph's weights the names of the arrays that they are.

    Args:
        graph: of floats, which holds its weights; changed in place.
        arrays: of ``names_of``.
        prefix: of the names that large weights get which are none of the arrays.
    """
    known: dict[bytes, str] = {}
    for name, value in arrays.items():
        known.setdefault(_digest(value), name)
    names: dict[str, str] = {}
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(weight)
        found = known.get(_digest(value)) if value.ndim else None
        if found is None and value.size > MAX_HELD:
            found = f"{prefix}.{len(names)}"
        if found is not None and found not in names.values():
            names[weight.name] = found
    for weight in graph.initializer:
        weight.name = names.get(weight.name, weight.name)
    for node in _nodes(graph):
        node.input[:] = [names.get(name, name) for name in node.input]


def _digest(value: NDArray[Any]) -> bytes:
    return hashlib.sha256(f"{value.shape}".encode() + value.tobytes()).digest()


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and of the branches in it, which read its values too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def strip(model: onnx.ModelProto, names: frozenset[str]) -> Arrays:
    """Take the named weights out of a graph, which reads them by name from then on.

    Args:
        model: changed in place. Of the names, it may hold the tensors themselves, their levels
            and scales, or the tensors in half precision.
        names: of ``rename``.

    Returns:
        The weights as the graph held them.
    """
    graph = model.graph
    zeros = {
        node.input[5]
        for node in graph.node
        if node.op_type == "MatMulIntegerToFloat" and len(node.input) > 5
    }
    taken: Arrays = {}
    for weight in list(graph.initializer):
        if weight.name.removesuffix(LEVELS).removesuffix(SCALES) in names:
            name = weight.name
            if weight.data_type == TensorProto.FLOAT16:
                name += HALF
            taken[name] = numpy_helper.to_array(weight)
            _replace(graph, weight.name, name)
            graph.initializer.remove(weight)
        elif weight.name in zeros:
            _replace(graph, weight.name, ZERO)
            graph.initializer.remove(weight)
    return taken


def _replace(graph: onnx.GraphProto, old: str, new: str) -> None:
    if old != new:
        for node in _nodes(graph):
            node.input[:] = [new if name == old else name for name in node.input]


def complete(taken: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> Arrays:
    """The weights of some graphs, and what no graph reads but the trainable model has.

    Args:
        taken: by ``strip``, of graphs of floats and of int8 ones.
        state: of ``fold``.
    """
    levels = {name.removesuffix(LEVELS) for name in taken if name.endswith(LEVELS)}
    found = {
        name: value
        for name, value in taken.items()
        if name not in levels and not name.endswith(HALF)
    }
    covered = {
        part for name in found for part in base_name(name).removesuffix(TRANSPOSED).split("+")
    }
    return found | {name: value for name, value in state.items() if name not in covered}


def base_name(name: str) -> str:
    """The name of a stored tensor without what tells levels from scales."""
    return name.removesuffix(LEVELS).removesuffix(SCALES)


def _array(value: Tensor) -> NDArray[Any]:
    return value.detach().cpu().float().contiguous().numpy()
