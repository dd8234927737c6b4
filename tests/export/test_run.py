"""Exporting: verified, complete, and alike in torch, fp32 and int8."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load

from emlb.evaluation.evaluate import evaluate
from emlb.model.pretrained import TrainedModel
from emlb_export.bundle_writer import _distillation, _is_local
from emlb_export.card import _distilled
from emlb_export.export import export, find_model
from emlb_export.verify import compare_decoded, compare_tensors
from emlb_runtime import Extractor, Note
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.bundle.state import read_state
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.extract import load_pipeline
from tests.tiny import TinyRun


def test_a_bundle_holds_what_its_configuration_names(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    bundle.verify()
    assert {path.name for path in tiny_bundle.iterdir()} == {*bundle.config.files, "config.json"}
    assert bundle.config.default_precision == "int8"
    assert set(bundle.config.encoders) == {"fp32", "int8"}
    card = (tiny_bundle / "README.md").read_text(encoding="utf-8")
    for line in ("Not a medical device", "identical", "int8 against fp32"):
        assert line in card


def test_the_card_says_how_far_scores_are_probabilities(
    tiny_run: TinyRun, tiny_bundle: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = export(tiny_run.folder, out=tmp_path / "measured", eval_data=tiny_data)
    card = (out / "README.md").read_text(encoding="utf-8")
    report = evaluate(out, tiny_data, calibrated=True)
    scores, _, calibration = card.partition("## Scores")[2].partition("## Calibration")
    assert report.calibration_table() in calibration
    assert "ECE" not in scores and "strict" in scores
    assert "## Calibration" not in (tiny_bundle / "README.md").read_text(encoding="utf-8")


def test_torch_and_onnx_agree(tiny_run: TinyRun, tmp_path: Path) -> None:
    trained = TrainedModel.load(tiny_run.model)
    bundle = Bundle.load(export(tiny_run.folder, out=tmp_path / "fp32"))
    torch_pipeline = trained.pipeline(batch=3)
    onnx_pipeline = load_pipeline(bundle, precision="fp32", batch=2)
    parity = compare_tensors(
        torch_pipeline.backend,
        onnx_pipeline.backend,
        bundle.config.tasks,
        vocabulary=trained.tokenizer.tokenizer.get_vocab_size(),
        max_pieces=bundle.config.windows.max_pieces,
    )
    assert parity.shapes >= 20
    assert parity.worst < 1e-4
    notes = [document.note for document in tiny_run.documents]
    notes.append(Note("joined", " ".join(note.text for note in notes) * 5))
    agreement = compare_decoded(torch_pipeline, onnx_pipeline, notes)
    assert agreement.identical
    assert agreement.relations > 0


def test_the_exported_bundle_finds_what_was_annotated(tiny_run: TinyRun, tiny_bundle: Path) -> None:
    extractor = Extractor.load(tiny_bundle, precision="fp32", provider="cpu")
    for document in tiny_run.documents:
        found = extractor.extract(document.note.text)
        assert {(e.type, e.start, e.end) for e in found.entities} == {
            (e.type, e.start, e.end) for e in document.entities
        }
        assert {(t.relation.type, t.head.text, t.tail.text) for t in found.triples()} == {
            (t.relation.type, t.head.text, t.tail.text) for t in document.triples()
        }


def test_torch_and_bundle_score_alike(
    tiny_run: TinyRun, tiny_bundle: Path, tiny_data: Path
) -> None:
    torch_report = evaluate(tiny_run.folder, tiny_data, gold_mentions=True)
    onnx_report = evaluate(tiny_bundle, tiny_data, precision="fp32", gold_mentions=True)
    assert torch_report.scores == onnx_report.scores
    (scores,) = onnx_report.scores.values()
    assert scores.relations.strict.micro.f1 == 1.0


def test_int8_does_not_depend_on_its_neighbours(tiny_bundle: Path) -> None:
    backend = load_pipeline(Bundle.load(tiny_bundle), precision="int8").backend
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 60, (4, 20))
    mask = np.ones_like(ids)
    together = backend.encode(ids, mask)
    for row in range(len(ids)):
        alone = backend.encode(ids[row : row + 1], mask[row : row + 1])
        np.testing.assert_allclose(together.hidden[row], alone.hidden[0], atol=1e-5)


def test_int8_stays_near_fp32(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    ids = np.arange(5, 45)[None]
    mask = np.ones_like(ids)
    fp32, int8 = (
        load_pipeline(bundle, precision=precision).backend.encode(ids, mask).hidden
        for precision in ("fp32", "int8")
    )
    assert 0 < np.linalg.norm(fp32 - int8) / np.linalg.norm(fp32) < 0.1


def test_weights_are_kept_once(tiny_bundle: Path) -> None:
    """As int8 levels where products read them, and in no graph."""
    weights = load((tiny_bundle / "weights.safetensors").read_bytes())
    large = {name for name, value in weights.items() if value.ndim == 2 and min(value.shape) > 16}
    floats = {name for name in large if weights[name].dtype != np.int8}
    assert not [name for name in floats if "position" not in name and "word" not in name]
    assert len(large - floats) == 2 * 6 + 4
    for file in tiny_bundle.glob("*.onnx"):
        held = onnx.load(str(file)).graph.initializer
        assert all(numpy_helper.to_array(item).size <= 256 for item in held), file.name
        names = {name for node in onnx.load(str(file)).graph.node for name in node.input}
        assert names & weights.keys()
    int8 = onnx.load(str(tiny_bundle / "encoder_int8.onnx")).graph
    assert sum(node.op_type == "MatMulIntegerToFloat" for node in int8.node) == 2 * 6


def test_fp32_comes_from_the_same_levels(tiny_run: TinyRun, tiny_bundle: Path) -> None:
    """A bundle of int8 weights, run in floats, is the model of levels times scales."""
    bundle = Bundle.load(tiny_bundle)
    trained = TrainedModel.load(tiny_run.model)
    state = {name: torch.from_numpy(value) for name, value in read_state(bundle).items()}
    before = trained.model.state_dict()
    assert state.keys() == before.keys()
    name = "encoder.encoder.layer.1.intermediate.dense.weight"
    assert 0 < (state[name] - before[name]).abs().max() < 0.01
    trained.model.load_state_dict(state)
    parity = compare_tensors(
        trained.pipeline(batch=1).backend,
        load_pipeline(bundle, precision="fp32").backend,
        bundle.config.tasks,
        vocabulary=trained.tokenizer.tokenizer.get_vocab_size(),
        max_pieces=bundle.config.windows.max_pieces,
    )
    assert parity.worst < 1e-4


def test_unquantised_weights_are_those_of_the_training(tiny_run: TinyRun, tmp_path: Path) -> None:
    bundle = Bundle.load(export(tiny_run.folder, out=tmp_path / "plain"))
    assert set(bundle.config.encoders) == {"fp32"}
    state, trained = read_state(bundle), TrainedModel.load(tiny_run.model).model.state_dict()
    assert state.keys() == trained.keys()
    for name in ("attention.self.key", "intermediate.dense", "output.dense"):
        name = f"encoder.encoder.layer.0.{name}.weight"
        np.testing.assert_array_equal(state[name], trained[name].numpy())
    query = "encoder.encoder.layer.0.attention.self.query.weight"
    np.testing.assert_allclose(state[query], trained[query].numpy(), rtol=1e-6)


def test_export_is_deterministic(tiny_run: TinyRun, tiny_bundle: Path, tmp_path: Path) -> None:
    again = export(tiny_run.folder, out=tmp_path / "again", quantize=True)
    assert Bundle.load(again).config.files == Bundle.load(tiny_bundle).config.files


def test_int8_only_says_no_more_than_quantize(tiny_run: TinyRun, tmp_path: Path) -> None:
    out = export(tiny_run.folder, out=tmp_path / "small", int8_only=True, name="small")
    bundle = Bundle.load(out)
    assert set(bundle.config.encoders) == {"int8", "fp32"}
    assert (bundle.config.name, bundle.config.default_precision) == ("small", "int8")
    assert Extractor.load(out, precision="fp32", provider="cpu").info.precision == "fp32"
    with pytest.raises(ConfigError, match="precision fp16 was asked for"):
        Extractor.load(out, precision="fp16")


def test_an_old_bundle_is_kept_unless_told(tiny_run: TinyRun, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    export(tiny_run.folder, out=out)
    with pytest.raises(ConfigError, match="--overwrite"):
        export(tiny_run.folder, out=out)
    export(tiny_run.folder, out=out, overwrite=True, name="second")
    assert Bundle.load(out).config.name == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_other_folders_are_never_replaced(tiny_run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not a bundle"):
        export(tiny_run.folder, out=tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_wrong_export_is_refused_and_leaves_nothing(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emlb_export.verify.TOLERANCE", 1e-12)
    with pytest.raises(ArtefactError, match="torch and ONNX differ by"):
        export(tiny_run.folder, out=tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_the_last_finished_run_is_the_default(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no finished run below runs/"):
        find_model(None)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(tiny_run.folder)
    assert find_model(None) == Path("runs/mine/model")
    with pytest.raises(ConfigError, match="no trained model there"):
        find_model(tmp_path)


def test_no_path_of_the_training_machine_is_in_the_bundle(
    tiny_run: TinyRun, tiny_encoder: Path, tiny_bundle: Path
) -> None:
    text = (tiny_bundle / "config.json").read_text(encoding="utf-8")
    text += (tiny_bundle / "README.md").read_text(encoding="utf-8")
    assert str(tiny_run.folder) not in text
    assert str(tiny_encoder.parent) not in text
    assert "provenance" in json.loads((tiny_bundle / "config.json").read_text(encoding="utf-8"))


def test_what_taught_the_model_is_named_without_paths() -> None:
    settings = {
        "teachers": ["/home/me/runs/a", "runs/b/model", "model"],
        "notes": ["/home/me/raw", "ward 3/notes.csv"],
        "windows": 9,
    }
    assert _distillation(settings) == {
        "distillation": {
            "teachers": ["a", "b", "model"],
            "notes": ["raw", "notes.csv"],
            "windows": 9,
            "targets": "agreed",
            "annotated": False,
        }
    }
    soft = _distillation(settings | {"targets": "soft", "annotated": True})["distillation"]
    assert (soft["targets"], soft["annotated"]) == ("soft", True)
    assert _distilled(soft) == (
        "3 models (a, b, model) gave probabilities for the corpora and about 9 windows of raw "
        "notes (raw, notes.csv)"
    )
    hard = {"teachers": ["a"], "notes": ["raw"], "windows": 9}  # of an earlier bundle
    assert _distilled(hard) == "1 models (a) labelled about 9 windows of raw notes (raw)"
    assert _distillation({"teachers": []}) == _distillation({}) == {}


@pytest.mark.parametrize("base", ["/home/me/base", "./base", "~/base", "runs/me/base"])
def test_a_base_given_by_its_path_is_named_without_it(base: str) -> None:
    assert _is_local(base)
    named = ("bert-base-cased", "emilyalsentzer/Bio_ClinicalBERT", "package:encoders/a/b")
    assert not any(map(_is_local, named))
