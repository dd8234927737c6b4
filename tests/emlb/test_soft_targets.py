"""Soft targets: what teachers of any tokenizer say, and what a student learns of it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emlb.evaluation import score
from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, ExampleSet, Supervision, make_examples
from emlb.examples.soft import WindowText
from emlb.model import EmlbModel
from emlb.model.pretrained import (
    LoadedTokenizer,
    TrainedModel,
    load_tokenizer,
    make_pipeline,
)
from emlb.training.config import DistillationConfig
from emlb.training.distillation.soft_targets import distil_softly
from emlb.training.distillation.store import Stored, fingerprint, load_targets, save_targets
from emlb.training.distillation.teachers import View, _Seen
from emlb.training.loss.joint import JointLoss, collate
from emlb.training.raw_notes import RawNotes
from emlb.training.train import train
from emlb_runtime.errors import ArtefactError, ConfigError, DataError
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task
from tests.tiny import WINDOWS, TinyRun


@pytest.fixture(scope="module")
def other_encoder(
    tiny_documents: tuple[Document, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An encoder whose words are as the tiny one's, in pieces of at most two letters."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("other")
    words = {w for d in tiny_documents for w in re.findall(r"\w+|[^\w\s]", d.note.text.lower())}
    letters = {letter for word in words for letter in word}
    pairs = {word[i : i + 2] for word in words for i in range(0, len(word), 2)}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = sorted(letters | pairs)
    vocabulary = [*special, *pieces, *(f"##{piece}" for piece in pieces)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    made = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), do_lower_case=True)
    made.save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def raw(
    tmp_path: Path, tiny_documents: tuple[Document, ...], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The eight notes' texts alone, each in windows of its own."""
    monkeypatch.setattr("emlb.training.raw_notes.PACKED_CHARACTERS", (0, 0))
    folder = tmp_path / "raw"
    folder.mkdir()
    for document in tiny_documents:
        (folder / f"{document.note.name}.txt").write_bytes(document.note.text.encode())
    return folder


def config(run: TinyRun, *notes: Path, **settings: object) -> DistillationConfig:
    return DistillationConfig(
        (str(run.folder),),
        tuple(map(str, notes)),
        targets="soft",
        **settings,  # type: ignore[arg-type]
    )


def taught(
    settings: DistillationConfig,
    task: Task,
    pipeline: Pipeline,
    cache: Path,
    examples: list[Example] | None = None,
    said: list[str] | None = None,
) -> list[Example]:
    return distil_softly(
        settings,
        [task],
        pipeline,
        examples or [],
        raw=RawNotes(Path()),
        cache=cache / "soft.safetensors",
        say=(said if said is not None else []).append,
    )


def student(encoder: Path, task: Task) -> tuple[EmlbModel, LoadedTokenizer]:
    torch.manual_seed(11)
    made = EmlbModel.from_base(
        encoder, [task], windows=WINDOWS, relation_width=32, relation_heads=2, head_dropout=0.0
    )
    return made, load_tokenizer(encoder)


def learn(
    model: EmlbModel,
    tokenizer: LoadedTokenizer,
    examples: list[Example],
    *,
    steps: int,
    temperature: float = 1.0,
) -> list[float]:
    """The loss of every step, over all examples at once."""
    loss = JointLoss(model, max_pairs=999, seed=1, temperature=temperature)
    items = ExampleSet(examples)
    batch = collate([items[i] for i in range(len(items))], special=tokenizer.special)
    groups = model.parameter_groups(encoder_rate=3e-3, head_rate=1e-2, weight_decay=0.0)
    optimizer = torch.optim.AdamW(groups)
    model.train()
    seen = []
    for _ in range(steps):
        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        losses = loss(output, batch["attention_mask"], batch["examples"], predict=False)
        total = losses.entity + losses.relation
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen.append(float(total.detach()))
    return seen


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_student_with_other_subwords_learns_what_its_teacher_thinks(
    tiny_run: TinyRun,
    other_encoder: Path,
    raw: Path,
    tmp_path: Path,
    tiny_documents: tuple[Document, ...],
    temperature: float,
) -> None:
    task = TrainedModel.load(tiny_run.model).model.config.task_list[0]
    model, tokenizer = student(other_encoder, task)
    teacher_pieces = TrainedModel.load(tiny_run.model).tokenizer.tokenizer.get_vocab()
    assert tokenizer.tokenizer.get_vocab() != teacher_pieces
    pipeline = make_pipeline(model, tokenizer)
    settings = config(tiny_run, raw, temperature=temperature, relation_weight=1.0)
    examples = taught(settings, task, pipeline, tmp_path)
    assert all(e.soft is not None and not e.relations for e in examples)
    losses = learn(model, tokenizer, examples, steps=120, temperature=temperature)
    assert min(losses) >= 0.0
    assert losses[-1] < 0.1 * losses[0]
    model.eval()  # type: ignore[no-untyped-call]
    found = make_pipeline(model, tokenizer).run([d.note for d in tiny_documents])
    scores = score(list(tiny_documents), found)
    assert scores.entities.strict.micro.f1 > 0.9
    assert scores.relations.strict.micro.f1 > 0.7


def test_targets_are_the_teachers_own_probabilities(
    tiny_run: TinyRun, raw: Path, tmp_path: Path
) -> None:
    trained = TrainedModel.load(tiny_run.model)
    pipeline = trained.pipeline()
    (task,) = trained.model.config.task_list
    for example in taught(config(tiny_run, raw), task, pipeline, tmp_path):
        assert example.soft is not None
        labels = example.soft.labels.astype(float)
        assert labels.sum(axis=1) == pytest.approx(1.0, abs=0.01)
        with torch.inference_mode():
            ids = torch.from_numpy(example.input_ids)[None]
            output = trained.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        words = output.emissions[task.name][:, torch.from_numpy(example.word_pieces[:-1])]
        mask = torch.ones(words.shape[:2], dtype=torch.bool)
        own = trained.model.head(task.name).crf.log_marginals(words, mask).exp()[0]
        free = ~(example.layout.apart | example.layout.ruled)
        if free.all():  # else the teacher's lattice is barred, the plain one is not
            assert labels == pytest.approx(own.detach().numpy(), abs=0.02)


def test_annotated_windows_keep_their_annotation_and_their_pairs_get_probabilities(
    tiny_run: TinyRun, tmp_path: Path, tiny_documents: tuple[Document, ...]
) -> None:
    trained = TrainedModel.load(tiny_run.model)
    pipeline = trained.pipeline()
    (task,) = trained.model.config.task_list
    types = frozenset((*task.entity_types, *task.relation_types))
    examples = make_examples(
        tiny_documents, Supervision(task, Coverage(types)), pipeline, Counter()
    )
    soft = taught(config(tiny_run), task, pipeline, tmp_path, examples * 2)
    assert len(soft) == 2 * len(examples)  # a window that is repeated is asked once
    related = 0
    for before, after in zip(examples * 2, soft, strict=True):
        assert after.soft is not None
        assert replace(after, soft=None, source=None) == replace(before, source=None)
        at = {(int(h), int(t)): row for row, (h, t) in enumerate(after.soft.pairs)}
        for relation, head, tail in after.relations:
            related += 1
            assert after.soft.relations[at[head, tail], relation] > 0.5
    assert related


def test_annotated_windows_may_be_left_alone(
    tiny_run: TinyRun, raw: Path, tmp_path: Path, tiny_documents: tuple[Document, ...]
) -> None:
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    supervision = Supervision(task, Coverage(frozenset(task.entity_types)))
    examples = make_examples(tiny_documents, supervision, trained.pipeline(), Counter())
    settings = config(tiny_run, raw, annotated=False)
    soft = taught(settings, task, trained.pipeline(), tmp_path, examples)
    assert [e.soft is None for e in soft] == [True] * len(examples) + [False] * len(examples)


def test_relations_that_teachers_are_not_trusted_with_have_no_weight(
    tiny_run: TinyRun, raw: Path, tmp_path: Path
) -> None:
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    settings = config(tiny_run, raw, doubted=("ADE-Drug",), relation_weight=0.25)
    for example in taught(settings, task, trained.pipeline(), tmp_path):
        assert example.soft is not None
        weights = dict(zip(task.relation_types, example.soft.relation_weight, strict=True))
        assert weights == {"ADE-Drug": 0.0, "Treats": 0.25}
    with pytest.raises(ConfigError, match="doubted has 'Cures'"):
        taught(replace(settings, doubted=("Cures",)), task, trained.pipeline(), tmp_path)


def view(words: list[tuple[int, int]], marginals: list[list[float]]) -> View:
    """A teacher's view, with one window."""
    starts = np.array([start for start, _ in words])
    ends = np.array([end for _, end in words])
    pieces, hidden = np.arange(len(words) + 1), np.zeros((len(words) + 2, 4))
    return View(starts, ends, (_Seen(0, pieces, hidden, np.array(marginals)),))


def test_words_are_matched_by_characters() -> None:
    # The teacher reads "q6h PRN" as q6h, PRN; the student as q, 6, h, PRN and a sign it has alone.
    teacher = view([(0, 3), (4, 7)], [[0.1, 0.7, 0.2], [0.3, 0.1, 0.6]])
    source = WindowText("q6h PRN ☤", np.array([0, 1, 2, 4, 8]), np.array([1, 2, 3, 7, 9]))
    labels = teacher.labels(source)
    assert labels[0] == pytest.approx([0.1, 0.7, 0.2])
    assert labels[1] == pytest.approx([0.1, 0.0, 0.9])  # a beginning goes on
    assert labels[2] == pytest.approx([0.1, 0.0, 0.9])
    assert labels[3] == pytest.approx([0.3, 0.1, 0.6])
    assert labels[4] == pytest.approx([0.0, 0.0, 0.0])
    assert teacher.words_of(1, 2) == (0, 1)
    assert teacher.words_of(2, 5) == (0, 2)


def test_several_of_the_teachers_words_are_one_of_the_students() -> None:
    teacher = view([(0, 1), (1, 2), (2, 3)], [[0.2, 0.8, 0.0], [0.1, 0.0, 0.9], [0.1, 0.0, 0.9]])
    labels = teacher.labels(WindowText("q6h", np.array([0]), np.array([3])))
    assert labels.tolist() == [[0.2, 0.8, 0.0]]
    assert teacher.words_of(0, 3) == (0, 3)


def test_a_word_of_two_windows_counts_where_it_is_farther_inside() -> None:
    words = [(i * 2, i * 2 + 1) for i in range(6)]
    starts = np.array([start for start, _ in words])
    ends = np.array([end for _, end in words])
    first, second = np.full((4, 3), 0.25), np.full((4, 3), 0.5)
    seen = tuple(
        _Seen(start, np.arange(5), np.zeros((6, 4)), own)
        for start, own in ((0, first), (2, second))
    )
    labels = View(starts, ends, seen).labels(WindowText("x" * 11, starts, ends))
    assert labels[:, 0].tolist() == [0.25, 0.25, 0.25, 0.5, 0.5, 0.5]


def test_what_is_stored_is_read_for_the_same_question_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    targets = [
        Stored(
            rng.random((words, 5)).astype(np.float16),
            rng.integers(0, 4, (pairs, 2)),
            rng.random((pairs, 2)).astype(np.float16),
        )
        for words, pairs in ((3, 2), (0, 0), (7, 0), (1, 5))
    ]
    path = tmp_path / "run" / "soft.safetensors"
    assert load_targets(path, "q") is None
    save_targets(path, "q", targets)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_targets(path, "other") is None
    read = load_targets(path, "q")
    assert read is not None
    for one, other in zip(targets, read, strict=True):
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.pairs, other.pairs)
        assert np.array_equal(one.relations, other.relations)
    path.write_bytes(b"torn")
    assert load_targets(path, "q") is None


def test_nothing_is_left_beside_targets_that_were_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, relations = np.zeros((1, 3), np.float16), np.zeros((0, 1), np.float16)
    targets = [Stored(labels, np.zeros((0, 2), np.int64), relations)]
    path = tmp_path / "soft.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
        for process in (1, 2):  # a run that is killed twice
            patch.setattr("os.getpid", lambda process=process: process)
            with pytest.raises(KeyboardInterrupt):
                save_targets(path, "q", targets)
    assert load_targets(path, "q") is None
    save_targets(path, "q", targets)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_question_is_of_everything_that_answers_depend_on(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    (task,) = TrainedModel.load(tiny_run.model).model.config.task_list
    teacher = Path(shutil.copytree(tiny_run.model, tmp_path / "teacher"))

    def ask(*texts: str, temperature: float = 1.0, autocast: str = "None") -> str:
        asked = [(text, None) for text in texts]
        return fingerprint([teacher], temperature, task, asked, autocast=autocast)

    questions = [
        ask("fever"),
        ask("fever", temperature=2.0),
        ask("fever", autocast="torch.bfloat16"),
        ask("fever", "rash"),
        ask("feverNonerash"),  # None is what a text without annotation has
        ask("rash", "fever"),
    ]
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        with (teacher / name).open("ab") as file:
            file.write(b"\n")
        questions.append(ask("fever"))
    assert len(set(questions)) == len(questions)
    (teacher / "tokenizer.json").unlink()
    with pytest.raises(ArtefactError, match="not a trained model, tokenizer.json is missing"):
        ask("fever")


def test_one_of_several_processes_writes_the_targets(
    tiny_run: TinyRun, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    cache = tmp_path / "cache"
    monkeypatch.setenv("RANK", "1")
    asked = taught(config(tiny_run, raw), task, trained.pipeline(), cache)
    assert not cache.exists()
    monkeypatch.setenv("RANK", "0")
    assert len(taught(config(tiny_run, raw), task, trained.pipeline(), cache)) == len(asked)
    assert [file.name for file in cache.iterdir()] == ["soft_notes.safetensors"]


def test_a_place_without_a_note_that_may_be_used_is_named(
    tiny_run: TinyRun, raw: Path, tmp_path: Path
) -> None:
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    for file in raw.iterdir():
        file.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="raw: no note is left to label; 8 × note without text"):
        taught(config(tiny_run, raw), task, trained.pipeline(), tmp_path)


def test_a_run_learns_from_soft_targets_and_keeps_no_text(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    said: list[str] = []
    raw = tmp_path / "raw"
    raw.mkdir()
    marker = "Zanthoxylum"
    (raw / "n.txt").write_text(f"{marker} caused a rash after lisinopril.", encoding="utf-8")
    overrides = [
        f"output={tmp_path}",
        "name=student",
        "training.epochs=2",
        f"data={json.dumps(str(tiny_run.data.parent))}",
        f"distillation.teachers={json.dumps([str(tiny_run.folder)])}",
        f"distillation.notes={json.dumps([str(raw)])}",
        "distillation.targets=soft",
    ]
    folder = train(tiny_run.config, overrides=overrides, say=said.append)
    assert any("1 teachers label" in line for line in said)
    stored = folder / "soft_targets_notes.safetensors"
    assert stored.is_file()
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "tokenizer.json":
            assert marker.lower().encode() not in file.read_bytes().lower(), file.name
    before = stored.read_bytes()
    (folder / "run.json").unlink()  # as if the run had been cut off before its end
    train(tiny_run.config, overrides=overrides, say=said.append)
    assert any("soft targets of" in line and "read from" in line for line in said)
    assert stored.read_bytes() == before
