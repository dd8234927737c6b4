"""The encoder's graph: what it computes, in how few steps, and which encoders have it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from emlb.model.model import EmlbModel
from emlb_export.graph.optimise import optimise
from emlb_export.graph.plain_bert import PlainBert, is_plain_bert
from emlb_export.graph.trace import export_encoder
from emlb_export.precision.int8 import quantize
from emlb_runtime.schema.task import Task
from tests.tiny import WINDOWS

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Graphs = tuple[Path, Path]


@pytest.fixture(scope="module")
def model(tiny_encoder: Path) -> EmlbModel:
    """Untrained, but no bias is zero and no two heads are alike."""
    tasks = [Task("notes", ("Drug", "Disorder")), Task("others", ("Test",))]
    model = EmlbModel.from_base(tiny_encoder, tasks, windows=WINDOWS)
    model.train(False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def other(model: EmlbModel, tmp_path_factory: pytest.TempPathFactory) -> EmlbModel:
    """Another architecture, whose graph is what `transformers` makes it."""
    folder = tmp_path_factory.mktemp("roberta")
    config = RobertaConfig(
        vocab_size=80,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
        hidden_act="silu",
        initializer_range=0.1,
    )
    torch.manual_seed(1)
    RobertaModel(config).save_pretrained(folder)
    other = EmlbModel.from_base(folder, model.config.task_list, windows=WINDOWS)
    other.train(False)
    return other


@pytest.fixture(scope="module")
def graphs(model: EmlbModel, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return write_graphs(model, tmp_path_factory.mktemp("graphs"))


def write_graphs(model: EmlbModel, folder: Path) -> Graphs:
    """The fp32 and the int8 graph, as a bundle has them."""
    fp32, int8, raw = folder / "fp32.onnx", folder / "int8.onnx", folder / "raw.onnx"
    export_encoder(model, raw)
    optimise(raw, fp32)
    quantize(fp32, raw)
    optimise(raw, int8)
    return fp32, int8


def kinds_in(path: Path) -> Counter[str]:
    """How many nodes of each kind a graph has."""
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def make_inputs() -> tuple[Ints, Ints]:
    """Piece ids and mask of three windows, two of them padded."""
    mask = (np.arange(40) < np.array([[40], [29], [1]])).astype(np.int64)
    return np.random.default_rng(1).integers(5, 60, mask.shape), mask


def encode(path: Path, ids: Ints, mask: Ints) -> list[Floats]:
    """What a graph gives: hidden states, then emissions."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = session.run(None, {"input_ids": ids, "attention_mask": mask})
    return [np.asarray(value) for value in values]


@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("pieces", [1, 2, 37])
def test_it_computes_what_the_model_does(model: EmlbModel, windows: int, pieces: int) -> None:
    ids = torch.randint(5, 60, (windows, pieces))
    mask = torch.ones_like(ids)
    mask[1:, pieces // 2 + 1 :] = 0
    with torch.inference_mode():
        expected = model(ids, mask)
        hidden, *emissions = PlainBert(model)(ids, mask)
    real = mask.bool()
    torch.testing.assert_close(hidden[real], expected.hidden[real], atol=1e-5, rtol=0)
    for found, wanted in zip(emissions, expected.emissions.values(), strict=True):
        torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=0)


def test_only_encoders_that_it_can_stand_for(model: EmlbModel, other: EmlbModel) -> None:
    assert is_plain_bert(model.encoder)
    assert not is_plain_bert(other.encoder)
    generator = BertConfig.from_dict({**model.encoder.config.to_dict(), "is_decoder": True})
    assert not is_plain_bert(BertModel(generator))


def test_products_are_of_rows(model: EmlbModel, graphs: Graphs) -> None:
    fp32, int8 = (kinds_in(path) for path in graphs)
    layers = model.encoder.config.num_hidden_layers
    assert fp32["Gemm"] + fp32["MatMul"] == 8 * layers + len(model.heads)
    assert fp32["FusedMatMul"] == 0  # OpenVINO gives nothing for one with transposed batches
    assert fp32["Shape"] == 1
    assert int8["MatMulIntegerToFloat"] == 6 * layers
    assert "ReduceMin" not in int8  # GELU's least value is known


def test_int8_stays_near_and_alone(graphs: Graphs) -> None:
    compare_int8(*graphs)


def test_other_encoders_are_exported_and_quantised_too(other: EmlbModel, tmp_path: Path) -> None:
    """Their products are not of rows, and what narrows has no least value that is known."""
    pytest.importorskip("optimum", reason="needs optimum-onnx: pip install 'emlb[optimum]'")
    fp32, int8 = write_graphs(other, tmp_path)
    ids, mask = make_inputs()
    with torch.inference_mode():
        expected = other(torch.from_numpy(ids), torch.from_numpy(mask)).hidden.numpy()
    real = mask.astype(bool)
    np.testing.assert_allclose(encode(fp32, ids, mask)[0][real], expected[real], atol=1e-4)
    kinds = kinds_in(int8)
    assert kinds["MatMulIntegerToFloat"] == 12 and kinds["ReduceMin"] == 2
    compare_int8(fp32, int8)


def compare_int8(fp32: Path, int8: Path) -> None:
    """int8 gives about what fp32 does, whatever else runs, padded or not."""
    ids, mask = make_inputs()
    real = mask.astype(bool)
    exact, together = (encode(path, ids, mask)[0] for path in (fp32, int8))
    assert 0 < np.linalg.norm((exact - together)[real]) / np.linalg.norm(exact[real]) < 0.1
    for row, length in enumerate(mask.sum(axis=1)):
        alone = encode(int8, ids[row : row + 1, :length], mask[row : row + 1, :length])[0]
        np.testing.assert_allclose(alone[0], together[row, :length], atol=1e-5)
