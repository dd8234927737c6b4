"""The readers of foreign formats see what the formats' own libraries see, and refuse the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.bundle.checks.graph import read_network
from emlb_runtime.bundle.checks.tokenizer_json import check_tokenizer
from emlb_runtime.bundle.checks.wire import Reader, signed
from emlb_runtime.checked_json import check_values, parse_json, text, whole
from emlb_runtime.errors import BundleError
from emlb_runtime.inference.weights import Weights

onnx = pytest.importorskip("onnx")


def graph(nodes: list[Any], tensors: list[Any] | None = None) -> bytes:
    """A small ONNX file with input ``x`` and output ``y``."""
    value = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        nodes, "g", [value("x", 7, ["n"])], [value("y", 1, ["n", 3])], tensors or []
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    return bytes(
        onnx.helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    )


def holding(tensor: Any) -> bytes:
    """A file that holds a tensor."""
    return graph([onnx.helper.make_node("Identity", ["x"], ["y"])], [tensor])


def shapes(bundle: Path) -> dict[str, tuple[int, ...]]:
    """Of the values that a bundle's weights give."""
    return Weights((bundle / "weights.safetensors").read_bytes()).shapes


@pytest.mark.parametrize("name", ["encoder.onnx", "encoder_int8.onnx", "relations_notes.onnx"])
def test_signatures_are_those_that_onnx_reads(tiny_bundle: Path, name: str) -> None:
    network = read_network((tiny_bundle / name).read_bytes(), shapes(tiny_bundle))
    theirs = onnx.load(str(tiny_bundle / name)).graph
    for ours, values in ((network.inputs, theirs.input), (network.outputs, theirs.output)):
        assert [(value.name, value.kind, value.dims) for value in ours] == [
            (
                value.name,
                value.type.tensor_type.elem_type,
                tuple(axis.dim_value or None for axis in value.type.tensor_type.shape.dim),
            )
            for value in values
        ]


def test_rows_of_the_piece_table(tiny_bundle: Path) -> None:
    vocabulary = json.loads((tiny_bundle / "tokenizer.json").read_bytes())["model"]["vocab"]
    for name in ("encoder.onnx", "encoder_int8.onnx"):
        network = read_network((tiny_bundle / name).read_bytes(), shapes(tiny_bundle))
        assert network.rows["input_ids"] == len(vocabulary)


@pytest.mark.parametrize(
    ("kind", "values"),
    [(1, [1.5, -2.0]), (7, [-1, 1 << 62]), (6, [-5, 7]), (11, [0.5, 2.0]), (3, [-128, 127])],
)
@pytest.mark.parametrize("raw", [False, True])
def test_numbers_are_read_however_they_are_stored(kind: int, values: list[Any], raw: bool) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    stored = np.array(values, dtype).tobytes() if raw else values
    read_network(holding(onnx.helper.make_tensor("t", kind, [len(values)], stored, raw=raw)))
    with pytest.raises(BundleError, match="tensor of 3 values stores 2"):
        tensor = onnx.helper.make_tensor("t", kind, [len(values)], stored, raw=raw)
        tensor.dims[0] = 3
        read_network(holding(tensor))


@pytest.mark.parametrize(("kind", "dtype"), [(1, "<f4"), (10, "<f2"), (11, "<f8")])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers(kind: int, dtype: str, bad: float) -> None:
    values = np.ones(200_000, dtype)
    good = onnx.helper.make_tensor("t", kind, [len(values)], values.tobytes(), raw=True)
    read_network(holding(good))
    values[-1] = bad
    with pytest.raises(BundleError, match="NaN or infinity"):
        read_network(
            holding(onnx.helper.make_tensor("t", kind, [len(values)], values.tobytes(), raw=True))
        )


@pytest.mark.parametrize("bits", [0x7F80, 0xFF80, 0x7FC0])
def test_bfloat16_that_is_no_number(bits: int) -> None:
    values = np.array([0x3F80, bits], "<u2").tobytes()
    with pytest.raises(BundleError, match="NaN or infinity"):
        read_network(holding(onnx.helper.make_tensor("t", 16, [2], values, raw=True)))


def test_a_mask_of_minus_infinity() -> None:
    read_network(holding(onnx.helper.make_tensor("t", 1, [], [float("-inf")])))
    for value in ("inf", "nan"):
        with pytest.raises(BundleError, match="NaN or infinity"):
            read_network(holding(onnx.helper.make_tensor("t", 1, [], [float(value)])))


def test_branches_are_read_too() -> None:
    """DeBERTa's graphs have them; what is refused outside is refused inside."""

    def branching(op: str) -> bytes:
        value = onnx.helper.make_tensor_value_info("z", 1, None)
        inner = onnx.helper.make_graph([onnx.helper.make_node(op, ["x"], ["z"])], "b", [], [value])
        node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        return graph([node])

    read_network(branching("Identity"))
    with pytest.raises(BundleError, match="operator 'ImageDecoder'"):
        read_network(branching("ImageDecoder"))


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(BundleError):
        read_network(data)


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_of_the_wire(value: int) -> None:
    data = onnx.AttributeProto(i=value).SerializeToString()
    ((tag, read, _),) = Reader(data, max_fields=1).fields(0, len(data))
    assert (tag, signed(read)) == (3 << 3, value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_json_is_read_as_by_json(values: Any) -> None:
    data = json.dumps(values, ensure_ascii=True).encode()
    if "Infinity" in data.decode():
        return
    assert parse_json(data, max_values=10**6) == values


@pytest.mark.parametrize("bad", ["a\x00", "a\x1b[2J", "\u202e", "\ud800", "x" * 70_000])
def test_texts_that_are_refused_anywhere(bad: str) -> None:
    for values in ({"a": [{"b": bad}]}, {"a": {bad: 1}}):
        with pytest.raises(BundleError, match="a text"):
            check_values(values)
    check_values({"a": "β-blocker 😀\tone\ntwo"})


@pytest.mark.parametrize("bad", [True, 3.0, "3", None, -1, 11])
def test_what_is_no_whole_number(bad: object) -> None:
    with pytest.raises(BundleError, match="depth is not a whole number from 0 to 10"):
        whole(bad, "depth", 0, 10)
    assert whole(3, "depth", 0, 10) == 3


@pytest.mark.parametrize("bad", [None, 3, "a\nb", "x" * 201])
def test_what_cannot_be_shown(bad: object) -> None:
    with pytest.raises(BundleError, match="name is not a text"):
        text(bad, "name")


UNIGRAM = {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]}}


def test_vocabularies_with_scores() -> None:
    check_tokenizer(json.dumps(UNIGRAM).encode(), special=(0, 1), rows=2)
    with pytest.raises(BundleError, match="has piece 1, but the encoder's table has 1 rows"):
        check_tokenizer(json.dumps(UNIGRAM).encode(), special=(0,), rows=1)
    broken = {"model": {"type": "Unigram", "vocab": [["a", "b"]]}}
    with pytest.raises(BundleError, match="pieces with scores"):
        check_tokenizer(json.dumps(broken).encode(), special=(), rows=None)
