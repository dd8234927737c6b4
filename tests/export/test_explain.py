"""Explaining note files: torch and bundle alike, files written safely, errors without text."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from emlb.explaining.explain import explain_note
from emlb_export.explain_bundle import explain_file, open_model
from emlb_export.export import export
from emlb_export.graph.attention import BundleAttention, with_attention
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ArtefactError, BundleError, ConfigError, DataError, EmlbError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Note
from tests.tiny import TinyRun

MARKER = "Zzyzxmarker"


@pytest.fixture
def note(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """All notes of the tiny corpus as one."""
    path = tmp_path / "note.txt"
    text = "\r\n".join(document.note.text for document in tiny_run.documents)
    path.write_bytes(text.encode("utf-8"))
    return path


def explained(model: Path, note: Path, **options: Any) -> Any:
    target = note.with_suffix(".json")
    explain_file(model, str(note), json_path=target, **options)
    return json.loads(target.read_text(encoding="utf-8"))


def test_torch_and_bundle_looked_at_the_same(tiny_run: TinyRun, tmp_path: Path, note: Path) -> None:
    torch = explained(tiny_run.folder, note)
    onnx_fp32 = explained(export(tiny_run.folder, out=tmp_path / "fp32"), note)
    assert len(torch["triples"]) == len(onnx_fp32["triples"]) > 5
    assert torch["windows"] == onnx_fp32["windows"] > 1
    for left, right in zip(torch["triples"], onnx_fp32["triples"], strict=True):
        assert left["head"]["start"] == right["head"]["start"]
        assert (left["relation"], left["window"]) == (right["relation"], right["window"])
        for side in ("head_side", "tail_side"):
            np.testing.assert_allclose(left[side]["words"], right[side]["words"], atol=1e-3)
            assert len(right[side]["attention_heads"]) == 2
            for one, other in zip(
                left[side]["attention_heads"], right[side]["attention_heads"], strict=True
            ):
                np.testing.assert_allclose(one["weights"], other["weights"], atol=1e-3)
        assert left["encoder"] is not None and right["encoder"] is None
    assert torch["missing"] == []
    (sentence,) = onnx_fp32["missing"]
    assert "encoder" in sentence and "name the trained model's folder" in sentence


def test_a_bundle_explains_its_own_precision(tiny_bundle: Path, note: Path) -> None:
    value = explained(tiny_bundle, note)
    assert value["precision"] == "int8" and value["triples"]
    for triple in value["triples"]:
        words = triple["head_side"]["words"]
        total = sum(weight for *_, weight in words) + triple["head_side"]["special_tokens"]
        assert total == pytest.approx(1.0, abs=1e-4)


def test_the_graph_with_attention_gives_the_same_logits(tiny_bundle: Path, note: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    pipeline, attention = load_pipeline(bundle), BundleAttention(bundle)
    rng = np.random.default_rng(0)
    (task,) = bundle.config.relations
    hidden = rng.normal(size=(17, bundle.config.width)).astype(np.float32)
    spans = np.array([[1, 3, 0], [5, 6, 1], [8, 16, 0]])
    pairs = np.array([[0, 1], [1, 2]])
    look = attention.relate(task, hidden, spans, pairs)
    mask = np.ones((1, 17), dtype=np.int64)
    logits = pipeline.backend.relate(task, hidden[None], mask, spans[None], pairs[None])
    np.testing.assert_array_equal(look.logits, logits[0])
    assert look.weights is not None and look.weights.shape == (4, 2, 17)
    bundle.verify()


def test_graphs_whose_attention_cannot_be_told_are_refused(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    (name,) = bundle.config.relations.values()
    data = bundle.read(name)
    model = onnx.load_from_string(data)
    (softmax,) = [node for node in model.graph.node if node.op_type == "Softmax"]
    twin = onnx.NodeProto()
    twin.CopyFrom(softmax)
    twin.output[0] = "another"
    model.graph.node.append(twin)
    with pytest.raises(ArtefactError, match="it has 2 softmax nodes; name the trained model"):
        with_attention(model.SerializeToString(), name=name)
    for node in (twin, softmax):
        model.graph.node.remove(node)
    with pytest.raises(ArtefactError, match="it has 0 softmax nodes; name the trained model"):
        with_attention(model.SerializeToString(), name=name)
    with pytest.raises(BundleError, match="not an ONNX file"):
        with_attention(b"\xff" + data, name=name)


def test_attention_has_sides_and_heads_on_one_axis_or_two(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles of earlier versions have them on one."""
    attention = BundleAttention(Bundle.load(tiny_bundle))
    weights = np.random.default_rng(0).dirichlet(np.ones(9), (1, 2, 2, 1)).astype(np.float32)

    class Graph:
        def __init__(self, shape: tuple[int, ...]) -> None:
            self.shape = shape

        def run(self, *_: object) -> list[np.ndarray]:
            return [np.zeros((1, 1, 2)), weights.reshape(self.shape)]

    hidden = np.zeros((9, 8), dtype=np.float32)
    spans, pairs = np.array([[1, 2, 0], [3, 4, 1]]), np.array([[0, 1]])
    for shape in ((1, 2, 2, 1, 9), (1, 4, 1, 9)):
        monkeypatch.setitem(attention._sessions, "notes", Graph(shape))
        look = attention.relate("notes", hidden, spans, pairs)
        np.testing.assert_array_equal(look.weights, weights.reshape(4, 1, 9))


def test_a_softmax_that_is_not_the_attention_is_refused(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(tiny_bundle)
    attention = BundleAttention(bundle)
    (task,) = bundle.config.relations
    monkeypatch.setitem(attention._outputs, task, "logits")
    hidden = np.zeros((9, bundle.config.width), dtype=np.float32)
    spans, pairs = np.array([[1, 2, 0], [3, 4, 1]]), np.array([[0, 1]])
    with pytest.raises(ArtefactError, match="softmax is not its attention"):
        attention.relate(task, hidden, spans, pairs)


def test_files_are_written_and_listed(tiny_run: TinyRun, note: Path, tmp_path: Path) -> None:
    page, values = tmp_path / "page.html", tmp_path / "values.json"
    listing = explain_file(
        tiny_run.model, str(note), html_path=page, json_path=values, number=2, top=3
    )
    assert listing.startswith(f"{note.as_posix()}: ") and "\n2. " in listing
    assert "\n1. " not in listing
    assert "<h2>2. " in page.read_text(encoding="utf-8")
    if sys.platform != "win32":
        assert [path.stat().st_mode & 0o777 for path in (page, values)] == [0o600, 0o600]
    (triple,) = json.loads(values.read_text(encoding="utf-8"))["triples"]
    assert triple["number"] == 2
    text = note.read_bytes().decode("utf-8")
    for start, end, _ in triple["encoder"]["words"]:
        assert text[start:end].strip() == text[start:end] != ""


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(EmlbError) as caught:
        explain_file(*arguments, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and MARKER not in sentence
    return sentence


def test_unusable_models_are_one_sentence(
    tiny_encoder: Path, tiny_run: TinyRun, tiny_bundle: Path, note: Path, tmp_path: Path
) -> None:
    assert "no trained model or bundle there" in refusal(tmp_path / "none", str(note))
    assert "neither a trained model" in refusal(tiny_encoder, str(note))
    assert "runs in fp32, not int8" in refusal(tiny_run.folder, str(note), precision="int8")
    assert "the bundle has" in refusal(tiny_bundle, str(note), precision="fp16")
    broken = Path(shutil.copytree(tiny_bundle, tmp_path / "broken"))
    (broken / "config.json").write_text("{", encoding="utf-8")
    assert "is not valid JSON" in refusal(broken, str(note))


def test_unusable_notes_are_one_sentence(tiny_run: TinyRun, tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tiny_run.folder, str(tmp_path / "none.txt"))
    assert "one note is explained at a time" in refusal(tiny_run.folder, str(tmp_path))
    latin = tmp_path / "latin.txt"
    latin.write_bytes(f"{MARKER} na\xefve".encode("latin-1"))
    assert "latin.txt" in refusal(tiny_run.folder, str(latin))
    assert "no triples" in explain_file(tiny_run.folder, str(latin), encoding="latin-1")
    assert "unknown text encoding" in refusal(tiny_run.folder, str(latin), encoding="klingon")
    table = tmp_path / "NOTEEVENTS.csv"
    table.write_text("ROW_ID,SUBJECT_ID,HADM_ID,CATEGORY,TEXT\n", encoding="utf-8")
    assert "a table of notes" in refusal(tiny_run.folder, str(table))


def test_outputs_never_overwrite_the_note(tiny_run: TinyRun, note: Path, tmp_path: Path) -> None:
    before = note.read_bytes()
    model, name = tiny_run.folder, str(note)
    assert "is the note" in refusal(model, name, html_path=note)
    assert "is the note" in refusal(model, name, json_path=tmp_path / "." / note.name)
    same = tmp_path / "same"
    assert "is the file of --html" in refusal(model, name, html_path=same, json_path=same)
    assert "is a folder" in refusal(model, name, html_path=tmp_path)
    assert "there is no such folder" in refusal(model, name, json_path=tmp_path / "no" / "x.json")
    assert "but the note has" in refusal(model, name, number=99, html_path=same)
    assert note.read_bytes() == before and not same.exists()


def test_no_message_quotes_the_note(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(self: Pipeline, notes: list[Note]) -> None:
        raise ValueError(notes[0].text)

    path = tmp_path / "note.txt"
    path.write_text(f"A rash after {MARKER}.", encoding="utf-8")
    monkeypatch.setattr(Pipeline, "run", fail)
    with pytest.raises(DataError) as caught:
        explain_file(tiny_run.folder, str(path))
    assert str(caught.value) == f"{path.as_posix()}: it could not be explained (ValueError)"
    assert MARKER not in caplog.text


def test_the_bundled_model_can_be_explained(repo: Path) -> None:
    folder = repo / "runtime" / "emlb_runtime" / "models" / "emlb-clinical-small"
    pipeline, attention = open_model(folder)
    note = Note("note", "A rash appeared two days after amoxicillin 500 mg was started.")
    explanation = explain_note(note, pipeline=pipeline, attention=attention)
    assert explanation.triples
    with pytest.raises(ConfigError, match="the note has"):
        explain_note(note, pipeline=pipeline, attention=attention, number=99)
