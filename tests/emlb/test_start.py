"""Learning on from a trained model's weights, or from a bundle's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emlb.model.pretrained import LoadedTokenizer, TrainedModel, load_tokenizer, unpack_tokenizer
from emlb.training.train import train
from emlb.training.warm_start.origin import run_name
from emlb.training.warm_start.start import load_alike, load_start
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ArtefactError, BundleError, ConfigError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.records import Document
from tests.tiny import TinyRun, parse_markup, write_brat

STILL = ["training.epochs=1", "training.encoder_rate=1e-9", "training.head_rate=1e-9"]
"""Rates at which nothing is learned."""


def further(run: TinyRun, folder: Path, start: object, *settings: str) -> tuple[Path, list[str]]:
    """A run that learns on, and what it said."""
    said: list[str] = []
    overrides = [
        f"output={json.dumps(str(folder))}",
        "name=further",
        f"data={json.dumps(str(run.data.parent))}",
        f"start={json.dumps(str(start))}",
        *settings,
    ]
    return train(run.config, overrides=overrides, say=said.append), said


def test_a_run_begins_with_the_weights_it_starts_from(tiny_run: TinyRun, tmp_path: Path) -> None:
    folder, said = further(tiny_run, tmp_path, tiny_run.folder, *STILL)
    before, after = (
        TrainedModel.load(each / "model").model.state_dict() for each in (tiny_run.folder, folder)
    )
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, atol=1e-5, rtol=0)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["config"]["start"] == str(tiny_run.folder)
    assert run["started_from"] == {"name": "tiny", "base": str(tiny_run.encoder)}
    assert f"with its encoder and subwords; base {tiny_run.encoder} is not used" in said[1]
    assert "  task notes: 4 known types" in said


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("runs/x", "x"),
        ("runs/x/model", "x"),
        ("/home/me/runs/x/model/", "x"),
        ("model", "model"),
        ("tiny 1.0", "tiny 1.0"),
    ],
)
def test_a_run_is_named_without_its_path(place: str, name: str) -> None:
    assert run_name(place) == name


def test_no_base_is_needed(tiny_run: TinyRun, tmp_path: Path) -> None:
    folder, said = further(tiny_run, tmp_path, tiny_run.model, "base=", *STILL)
    assert said[1] == f"learning on from {tiny_run.model}, with its encoder and subwords"
    assert (folder / "model" / "tokenizer.json").is_file()
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["started_from"]["name"] == "tiny"  # not "model"


def test_new_types_are_learned(tiny_run: TinyRun, tmp_path: Path) -> None:
    """Doses join the two types that the model knows, in notes that it has not seen."""
    notes = [
        parse_markup(
            f"[Drug:d1 metoprolol] [Dosage:s1 {n} mg] for [Disorder:e1 fever]."
            " {Dosage-Drug s1 d1} {Treats d1 e1}",
            name=f"dose {n}",
        )
        for n in (25, 75, 3, 2)
    ]
    write_brat(notes, tmp_path / "doses")
    folder, said = further(
        tiny_run,
        tmp_path,
        tiny_run.folder,
        f"data={json.dumps(str(tmp_path))}",
        'corpus=[{name="doses", train="doses", dev="doses", repeat=20}]',
    )
    assert "  task notes: 3 known types; new: Dosage, Dosage-Drug; left out: ADE-Drug" in said
    (task,) = TrainedModel.load(folder / "model").model.config.task_list
    assert task.entity_types == ("Disorder", "Dosage", "Drug")
    assert task.relation_types == ("Dosage-Drug", "Treats")
    development = json.loads((folder / "run.json").read_text("utf-8"))["development"]
    assert development["doses_entities"] > 0.9
    assert development["doses_relations"] > 0.9


def test_types_that_new_notes_do_not_annotate_can_be_kept(
    tiny_run: TinyRun, tiny_documents: tuple[Document, ...], tmp_path: Path
) -> None:
    """A task that lists them, and a corpus that says what it annotates: the rest is unknown."""
    notes = [
        parse_markup(
            f"[Drug:d1 metoprolol] [Dosage:s1 {n} mg] for fever. {{Dosage-Drug s1 d1}}",
            name=f"dose {n}",
        )
        for n in (25, 75, 3, 2)
    ]
    write_brat(notes, tmp_path / "doses")
    types = '["Disorder", "Dosage", "Drug"], relation_types=["ADE-Drug", "Dosage-Drug", "Treats"]'
    full = '["Dosage", "Drug", "Dosage-Drug"]'
    folder, said = further(
        tiny_run,
        tmp_path,
        tiny_run.folder,
        f"data={json.dumps(str(tmp_path))}",
        f'task=[{{name="notes", min_signature=1, entity_types={types}}}]',
        f'corpus=[{{name="doses", train="doses", dev="doses", repeat=10, full={full}}}]',
        "training.epochs=2",
        "training.encoder_rate=3e-4",
        "training.head_rate=3e-3",
    )
    assert "  task notes: 4 known types; new: Dosage, Dosage-Drug" in said
    trained = TrainedModel.load(folder / "model")
    (task,) = trained.model.config.task_list
    assert {relation for relation, _, _ in task.signatures} == {*task.relation_types}
    pipeline = trained.pipeline()
    found = pipeline.run([document.note for document in tiny_documents])
    for type, least in (("Disorder", 0.8), ("Drug", 0.8)):
        gold = {(d.note.name, e.start, e.end) for d in tiny_documents for e in d.entities
                if e.type == type}  # fmt: skip
        mine = {(d.note.name, e.start, e.end) for d in found for e in d.entities
                if e.type == type}  # fmt: skip
        assert len(gold & mine) >= least * len(gold), type


def test_a_bundle_begins_as_it_extracts(
    tiny_run: TinyRun,
    tiny_bundle: Path,
    tiny_documents: tuple[Document, ...],
    tmp_path: Path,
) -> None:
    """What learned nothing since finds what the bundle finds, with about the same scores."""
    folder, said = further(tiny_run, tmp_path, tiny_bundle, "base=", *STILL)
    assert said[1] == "learning on from tiny 0.1.0, with its encoder and subwords"
    bundle = Bundle.load(tiny_bundle)
    (task,) = bundle.config.tasks
    begun = TrainedModel.load(folder / "model").pipeline(tasks=[task])
    notes = [document.note for document in tiny_documents]
    expected = load_pipeline(bundle, precision="fp32").run(notes)
    for mine, theirs in zip(begun.run(notes), expected, strict=True):
        mentions = [(e.type, e.start, e.end) for e in theirs.entities]
        assert [(e.type, e.start, e.end) for e in mine.entities] == mentions
        links = [(r.type, r.head, r.tail) for r in theirs.relations]
        assert [(r.type, r.head, r.tail) for r in mine.relations] == links
        for some, others in ((mine.entities, theirs.entities), (mine.relations, theirs.relations)):
            np.testing.assert_allclose(
                [item.score for item in some],
                [item.score for item in others],
                atol=2e-3,
            )


def test_a_bundles_run_can_be_loaded_and_exported(
    tiny_run: TinyRun, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Its tokenizer, which transformers has not written, comes along."""
    from emlb_export.export import export

    folder, _ = further(tiny_run, tmp_path, tiny_bundle, "base=", *STILL)
    bundle = Bundle.load(export(folder, out=tmp_path / "bundle"))
    assert bundle.config.provenance["start"] == "tiny 0.1.0"
    assert bundle.config.provenance["base"] == Bundle.load(tiny_bundle).config.provenance["base"]
    assert bundle.config.special == Bundle.load(tiny_bundle).config.special


def test_the_bundled_model() -> None:
    start = load_start("default")
    assert start.name.startswith("emlb-clinical-small ")
    assert start.weights["encoder.embeddings.word_embeddings.weight"].shape == (30522, 384)
    assert start.tokenizer.special.mask is not None
    assert all(weight.dtype == torch.float32 for weight in start.weights.values())


def test_a_run_that_was_cut_off_goes_on(
    tiny_run: TinyRun, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    class Killed(BaseException):
        pass

    original = Trainer._save_checkpoint

    def save_and_die(self: Trainer, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            further(tiny_run, tmp_path, tiny_bundle, "training.epochs=2")
    folder, said = further(tiny_run, tmp_path, tiny_bundle, "training.epochs=2")
    assert any(line.startswith("going on from") for line in said)
    whole, _ = further(tiny_run, tmp_path / "whole", tiny_bundle, "training.epochs=2")
    if not torch.cuda.is_available():  # sums on a GPU are not repeatable to the last bit
        weights = load_file(folder / "model" / "model.safetensors")
        for name, values in load_file(whole / "model" / "model.safetensors").items():
            torch.testing.assert_close(weights[name], values, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("model.relation_width=16", "its relation_width is 32, but model.relation_width is 16"),
        ("model.relation_heads=4", "its relation_heads is 2, .* set model.relation_heads=2"),
        ("model.entity_head=softmax", "its entity_head is 'crf', but model.entity_head is 'sof"),
        ("model.relation_head=linear", "its relation_head is 'bilinear', .*=bilinear"),
    ],
)
def test_heads_of_other_sizes(
    tiny_run: TinyRun, tmp_path: Path, setting: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=f"start .*tiny: {sentence}"):
        further(tiny_run, tmp_path, tiny_run.folder, setting)
    assert not (tmp_path / "further").exists()


def test_places_without_a_model(tiny_run: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder; name a run, a bundle, or default"):
        further(tiny_run, tmp_path, tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match="not a trained model, config.json is missing"):
        load_start(str(tmp_path))


def test_a_bundle_without_weights_to_learn_on_from(tiny_bundle: Path, tmp_path: Path) -> None:
    """Formats before 4 hold networks alone; what to do is said."""
    old = tmp_path / "old"
    old.mkdir()
    for path in tiny_bundle.iterdir():
        (old / path.name).write_bytes(path.read_bytes())
    values = json.loads((old / "config.json").read_text(encoding="utf-8"))
    values["architecture"] = None
    (old / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(BundleError, match="training cannot start from this bundle, .* export"):
        load_start(str(old))


def test_teachers_that_do_not_fit(tiny_run: TinyRun, tmp_path: Path) -> None:
    trained = TrainedModel.load(tiny_run.model)
    tasks, tokenizer = trained.model.config.task_list, trained.tokenizer
    renamed = [replace(task, name="another") for task in tasks]
    with pytest.raises(ConfigError, match="teacher .* its task another does not have"):
        load_alike(tiny_run.folder, renamed, tokenizer, role="teacher")
    with pytest.raises(ArtefactError, match="not a trained model"):
        load_alike(tmp_path, tasks, tokenizer, role="teacher")


def test_a_bundles_tokenizer(tokenizer: LoadedTokenizer, tmp_path: Path) -> None:
    """Rebuilt from its file and three ids it reads as before, and is saved as a tokenizer."""
    data = tokenizer.tokenizer.to_str().encode()
    rebuilt = unpack_tokenizer(data, replace(tokenizer.special, mask=None))
    assert rebuilt.special == tokenizer.special
    rebuilt.source.save_pretrained(tmp_path)
    for found in (rebuilt, load_tokenizer(tmp_path)):
        assert found.special == tokenizer.special
        assert found.tokenizer.get_vocab() == tokenizer.tokenizer.get_vocab()
        for text in ("β-blocker metoprolol 25 mg 😀 →", "Amoxicillin caused a rash."):
            mine, theirs = (t.tokenizer.encode(text) for t in (found, tokenizer))
            assert (mine.ids, mine.offsets) == (theirs.ids, theirs.offsets)
