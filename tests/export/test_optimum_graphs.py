"""Encoders other than BERT: exported through optimum, validated, and alike in torch and ONNX."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import CONFIG_MAPPING

from emlb.model.model import EmlbModel
from emlb.model.pretrained import TrainedModel, load_tokenizer
from emlb_export.export import export
from emlb_export.verify import compare_decoded, compare_tensors
from emlb_runtime import Extractor, Note
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ArtefactError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task
from tests import architectures
from tests.tiny import RELATIONS, TYPES, WINDOWS

pytest.importorskip(
    "optimum.exporters.onnx", reason="needs optimum-onnx: pip install 'emlb[optimum]'"
)

from emlb_export.graph import optimum_graphs

SIGNATURES = (("ADE-Drug", "Disorder", "Drug"), ("Treats", "Drug", "Disorder"))
TASKS = [Task("notes", TYPES, RELATIONS, SIGNATURES), Task("others", ("Test",))]


def make_model(folder: Path, *, seed: int = 3) -> EmlbModel:
    """Untrained heads on an encoder, and no weight of the whole left at its start."""
    torch.manual_seed(seed)
    model = EmlbModel.from_base(folder, TASKS, windows=WINDOWS, relation_width=32, relation_heads=2)
    model.train(False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return model


@pytest.fixture(scope="module")
def base(
    tiny_documents: tuple[Document, ...], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of a tiny encoder by its architecture."""
    texts = [document.note.text for document in tiny_documents]

    def build(architecture: str) -> Path:
        folder = tmp_path_factory.mktemp(architecture)
        return architectures.build_encoder(architecture, folder, texts)

    return build


@pytest.fixture(scope="module")
def roberta(base: Callable[[str], Path]) -> EmlbModel:
    return make_model(base("roberta"))


@pytest.mark.parametrize("architecture", architectures.KINDS)
def test_torch_and_onnx_agree(
    architecture: str,
    base: Callable[[str], Path],
    tiny_documents: tuple[Document, ...],
    tmp_path: Path,
) -> None:
    if architecture not in CONFIG_MAPPING:
        pytest.skip(f"the installed transformers has no {architecture}")
    folder = base(architecture)
    TrainedModel(make_model(folder), load_tokenizer(folder)).save(tmp_path / "model")
    bundle = Bundle.load(export(tmp_path / "model", out=tmp_path / "bundle"))
    trained = TrainedModel.load(tmp_path / "model")
    torch_pipeline = trained.pipeline(batch=3)
    onnx_pipeline = load_pipeline(bundle, precision="fp32", batch=2)
    parity = compare_tensors(
        torch_pipeline.backend,
        onnx_pipeline.backend,
        bundle.config.tasks,
        vocabulary=trained.tokenizer.tokenizer.get_vocab_size(),
        max_pieces=bundle.config.windows.max_pieces,
        seed=1,  # not the inputs that export looks at
    )
    assert parity.worst < 1e-4
    notes = [document.note for document in tiny_documents]
    notes.append(Note("joined", " ".join(note.text for note in notes) * 3))
    agreement = compare_decoded(torch_pipeline, onnx_pipeline, notes)
    assert agreement.identical
    assert agreement.entities > 20
    found = Extractor.load(bundle.folder, provider="cpu").extract(notes[0].text)
    assert all(entity.text == notes[0].text[entity.start : entity.end] for entity in found.entities)


@pytest.mark.parametrize("architecture", ["roberta", "deberta-v2"])
def test_optimum_knows_the_architecture(architecture: str, base: Callable[[str], Path]) -> None:
    """Its own configuration is the parent of ours, so that its patches are applied."""
    network = optimum_graphs.EncoderNetwork(make_model(base(architecture)))
    config = optimum_graphs.encoder_onnx_config(network)
    parents = {"roberta": "RobertaOnnxConfig", "deberta-v2": "DebertaV2OnnxConfig"}
    assert parents[architecture] in [each.__name__ for each in type(config).__mro__]
    assert list(config.inputs) == ["input_ids", "attention_mask"]
    assert list(config.outputs) == ["hidden", "emissions_notes", "emissions_others"]


def test_an_architecture_that_optimum_does_not_know(roberta: EmlbModel, tmp_path: Path) -> None:
    network = optimum_graphs.EncoderNetwork(roberta)
    network.config.model_type = "of-tomorrow"
    config = optimum_graphs.encoder_onnx_config(network)
    assert list(config.generate_dummy_inputs(framework="np")) == ["input_ids", "attention_mask"]
    optimum_graphs._export(network, config, tmp_path / "encoder.onnx", opset=17)
    assert onnx.load(str(tmp_path / "encoder.onnx")).graph.output[0].name == "hidden"


@pytest.mark.parametrize("part", ["encoder", "relations"])
def test_a_graph_that_differs_is_refused(
    part: str, roberta: EmlbModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def export_another(network: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        other = copy.deepcopy(network)
        with torch.no_grad():
            for weight in other.parameters():
                weight.mul_(1.01)
        return true(other, *args, **kwargs)

    true: Any = vars(optimum_graphs)["export"]
    monkeypatch.setattr(optimum_graphs, "export", export_another)
    with pytest.raises(ArtefactError, match=r"optimum-onnx 0\.\S+ cannot export it\.onnx of a .*:"):
        if part == "encoder":
            optimum_graphs.export_encoder(roberta, tmp_path / "it.onnx", opset=17)
        else:
            optimum_graphs.export_relations(roberta, "notes", tmp_path / "it.onnx", opset=17)


@pytest.mark.parametrize("pieces", [5, 16, 33])
def test_inputs_for_relations_are_mentions_of_the_window(pieces: int, roberta: EmlbModel) -> None:
    network = optimum_graphs.RelationNetwork(roberta, "notes")
    config = optimum_graphs.RelationOnnxConfig(network.config)
    inputs = config.generate_dummy_inputs(framework="np", batch_size=3, sequence_length=pieces)
    assert list(inputs) == list(config.inputs)
    start, end, kind = np.moveaxis(inputs["spans"], -1, 0)
    assert (0 <= start).all() and (start < end).all() and (end <= pieces).all()
    assert (kind < len(TYPES)).all() and (inputs["pairs"] < 3).all()
    assert inputs["hidden"].shape == (3, pieces, 32)


def test_optimum_exports_in_silence(
    roberta: EmlbModel,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    from optimum.utils.logging import get_verbosity

    level = get_verbosity()
    with caplog.at_level(logging.WARNING):
        optimum_graphs.export_encoder(roberta, tmp_path / "encoder.onnx", opset=17)
        optimum_graphs.export_relations(roberta, "notes", tmp_path / "head.onnx", opset=17)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert get_verbosity() == level
