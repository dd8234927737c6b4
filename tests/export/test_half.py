"""fp16 encoders: near fp32, finite where fp16 is not enough, in bundles by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from emlb_export.export import export
from emlb_export.fp16 import MOST, convert, sample_windows
from emlb_runtime import Extractor
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.extract import load_pipeline
from tests.tiny import TinyRun


@pytest.fixture(scope="module")
def half_bundle(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model exported in all three precisions."""
    out = tmp_path_factory.mktemp("half") / "tiny"
    return export(tiny_run.folder, out=out, precisions=("fp16", "fp32", "int8"))


def test_a_bundle_can_hold_fp16(half_bundle: Path) -> None:
    bundle = Bundle.load(half_bundle)
    bundle.verify()
    assert bundle.config.encoders == {
        "fp32": "encoder.onnx",
        "fp16": "encoder_fp16.onnx",
        "int8": "encoder_int8.onnx",
    }
    assert bundle.config.default_precision == "int8"
    assert "fp16" not in bundle.config.tuned
    card = (half_bundle / "README.md").read_text(encoding="utf-8")
    assert "- fp16 against fp32 on the same notes: F1" in card
    assert "fp16 is for GPUs" in card


def test_matrices_are_fp16_and_outputs_fp32(half_bundle: Path) -> None:
    graph = onnx.load_from_string(Bundle.load(half_bundle).whole("encoder_fp16.onnx")).graph
    matrices = {weight.data_type for weight in graph.initializer if len(weight.dims) == 2}
    assert TensorProto.FLOAT16 in matrices and TensorProto.FLOAT not in matrices
    assert {output.type.tensor_type.elem_type for output in graph.output} == {TensorProto.FLOAT}
    assert {value.type.tensor_type.elem_type for value in graph.input} == {TensorProto.INT64}
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    assert norms and {kinds[node.input[1]] for node in norms} == {TensorProto.FLOAT}


def test_fp16_rounds_and_no_more_in_padding_too(half_bundle: Path) -> None:
    bundle = Bundle.load(half_bundle)
    fp32, fp16 = (load_pipeline(bundle, precision=name).backend for name in ("fp32", "fp16"))
    ids = np.random.default_rng(3).integers(5, 60, (3, 40))
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    left, right = fp32.encode(ids, mask), fp16.encode(ids, mask)
    real = mask.astype(bool)
    assert right.hidden.dtype == np.float32
    assert 0 < np.abs(left.hidden - right.hidden)[real].max() < 0.02
    np.testing.assert_allclose(
        right.emissions["notes"][real], left.emissions["notes"][real], atol=0.05
    )


def test_fp16_finds_what_fp32_finds(half_bundle: Path, tiny_run: TinyRun) -> None:
    fp32, fp16 = (
        Extractor.load(half_bundle, precision=name, provider="cpu") for name in ("fp32", "fp16")
    )
    for document in tiny_run.documents:
        wanted, found = fp32.extract(document.note.text), fp16.extract(document.note.text)
        assert found.status is not None and found.status.precision == "fp16"
        assert [(e.type, e.start, e.end) for e in found.entities] == [
            (e.type, e.start, e.end) for e in wanted.entities
        ]
        assert [(r.type, r.head, r.tail) for r in found.relations] == [
            (r.type, r.head, r.tail) for r in wanted.relations
        ]


def test_fp32_can_be_left_out(tiny_run: TinyRun, tmp_path: Path) -> None:
    bundle = Bundle.load(export(tiny_run.folder, out=tmp_path / "gpu", precisions=("fp16",)))
    assert (set(bundle.config.encoders), bundle.config.default_precision) == ({"fp16"}, "fp16")
    assert not (bundle.folder / "encoder.onnx").exists()
    both = Bundle.load(
        export(tiny_run.folder, out=tmp_path / "both", precisions=("fp16",), quantize=True)
    )
    assert set(both.config.encoders) == {"fp16", "fp32", "int8"}
    assert both.config.default_precision == "int8"


def test_an_unknown_precision_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="precision bf16 is unknown; choose int8, fp16, fp32"):
        export(tiny_run.folder, out=tmp_path / "bundle", precisions=("bf16",))


def test_a_half_that_disagrees_is_refused_and_leaves_nothing(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emlb_export.fp16.MIN_AGREEMENT", 1.1)
    with pytest.raises(ArtefactError, match=r"fp16 and fp32 decode .* at least 1\.1 is asked"):
        export(tiny_run.folder, out=tmp_path / "bundle", precisions=("fp16",))
    assert list(tmp_path.iterdir()) == []


def small_graph(folder: Path, *, up: float, down: float) -> Path:
    """``hidden = gelu(table[input_ids]) · up · up · down`` of a table of ones.

    Minus infinity is added where pieces are padding.
    """
    float1 = TensorProto.FLOAT
    table = np.ones((20, 4), dtype=np.float32)
    weights = {
        "table": table,
        "bias": np.zeros(4, dtype=np.float32),
        "up": np.eye(4, dtype=np.float32) * np.float32(up),
        "down": np.eye(4, dtype=np.float32) * np.float32(down),
        "lowest": np.asarray(np.finfo(np.float32).min),
        "one": np.asarray(1, dtype=np.float32),
        "axis": np.asarray([2], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        helper.make_node("BiasGelu", ["embedded", "bias"], ["behind"], domain="com.microsoft"),
        helper.make_node("MatMul", ["behind", "up"], ["large"]),
        helper.make_node("MatMul", ["large", "up"], ["larger"]),
        helper.make_node("MatMul", ["larger", "down"], ["small"]),
        helper.make_node("Cast", ["attention_mask"], ["kept"], to=float1),
        helper.make_node("Sub", ["one", "kept"], ["hidden_from"]),
        helper.make_node("Mul", ["hidden_from", "lowest"], ["minus"]),
        helper.make_node("Unsqueeze", ["minus", "axis"], ["column"]),
        helper.make_node("Add", ["small", "column"], ["hidden"]),
    ]
    batch = ["b", "t"]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, batch)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("hidden", float1, [*batch, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path = folder / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ids = np.ones((1, 3), dtype=np.int64)
    (hidden,) = session.run(None, {"input_ids": ids, "attention_mask": np.array([[1, 1, 0]])})
    return np.asarray(hidden)


def test_what_outgrows_fp16_stays_fp32(tmp_path: Path) -> None:
    source = small_graph(tmp_path, up=1e3, down=1e-5)
    windows = [np.ones(5, dtype=np.int64)]
    assert convert(source, tmp_path / "half.onnx", windows=windows) == ("3/MatMul", "4/MatMul")
    wanted, found = run(source), run(tmp_path / "half.onnx")
    assert 1e5 * wanted[0, 0].max() > np.finfo(np.float16).max
    np.testing.assert_allclose(found[0, :2], wanted[0, :2], rtol=2e-3)


def test_minus_infinity_does_not_keep_its_operators_in_fp32(tmp_path: Path) -> None:
    source = small_graph(tmp_path, up=2.0, down=3.0)
    masked = [np.ones(5, dtype=np.int64)]
    assert convert(source, tmp_path / "half.onnx", windows=masked) == ()
    wanted, found = run(source), run(tmp_path / "half.onnx")
    np.testing.assert_allclose(found[0, :2], wanted[0, :2], rtol=2e-3)
    assert (wanted[0, 2] < -1e38).all() and (found[0, 2] <= -65000).all()


def test_a_weight_too_large_is_refused(tmp_path: Path) -> None:
    source = small_graph(tmp_path, up=2 * MOST, down=1.0)
    with pytest.raises(ArtefactError, match="too large for fp16: export without"):
        convert(source, tmp_path / "half.onnx", windows=[])


def test_windows_come_from_all_over_the_notes(tiny_bundle: Path, tiny_run: TinyRun) -> None:
    pipeline = load_pipeline(Bundle.load(tiny_bundle), precision="fp32")
    notes = [document.note for document in tiny_run.documents]
    every = sample_windows(pipeline, notes, most=1000)
    assert len(every) > len(notes)
    some = sample_windows(pipeline, notes, most=4)
    assert 1 < len(some) <= 4
    assert all(any(np.array_equal(own, each) for each in every) for own in some)
    assert sample_windows(pipeline, [], most=4) == []
