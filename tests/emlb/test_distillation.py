"""What an ensemble labels, and what one model learns of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emlb.examples.examples import Example
from emlb.model.pretrained import TrainedModel
from emlb.training.config import DistillationConfig
from emlb.training.distillation.hard_labels import distil
from emlb.training.loss.pair_labels import build_pairs
from emlb.training.raw_notes import RawNotes
from emlb.training.train import train
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.records import Document, Note
from tests.tiny import TinyRun


def label(
    run: TinyRun,
    data: Path,
    *,
    held: tuple[Document, ...] = (),
    annotated: tuple[Document, ...] = (),
    said: list[str] | None = None,
    **settings: object,
) -> list[Example]:
    trained = TrainedModel.load(run.model)
    config = DistillationConfig(
        (str(run.folder), str(run.model)),
        (data.name,),
        **settings,  # type: ignore[arg-type]
    )
    return distil(
        config,
        trained.model.config.task_list,
        trained.pipeline(),
        trained.tokenizer,
        raw=RawNotes(data.parent, held, annotated, seed=1),
        say=(said if said is not None else []).append,
    )


@pytest.fixture
def raw(
    tmp_path: Path, tiny_documents: tuple[Document, ...], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The eight notes' texts alone, each in windows of its own as when they were learned."""
    monkeypatch.setattr("emlb.training.raw_notes.PACKED_CHARACTERS", (0, 0))
    folder = tmp_path / "raw"
    folder.mkdir()
    for document in tiny_documents:
        (folder / f"{document.note.name}.txt").write_bytes(document.note.text.encode())
    return folder


def test_teachers_that_know_the_notes_annotate_them(
    tiny_run: TinyRun, raw: Path, tiny_documents: tuple[Document, ...]
) -> None:
    examples = label(tiny_run, raw)
    n_mentions = sum(len(document.entities) for document in tiny_documents)
    n_relations = sum(len(document.relations) for document in tiny_documents)
    found = sum(len(example.mentions) + len(example.uncertain) for example in examples)
    assert found >= n_mentions
    assert sum(len(example.mentions) for example in examples) > 0.8 * n_mentions
    assert sum(len(example.relations) for example in examples) > 0.7 * n_relations
    assert not any(example.doubtful for example in examples)  # the two are the same model


def test_labels_are_legal_and_agree_with_the_mentions(tiny_run: TinyRun, raw: Path) -> None:
    for example in label(tiny_run, raw, sure=0.9, possible=0.2):
        scheme = example.supervision.task.scheme
        assert example.possible.shape == (len(example.word_pieces) - 1, scheme.n_labels)
        assert example.possible.any(axis=1).all()
        for start, end, type in example.mentions:
            labels = scheme.encode([(0, end - start, type)], end - start)
            assert example.possible[np.arange(start, end), labels].all()
        assert not set(example.mentions) & set(example.uncertain)


def test_a_high_bar_leaves_mentions_uncertain(tiny_run: TinyRun, raw: Path) -> None:
    low, high = label(tiny_run, raw, sure=0.51), label(tiny_run, raw, sure=1 - 1e-9)
    assert sum(len(e.mentions) for e in low) > sum(len(e.mentions) for e in high)
    for one, other in zip(low, high, strict=True):
        assert {*one.mentions, *one.uncertain} == {*other.mentions, *other.uncertain}


def test_doubtful_relations_carry_no_loss(tiny_run: TinyRun, raw: Path) -> None:
    (example, *_) = [example for example in label(tiny_run, raw) if example.relations]
    doubted = replace(example, relations=(), doubtful=example.relations)
    generator = np.random.default_rng(1)
    (sure,) = build_pairs([example], None, max_pairs=99, rng=generator)
    assert sure.labels.any()
    weights = sum(
        batch.weights[0].sum()
        for batch in build_pairs([doubted], None, max_pairs=99, rng=generator)
    )
    lost = sure.weights[0][sure.labels[0] > 0].sum()
    assert weights == pytest.approx(sure.weights[0].sum() - lost)


def test_notes_that_are_held_out_are_not_learned(
    tiny_run: TinyRun, raw: Path, tiny_documents: tuple[Document, ...]
) -> None:
    said: list[str] = []
    few = label(tiny_run, raw, held=tiny_documents[:3], said=said)
    assert len(few) < len(label(tiny_run, raw))
    assert any("× note that shares text with a held-out document" in line for line in said)


def test_files_that_are_no_notes_are_counted(tiny_run: TinyRun, raw: Path) -> None:
    said: list[str] = []
    whole = label(tiny_run, raw)
    (raw / "conll.txt").write_text("He O\nhas O\npain B-X\n", encoding="utf-8")
    (raw / "latin.txt").write_bytes(b"37 \xb0C")
    assert len(label(tiny_run, raw, said=said)) == len(whole)
    assert "  not used: 1 × file is not UTF-8" in said
    assert any("× it is a CoNLL file" in line for line in said)


def test_notes_that_are_annotated_need_no_teacher(
    tiny_run: TinyRun, raw: Path, tiny_documents: tuple[Document, ...]
) -> None:
    said: list[str] = []
    few = label(tiny_run, raw, annotated=tiny_documents[:3], said=said)
    assert 0 < len(few) < len(label(tiny_run, raw))
    assert "  not used: 3 × note that a corpus annotates" in said


def test_a_place_without_a_note_that_may_be_used_is_named(
    tiny_run: TinyRun, raw: Path, tiny_documents: tuple[Document, ...]
) -> None:
    count = len(tiny_documents)
    with pytest.raises(DataError, match=f"raw: no note is left.*; {count} × note that a corpus"):
        label(tiny_run, raw, annotated=tiny_documents)
    for file in raw.iterdir():
        file.write_text(" \n", encoding="utf-8")
    with pytest.raises(DataError, match=f"{count} × note without text; name other notes"):
        label(tiny_run, raw)


def test_relations_that_teachers_are_not_trusted_with(tiny_run: TinyRun, raw: Path) -> None:
    taught = label(tiny_run, raw)
    names = taught[0].supervision.task.relation_types
    doubted = label(tiny_run, raw, doubted=("ADE-Drug",))
    for before, after in zip(taught, doubted, strict=True):
        left = {link for link in before.relations if names[link[0]] == "ADE-Drug"}
        assert set(after.relations) == set(before.relations) - left
        assert set(after.doubtful) == left
    assert any(example.doubtful for example in doubted)
    assert any(example.relations for example in doubted)
    with pytest.raises(
        ConfigError, match="doubted has 'ADE-drug'; the relation types are ADE-Drug"
    ):
        label(tiny_run, raw, doubted=("ADE-drug",))


def test_short_notes_come_several_to_a_window(
    tiny_run: TinyRun, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = label(tiny_run, raw)
    monkeypatch.setattr("emlb.training.raw_notes.PACKED_CHARACTERS", (80, 640))
    assert len(label(tiny_run, raw)) < len(alone)


def test_as_many_windows_as_asked_for(tiny_run: TinyRun, raw: Path) -> None:
    assert len(label(tiny_run, raw, windows=1)) < len(label(tiny_run, raw))


def test_what_does_not_fit(tiny_run: TinyRun, raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="distillation needs notes for the teachers to label"):
        DistillationConfig(("t",))
    with pytest.raises(ConfigError, match="notes are set, but no distillation.teachers"):
        DistillationConfig(notes=("n",))
    with pytest.raises(ConfigError, match="0 < possible <= 0.5 < sure < 1"):
        DistillationConfig(sure=0.4)
    with pytest.raises(ConfigError, match="windows is 0"):
        DistillationConfig(windows=0)
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    other = replace(task, entity_types=task.entity_types[::-1], signatures=())
    config = DistillationConfig((str(tiny_run.folder),), (raw.name,))
    with pytest.raises(ConfigError, match="does not have the same types"):
        distil(
            config,
            [other],
            trained.pipeline(),
            trained.tokenizer,
            raw=RawNotes(raw.parent),
            say=print,
        )
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no annotated documents and no notes"):
        label(tiny_run, tmp_path / "none")


def test_a_student_learns_from_notes_that_nobody_annotated(
    tiny_run: TinyRun, tmp_path: Path, tiny_documents: tuple[Document, ...]
) -> None:
    said: list[str] = []
    raw = tmp_path / "raw"
    raw.mkdir()
    for number, document in enumerate(tiny_documents):  # the words of the notes, backwards
        text = " ".join(document.note.text.split()[::-1])
        (raw / f"{number}.txt").write_text(text, encoding="utf-8")
    folder = train(
        tiny_run.config,
        overrides=[
            f"output={tmp_path}",
            "name=student",
            "training.epochs=3",
            f"data={json.dumps(str(tiny_run.data.parent))}",
            f"distillation.teachers={json.dumps([str(tiny_run.folder)])}",
            f"distillation.notes={json.dumps([str(raw)])}",
        ],
        say=said.append,
    )
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    alone = json.loads((tiny_run.folder / "run.json").read_text(encoding="utf-8"))
    assert run["windows"] > alone["windows"]
    assert any("sure mentions" in line for line in said)
    trained = TrainedModel.load(folder / "model")
    trained.pipeline().run([Note("n", tiny_documents[0].note.text)])
