"""ONNX files that lie; see ``hostile``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runtime.hostile import ENCODER, RELATIONS, Kind, Spoil, content, model, seal


def _axis(values: str, place: int, axis: int, size: int) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        shape = getattr(found.graph, values)[place].type.tensor_type.shape
        shape.dim[axis].Clear()
        shape.dim[axis].dim_value = size

    return change


def _add_axis(found: Any) -> None:
    found.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1


def _add_input(found: Any) -> None:
    found.graph.input.add().CopyFrom(found.graph.input[0])
    found.graph.input[-1].name = "secret"


def _add_output(found: Any) -> None:
    found.graph.output.add().CopyFrom(found.graph.output[0])
    found.graph.output[-1].name = "copy"


def _kind(place: int, kind: int) -> Callable[[Any], object]:
    return lambda found: setattr(found.graph.input[place].type.tensor_type, "elem_type", kind)


def _node(op: str, domain: str = "", **attributes: Any) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        import onnx

        if domain not in {opset.domain for opset in found.opset_import}:
            found.opset_import.add(domain=domain, version=1)
        made = onnx.helper.make_node(op, ["input_ids"], ["made"], domain=domain, **attributes)
        found.graph.node.append(made)

    return change


def _own_graph() -> Any:
    import onnx

    return onnx.helper.make_graph([], "inner", [], [])


def _loop(found: Any) -> None:
    _node("Loop", body=_own_graph())(found)


def _nested_ifs(found: Any) -> None:
    import onnx

    graph = _own_graph()
    for _ in range(6):
        inner = onnx.helper.make_node(
            "If", ["x"], ["y"], then_branch=graph, else_branch=_own_graph()
        )
        graph = onnx.helper.make_graph([inner], "inner", [], [])
    _node("If", then_branch=graph, else_branch=_own_graph())(found)


def _big(found: Any) -> Any:
    """A tensor of floats that the graph holds."""
    values = bytes(4 * 32 * 4)
    return found.graph.initializer.add(name="held", data_type=1, dims=[32, 4], raw_data=values)


def _external(location: str) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        tensor = _big(found)
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        tensor.external_data.add(key="location", value=location)

    return change


def _external_attribute(found: Any) -> None:
    import onnx

    tensor = onnx.helper.make_tensor("x", 1, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    _node("Constant", value=tensor)(found)


def _weight(value: float) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        import numpy as np

        tensor = _big(found)
        values = np.frombuffer(tensor.raw_data, "<f4").copy()
        values[len(values) // 2] = value
        tensor.raw_data = values.tobytes()

    return change


def _listed(kind: int, values: list[float]) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        tensor = found.graph.initializer.add(name="listed", data_type=kind, dims=[len(values)])
        tensor.float_data.extend(values)

    return change


def _dims(*dims: int) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        tensor = _big(found)
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return change


def _twice(found: Any) -> None:
    found.graph.initializer.add().CopyFrom(found.graph.initializer[0])


def _own_value(found: Any) -> None:
    found.graph.initializer.add(name="input_ids", data_type=7, dims=[1], raw_data=bytes(8))


def _function(found: Any) -> None:
    found.functions.add(name="Gelu", domain="com.microsoft")


def _sparse(found: Any) -> None:
    found.graph.sparse_initializer.add().dims.append(1 << 40)


def _opset(version: int) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        for opset in found.opset_import:
            if opset.domain == "":
                opset.version = version

    return change


def _text_tensor(found: Any) -> None:
    found.graph.initializer.add(name="text", data_type=8, dims=[1]).string_data.append(b"x")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _ort_format(data: bytes) -> bytes:
    """A sound ONNX file that ONNX Runtime would read as its own format, by bytes 4 to 7."""
    import onnx

    found = onnx.load_from_string(data)
    found.ClearField("producer_name")
    found.ClearField("ir_version")
    name = b"ORTM" + bytes(8)
    return b"\x08\x08\x12" + _varint(len(name)) + name + bytes(found.SerializeToString())


def _swap(folder: Path) -> None:
    encoder, relations = folder / ENCODER, folder / RELATIONS
    first, second = encoder.read_bytes(), relations.read_bytes()
    encoder.write_bytes(second)
    relations.write_bytes(first)
    seal(folder)


_GRAPH_TAG = b"\x3a"
_NODES = 30_000

_BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no ONNX at all": (lambda d: b"#!/bin/sh\nexit 0\n" * 9, "ONNX|cut short|parts"),
    "a pickle": (lambda d: b"\x80\x04\x95" + d, "ONNX|parts|twice|cut short"),
    "one byte": (lambda d: b"\0", "cut short"),
    "cut in half": (lambda d: d[: len(d) // 2], "cut short"),
    "length beyond the file": (lambda d: _GRAPH_TAG + b"\xff" * 9 + b"\x01" + d, "cut short"),
    "number too long": (lambda d: b"\x08" + b"\xff" * 11 + d, "too long"),
    "a group": (lambda d: d + b"\x0b\x0c", "well-formed"),
    "field zero": (lambda d: d + b"\x00\x00", "well-formed"),
    "two graphs": (lambda d: d + _GRAPH_TAG + b"\x00", "twice"),
    "millions of fields": (lambda d: d + b"\x72\x00" * 1_500_000, "fields"),
    "training steps": (lambda d: d + b"\xa2\x01\x00", "training"),
    "ONNX Runtime's own format": (_ort_format, "own format"),
}


def _nodes(found: Any) -> None:
    import onnx

    node = onnx.helper.make_node("Shape", ["input_ids"], ["made"])
    found.graph.node.extend([node] * _NODES)


_MODELS: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "extra input": (ENCODER, _add_input, "inputs are"),
    "missing input": (ENCODER, lambda m: m.graph.input.pop(), "reads 'attention_mask'"),
    "renamed input": (
        ENCODER,
        lambda m: setattr(m.graph.input[0], "name", "ids"),
        "reads 'input_ids', which it does not hold",
    ),
    "input of floats": (ENCODER, _kind(0, 1), "input_ids is not int64"),
    "input of one batch": (ENCODER, _axis("input", 0, 0, 1), "input_ids is not"),
    "extra output": (ENCODER, _add_output, "outputs are"),
    "missing emissions": (ENCODER, lambda m: m.graph.output.pop(), "outputs are"),
    "output of another rank": (ENCODER, _add_axis, "hidden is not"),
    "output of another width": (ENCODER, _axis("output", 0, 2, 31), "hidden is not"),
    "emissions of other labels": (ENCODER, _axis("output", 1, 2, 7), "emissions_notes is not"),
    "output without a type": (ENCODER, lambda m: m.graph.output[0].ClearField("type"), "declared"),
    "logits of other relations": (RELATIONS, _axis("output", 0, 2, 9), "logits is not"),
    "spans of two numbers": (RELATIONS, _axis("input", 2, 2, 2), "spans is not"),
    "pairs of texts": (RELATIONS, _kind(3, 8), "pairs is not"),
    "hidden states of doubles": (RELATIONS, _kind(0, 11), "hidden is not"),
    "custom domain": (ENCODER, _node("Evil", "evil.example"), "custom operators"),
    "undeclared domain": (ENCODER, _node("Evil", "com.microsoft.experimental"), "operator"),
    "unknown operator": (ENCODER, _node("Evil"), "operator 'Evil'"),
    "engine from a file": (
        RELATIONS,
        _node("EPContext", "com.microsoft", ep_cache_context="/tmp/engine", embed_mode=0),
        "operator 'com.microsoft.EPContext'",
    ),
    "text operator": (ENCODER, _node("StringNormalizer"), "operator"),
    "random numbers": (ENCODER, _node("RandomNormalLike"), "operator"),
    "loop": (ENCODER, _loop, "operator 'Loop'"),
    "graph in a plain node": (ENCODER, lambda m: _node("Abs", x=_own_graph())(m), "has a graph"),
    "nested branches": (ENCODER, _nested_ifs, "has a graph"),
    "texts in a node": (ENCODER, _node("Constant", value_strings=["a"]), "texts"),
    "infinite attribute": (ENCODER, _node("Constant", value_float=float("inf")), "infinite"),
    "functions": (ENCODER, _function, "functions"),
    "sparse tensor": (ENCODER, _sparse, "sparse"),
    "external data": (ENCODER, _external("/etc/passwd"), "external data"),
    "external data beside it": (ENCODER, _external("README.md"), "external data"),
    "address in memory": (RELATIONS, _external("*/_ORT_MEM_ADDR_/*"), "external data"),
    "external data in a node": (ENCODER, _external_attribute, "external data"),
    "NaN weights": (ENCODER, _weight(float("nan")), "NaN"),
    "infinite weights": (RELATIONS, _weight(float("inf")), "NaN or infinity"),
    "NaN in a list": (ENCODER, _listed(1, [1.0, float("nan")]), "NaN"),
    "list of another type": (ENCODER, _listed(7, [1.0]), "element type"),
    "weights for more rows": (ENCODER, _dims(1 << 31, 1 << 31), "values stores"),
    "negative dimensions": (ENCODER, _dims(-1, -32), "impossible dimensions"),
    "a hundred axes": (ENCODER, _dims(*[1] * 100), "impossible dimensions"),
    "texts as weights": (ENCODER, _text_tensor, "element type|parts"),
    "tensor twice": (ENCODER, _twice, "one name"),
    "value of its own input": (ENCODER, _own_value, "its own inputs"),
    "settings for the runtime": (
        ENCODER,
        lambda m: m.metadata_props.add(key="ort_config", value="{}"),
        "settings",
    ),
    "future operators": (ENCODER, _opset(999), "operator set 999"),
    "ancient operators": (RELATIONS, _opset(1), "operator set 1"),
    "future version": (ENCODER, lambda m: setattr(m, "ir_version", 99), "ONNX version 99"),
    "many nodes": (ENCODER, _nodes, "nodes"),
}


def _kinds() -> dict[str, Kind]:
    by_bytes = {
        name: Kind(content(ENCODER, change), ENCODER, reason)
        for name, (change, reason) in _BYTES.items()
    }
    by_model = {
        name: Kind(model(file, change), file, reason)
        for name, (file, change, reason) in _MODELS.items()
    }
    swapped: Spoil = _swap
    return by_bytes | by_model | {"networks swapped": Kind(swapped, ENCODER, "inputs are")}


NETWORKS = _kinds()
