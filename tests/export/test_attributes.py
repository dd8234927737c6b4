"""Attribute heads in bundles: torch and ONNX agree, int8 keeps them, broken ones are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file

from emlb.evaluation.pipeline_scores import ScoredCorpus, extract, score_corpus
from emlb.model import EmlbConfig, EmlbModel
from emlb.model.pretrained import TrainedModel
from emlb_export.graph.trace import export_attributes
from emlb_export.tuning import Loss, tune_precision
from emlb_export.verify import compare_decoded, compare_tensors
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.bundle.state import read_state
from emlb_runtime.errors import BundleError
from emlb_runtime.extract import Extractor, load_pipeline
from emlb_runtime.formats.brat import format_brat, parse_brat
from emlb_runtime.inference.weights import UNNAMED
from emlb_runtime.records import Document, Note
from tests.attributed import ATTRIBUTES, AttributedRun

MARKED = frozenset(
    (attribute.name, type, value)
    for attribute in ATTRIBUTES
    for type in attribute.entity_types
    for value in attribute.marked
)


@pytest.fixture(scope="module")
def trained(attributed_run: AttributedRun) -> TrainedModel:
    return TrainedModel.load(attributed_run.folder / "model")


@pytest.fixture
def notes(attributed_run: AttributedRun) -> list[Note]:
    return [document.note for document in attributed_run.dev]


def test_torch_and_onnx_agree(
    trained: TrainedModel, attributed_bundle: Path, tmp_path: Path
) -> None:
    export_attributes(trained.model, "notes", tmp_path / "head.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "head.onnx"))
    draw = np.random.default_rng(2)
    for n_windows, n_pieces, n_spans in ((1, 1, 1), (1, 33, 7), (3, 64, 5), (2, 20, 0)):
        hidden = draw.normal(size=(n_windows, n_pieces, 32)).astype(np.float32)
        mask = np.ones((n_windows, n_pieces), dtype=np.int64)
        mask[-1, n_pieces // 2 + 1 :] = 0
        start = draw.integers(0, n_pieces, (n_windows, n_spans))
        end = np.minimum(start + draw.integers(1, 4, start.shape), n_pieces)
        spans = np.stack([start, end, draw.integers(0, 2, start.shape)], axis=-1)
        inputs = {"hidden": hidden, "attention_mask": mask, "spans": spans}
        (found,) = session.run(["scores"], inputs)
        with torch.no_grad():
            tensors = (torch.from_numpy(value) for value in inputs.values())
            expected = trained.model.describe("notes", *tensors).numpy()
        assert found.shape == (n_windows, n_spans, 5)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_bundle_is_the_model(
    trained: TrainedModel, attributed_bundle: Path, notes: list[Note]
) -> None:
    bundle = Bundle.load(attributed_bundle)
    (name,) = bundle.config.attributes.values()
    assert bundle.config.attributes_of("int8")["notes"] != name
    assert (attributed_bundle / name).stat().st_size < 40_000  # its weights lie elsewhere
    found = load_pipeline(bundle, precision="fp32")
    parity = compare_tensors(
        trained.pipeline(batch=1).backend,
        found.backend,
        bundle.config.tasks,
        vocabulary=trained.tokenizer.tokenizer.get_vocab_size(),
        max_pieces=64,
    )
    # The bundle's weights are levels: what they stand for is not quite what was trained.
    assert 0.0 < parity.attributes < 0.5
    agreement = compare_decoded(trained.pipeline(), found, notes)
    assert agreement.attributes > 20 and agreement.attribute_f1 > 0.97


def test_int8_keeps_them(attributed_run: AttributedRun, attributed_bundle: Path) -> None:
    documents = attributed_run.dev
    corpus = ScoredCorpus("dev", "notes", documents, {"Disorder", "Drug"}, marked=MARKED)
    bundle = Bundle.load(attributed_bundle)
    int8, fp32 = (
        score_corpus(corpus, extract(load_pipeline(bundle, precision=each), corpus)).attributes
        for each in ("int8", "fp32")
    )
    assert int8 is not None and fp32 is not None
    # How well a tiny random encoder learns depends on its start, and that on the library.
    assert fp32.found.micro.f1 > 0.5
    assert abs(int8.found.micro.f1 - fp32.found.micro.f1) < 0.05
    loss = Loss.between(
        tune_precision(bundle, "fp32", [corpus]), tune_precision(bundle, "int8", [corpus])
    )
    assert loss.n_attributes == int8.found.micro.gold
    assert abs(loss.attributes) < 5 and "of attributes on 20 development documents" in str(loss)


def test_what_attributes_lose_counts() -> None:
    loss = Loss(10, 0.0, 0.0, 1000, 1000, attributes=1.0, n_attributes=1000)
    assert loss.exceeds(0.5) and not loss.exceeds(1.0)
    assert "attributes" not in str(Loss(10, 0.0, 0.0, 1000, 1000))


def test_extractor_and_brat(attributed_bundle: Path, attributed_run: AttributedRun) -> None:
    extractor = Extractor.load(attributed_bundle)
    document = extractor.extract("Perhaps it is asthma after all. Given aspirin for it.", name="n")
    (asthma,) = (entity for entity in document.entities if entity.text == "asthma")
    assert dict(asthma.attributes) == {"Assertion": "possible"}
    annotations = format_brat(document)
    assert f"A1\tAssertion {asthma.id} possible" in annotations
    read, report = parse_brat(document.note.text, annotations, name="n")
    assert not report.problems and format_brat(read) == annotations
    value = document.to_json()
    (entity,) = (e for e in value["entities"] if e["text"] == "asthma")
    assert 0.5 < entity["attribute_scores"]["Assertion"] <= 1.0


def test_batches_and_neighbours_change_nothing(attributed_bundle: Path, notes: list[Note]) -> None:
    extractor = Extractor.load(attributed_bundle, workers=2)
    together = list(extractor.extract_many(notes))
    alone = [extractor.extract(note.text, name=note.name) for note in notes]
    assert [document.to_json() for document in together] == [d.to_json() for d in alone]
    long = Note("long", "\n".join(note.text for note in notes))
    first = {(e.text, tuple(e.attributes.items())) for d in alone for e in d.entities}
    said: Document = extractor.extract(long.text)
    assert said.status is not None and said.status.windows > 1
    assert len([e for e in said.entities if e.attributes]) > 20
    assert {(e.text, tuple(e.attributes.items())) for e in said.entities} & first


def test_training_can_go_on_from_it(trained: TrainedModel, attributed_bundle: Path) -> None:
    bundle = Bundle.load(attributed_bundle)
    assert bundle.config.architecture is not None
    assert bundle.config.architecture["attribute_width"] == 32
    config = EmlbConfig(
        **bundle.config.architecture,
        tasks=[task.to_json() for task in bundle.config.tasks],
        windows={"max_pieces": 64, "overlap": 12},
    )
    model = EmlbModel(config)
    state = {name: torch.from_numpy(value) for name, value in read_state(bundle).items()}
    model.load_state_dict(state, strict=True)
    own = trained.model.state_dict()
    for name, value in state.items():
        if ".attribute." in name:
            scale = own[name].abs().max().item() or 1.0
            assert (own[name] - value).abs().max().item() <= scale / 100, name


Config = dict[str, Any]


def rewrite(bundle: Path, tmp_path: Path, change: Callable[[Config], object]) -> Path:
    """A copy of a bundle with its configuration changed."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    change(config)
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("attributes"), "attribute heads are not those of the tasks"),
        (lambda c: c["tasks"][0].pop("attributes"), "attribute heads are not those of the tasks"),
        (lambda c: c["tasks"][0]["attributes"][0]["values"].append("x y"), "not a name of up to"),
        (lambda c: c["tasks"][0]["attributes"][0]["values"].append(7), "not a text"),
        (lambda c: c["tasks"][0]["attributes"][0].update(name="\x1b"), "control characters"),
        (lambda c: c["tasks"][0]["attributes"][0].update(more=1), "unknown members"),
        (lambda c: c["tasks"][0].update(attributes={}), "attributes is not a list"),
        (lambda c: c.update(attributes={"notes": "encoder.onnx"}), "one file for two things"),
        (
            lambda c: [t["attributes"].pop() for t in (c["tasks"][0], *c["tuned"].get("int8", []))],
            "its output scores is not float",
        ),
    ],
)
def test_bundles_that_are_refused(
    attributed_bundle: Path, tmp_path: Path, change: Callable[[Config], object], said: str
) -> None:
    broken = rewrite(attributed_bundle, tmp_path, change)
    with pytest.raises(BundleError, match=said):
        Bundle.load(broken).verify()


def test_the_card_names_them(attributed_bundle: Path) -> None:
    card = (attributed_bundle / "README.md").read_text(encoding="utf-8")
    assert "- attribute `Assertion` of Disorder, Drug: absent, possible; else present" in card
    assert "their attributes say so" in card and "(attribute scores)" in card
    assert "(attributes)" in card


def test_weights_hold_the_head_once(attributed_bundle: Path) -> None:
    bundle = Bundle.load(attributed_bundle)
    assert bundle.config.weights is not None
    names = load_file(attributed_bundle / bundle.config.weights).keys()
    assert "heads.notes.attribute.query.weight.T.levels" in names
    assert not [name for name in names if name.startswith(UNNAMED) and "attributes" in name]
    for name in bundle.config.attributes_of("int8").values():
        held = onnx.load(str(attributed_bundle / name)).graph.initializer
        assert sum(onnx.numpy_helper.to_array(weight).size for weight in held) < 4096
