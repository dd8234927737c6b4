"""optimum's int8: every preset in a bundle of its own, its cost measured as ours is."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest

from emlb.model.pretrained import TrainedModel
from emlb_export.export import export
from emlb_export.presets import PRESETS
from emlb_runtime import Extractor
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ArtefactError, BackendError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.extraction.session_plan import make_plan
from emlb_runtime.records import Document
from tests import architectures, tiny

pytest.importorskip("optimum.onnxruntime", reason="needs optimum-onnx: pip install 'emlb[optimum]'")

from emlb_export.precision import optimum_int8 as optimum_quantize

UINT8, INT8 = onnx.TensorProto.UINT8, onnx.TensorProto.INT8


@pytest.fixture(scope="module")
def run(
    tiny_documents: tuple[Document, ...], tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tiny.TinyRun:
    """A RoBERTa that has learned the eight notes."""
    folder = tmp_path_factory.mktemp("roberta")
    texts = [document.note.text for document in tiny_documents]
    encoder = architectures.build_encoder("roberta", folder / "encoder", texts)
    return tiny.train_tiny(folder, encoder=encoder, data=tiny_data)


def weight_kinds(path: Path) -> set[int]:
    """The element types of the matrices that quantised products multiply with."""
    graph = onnx.load(str(path)).graph
    kinds = {item.name: item.data_type for item in graph.initializer}
    products = ("DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat")
    names = [node.input[1] for node in graph.node if node.op_type in products]
    assert len(names) >= 12
    return {kinds[name] for name in names if name in kinds}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_verified_measured_and_named(
    preset: str, run: tiny.TinyRun, tmp_path: Path
) -> None:
    said: list[str] = []
    out = export(run.folder, out=tmp_path / "bundle", quantizer=preset, say=said.append)
    bundle = Bundle.load(out)
    assert set(bundle.config.encoders) == {"fp32", "int8"}
    assert bundle.config.default_precision == "int8"
    assert bundle.config.provenance["quantizer"] == preset
    assert any(line.startswith("int8 against fp32 on 6 notes: F1") for line in said)
    assert any(line.startswith("int8 loses ") for line in said)
    assert "optimum's `ORTQuantizer`" in (out / "README.md").read_text(encoding="utf-8")
    kinds = weight_kinds(out / bundle.config.encoders["int8"])
    assert kinds == ({UINT8} if preset == "optimum-avx2" else {INT8})
    fp32, int8 = (
        load_pipeline(bundle, precision=name).backend.encode(
            np.arange(5, 45)[None], np.ones((1, 40), np.int64)
        )
        for name in ("fp32", "int8")
    )
    apart = np.linalg.norm(fp32.hidden - int8.hidden) / np.linalg.norm(fp32.hidden)
    assert 0 < apart < 0.1


def test_it_finds_what_was_annotated(run: tiny.TinyRun, tmp_path: Path) -> None:
    out = export(run.folder, out=tmp_path / "bundle", quantizer="optimum-avx2")
    extractor = Extractor.load(out, provider="cpu")
    found = [extractor.extract(document.note.text) for document in run.documents]
    expected = {
        (i, e.type, e.start, e.end) for i, d in enumerate(run.documents) for e in d.entities
    }
    got = {(i, e.type, e.start, e.end) for i, d in enumerate(found) for e in d.entities}
    assert len(got & expected) >= 0.9 * max(len(expected), len(got))


def test_relation_heads_too(run: tiny.TinyRun, tmp_path: Path) -> None:
    out = export(run.folder, out=tmp_path / "bundle", quantizer="optimum-avx2", int8_only=True)
    bundle = Bundle.load(out)
    heads = onnx.load(str(out / bundle.config.relations_int8["notes"])).graph
    assert any(node.op_type == "DynamicQuantizeMatMul" for node in heads.node)
    assert not list(tmp_path.glob("*/.optimum-*"))
    first = run.documents[0]
    found = Extractor.load(out, provider="cpu").extract(first.note.text)
    assert {t.relation.type for t in found.triples()} == {t.relation.type for t in first.triples()}


def test_weights_of_the_bundle_stay_as_they_were_trained(run: tiny.TinyRun, tmp_path: Path) -> None:
    bundle = Bundle.load(export(run.folder, out=tmp_path / "a", quantizer="optimum-avx2"))
    plain = Bundle.load(export(run.folder, out=tmp_path / "b"))
    name = plain.config.weights
    assert name is not None and bundle.config.weights == name
    assert bundle.read(name) == plain.read(name)


@pytest.mark.parametrize("preset, products", optimum_quantize.PRODUCTS.items())
def test_a_processor_that_would_overflow_runs_fp32(
    preset: str,
    products: str,
    run: tiny.TinyRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights of optimum's graphs serve one kind of products only."""
    config = Bundle.load(export(run.folder, out=tmp_path / "it", quantizer=preset)).config
    assert config.int8_products == products
    monkeypatch.setattr(
        "emlb_runtime.extraction.session_plan.self_test", lambda kind: kind != products
    )
    assert make_plan(config, provider="cpu").precision == "fp32"
    with pytest.raises(BackendError, match=rf"{products} products overflow: choose .*fp32.*emlb"):
        make_plan(config, provider="cpu", precision="int8")
    monkeypatch.setattr(
        "emlb_runtime.extraction.session_plan.self_test", lambda kind: kind == products
    )
    assert make_plan(config, provider="cpu").precision == "int8"


def test_plain_bert_can_have_it_too(tiny_run: tiny.TinyRun, tmp_path: Path) -> None:
    out = export(tiny_run.folder, out=tmp_path / "bundle", quantizer="optimum-avx512-vnni")
    assert weight_kinds(out / Bundle.load(out).config.encoders["int8"]) == {INT8}


def test_a_loss_beyond_the_limit_is_refused(
    run: tiny.TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of ``--max-loss`` holds for optimum's int8 as it does for ours."""
    true = optimum_quantize.quantize

    def spoil(source: Path, target: Path, *, preset: str) -> None:
        model = onnx.load(str(source))
        for item in model.graph.initializer:
            if item.data_type == onnx.TensorProto.FLOAT and len(item.dims) == 2:
                values = onnx.numpy_helper.to_array(item)
                item.CopyFrom(onnx.numpy_helper.from_array(0.3 * values, item.name))
        onnx.save(model, str(source))
        true(source, target, preset=preset)

    monkeypatch.setattr(optimum_quantize, "quantize", spoil)
    with pytest.raises(ArtefactError, match=r"int8 loses \+\d.*more than --max-loss 0.3 allows"):
        export(run.folder, out=tmp_path / "bundle", quantizer="optimum-avx2")
    assert not list(tmp_path.iterdir())


def test_it_quantises_in_silence(
    run: tiny.TinyRun,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = TrainedModel.load(run.model).model
    before = list(logging.getLogger().handlers), list(logging.getLogger().filters)
    with caplog.at_level(logging.WARNING):
        optimum_quantize.write_encoder(model, tmp_path / "encoder.onnx", preset="optimum-avx2")
        heads = {"notes": tmp_path / "notes.onnx"}
        optimum_quantize.write_relations(model, heads, preset="optimum-avx2")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert (list(logging.getLogger().handlers), list(logging.getLogger().filters)) == before
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "notes.onnx"}
