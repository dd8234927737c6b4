"""Relation graphs: torch and ONNX alike on every shape, in int8 too; few steps; int8 when alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from emlb.model.pretrained import TrainedModel
from emlb_export.export import export
from emlb_export.graph.optimise import optimise
from emlb_export.graph.trace import export_relations
from emlb_export.precision.int8 import quantize
from emlb_runtime import Extractor
from emlb_runtime.bundle.loader import Bundle
from tests.tiny import TinyRun

Inputs = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def trained(tiny_run: TinyRun) -> TrainedModel:
    return TrainedModel.load(tiny_run.model)


@pytest.fixture(scope="module")
def graph(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The relation head as a bundle has it."""
    folder = tmp_path_factory.mktemp("relations")
    export_relations(trained.model, "notes", folder / "raw.onnx")
    optimise(folder / "raw.onnx", folder / "relations.onnx")
    return folder / "relations.onnx"


@pytest.fixture(scope="module")
def int8_bundle(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "int8"
    return Bundle.load(export(tiny_run.folder, out=out, int8_only=True))


def open_graph(graph: Path | bytes) -> onnxruntime.InferenceSession:
    model = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, inputs: Inputs) -> NDArray[np.float32]:
    (logits,) = session.run(["logits"], inputs)
    return np.asarray(logits)


def make_inputs(width: int, *, windows: int, pieces: int, spans: int, pairs: int) -> Inputs:
    """Mentions that nest, overlap and touch; every window after the first has padding."""
    rng = np.random.default_rng(windows * pieces + spans)
    lengths = np.maximum(1, pieces - 3 * np.arange(windows))[:, None]
    start = rng.integers(0, lengths, (windows, spans))
    end = np.minimum(start + rng.integers(1, 6, start.shape), lengths)
    kinds = rng.integers(0, 2, start.shape)
    return {
        "hidden": rng.normal(size=(windows, pieces, width)).astype(np.float32),
        "attention_mask": (np.arange(pieces) < lengths).astype(np.int64),
        "spans": np.stack([start, end, kinds], axis=-1),
        "pairs": rng.integers(0, max(1, spans), (windows, pairs, 2)),
    }


@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize(
    ("pieces", "spans", "pairs"), [(1, 1, 1), (7, 2, 4), (64, 9, 0), (64, 9, 70), (33, 0, 0)]
)
def test_torch_and_onnx_agree_on_every_shape(
    trained: TrainedModel, graph: Path, windows: int, pieces: int, spans: int, pairs: int
) -> None:
    width = trained.model.config.encoder_config.hidden_size
    inputs = make_inputs(width, windows=windows, pieces=pieces, spans=spans, pairs=pairs)
    with torch.inference_mode():
        tensors = [torch.from_numpy(value) for value in inputs.values()]
        expected = trained.model.relate("notes", *tensors).numpy()
    found = run(open_graph(graph), inputs)
    assert found.shape == (windows, pairs, 2)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_windows_and_padding_change_nothing(graph: Path, trained: TrainedModel) -> None:
    width = trained.model.config.encoder_config.hidden_size
    inputs = make_inputs(width, windows=3, pieces=40, spans=9, pairs=30)
    session = open_graph(graph)
    together = run(session, inputs)
    for row, length in enumerate(inputs["attention_mask"].sum(axis=1)):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        alone |= {name: alone[name][:, :length] for name in ("hidden", "attention_mask")}
        np.testing.assert_allclose(run(session, alone)[0], together[row], atol=1e-4)


def test_rows_are_picked_whole(graph: Path) -> None:
    """Looking rows up number by number once took a sixth of the head's time."""
    kinds = [node.op_type for node in onnx.load(str(graph)).graph.node]
    assert "GatherElements" not in kinds and "Tile" not in kinds
    assert kinds.count("Softmax") == 1  # ``emlb explain`` finds the attention by it


def test_int8_has_int8_heads(int8_bundle: Bundle) -> None:
    int8_bundle.verify()
    (name,) = int8_bundle.config.relations_int8.values()
    assert name == "relations_notes_int8.onnx"
    whole = onnx.load_from_string(int8_bundle.whole(name)).graph.initializer
    wide = [item for item in whole if len(item.dims) == 2 and min(item.dims) >= 32]
    assert wide and {item.data_type for item in wide} == {onnx.TensorProto.INT8}
    assert "The relation heads are int8 too." in (int8_bundle.folder / "README.md").read_text(
        encoding="utf-8"
    )
    assert int8_bundle.config.relations_of("int8") == {"notes": name}
    assert int8_bundle.config.relations_of("fp32") == {"notes": "relations_notes.onnx"}


def test_int8_heads_do_not_depend_on_neighbours(int8_bundle: Bundle) -> None:
    (name,) = int8_bundle.config.relations_int8.values()
    session = open_graph(int8_bundle.whole(name))
    inputs = make_inputs(int8_bundle.config.width, windows=2, pieces=40, spans=9, pairs=30)
    inputs["attention_mask"][:] = 1
    together = run(session, inputs)
    loud = inputs["hidden"].astype(np.float32)
    loud[1] *= 50
    np.testing.assert_allclose(run(session, {**inputs, "hidden": loud})[0], together[0], atol=1e-5)
    for row in range(2):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        np.testing.assert_allclose(run(session, alone)[0], together[row], atol=1e-5)
        some = {**alone, "pairs": alone["pairs"][:, 4:9]}
        np.testing.assert_allclose(run(session, some)[0], together[row, 4:9], atol=1e-5)


def test_int8_heads_stay_near_fp32(graph: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    config = Bundle.load(tiny_bundle).config
    quantize(graph, tmp_path / "raw.onnx", own_ranges=False)
    optimise(tmp_path / "raw.onnx", tmp_path / "int8.onnx")
    inputs = make_inputs(config.width, windows=1, pieces=60, spans=9, pairs=70)
    fp32, int8 = (run(open_graph(path), inputs) for path in (graph, tmp_path / "int8.onnx"))
    assert 0 < np.abs(fp32 - int8).mean() / np.abs(fp32).mean() < 0.1


def test_int8_heads_find_what_was_annotated(int8_bundle: Bundle, tiny_run: TinyRun) -> None:
    extractor = Extractor.load(int8_bundle.folder, provider="cpu")
    for document in tiny_run.documents:
        found = extractor.extract(document.note.text)
        assert {(t.relation.type, t.head.text, t.tail.text) for t in found.triples()} == {
            (t.relation.type, t.head.text, t.tail.text) for t in document.triples()
        }
