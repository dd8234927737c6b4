"""Whole training runs on the tiny encoder: they learn, resume, and refuse what they must."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from emlb.evaluation.pipeline_scores import ScoredCorpus, extract, score_corpus
from emlb.model.pretrained import TrainedModel
from emlb.training.train import train
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.records import Document
from tests.tiny import RELATIONS, TYPES, TinyRun, write_brat, write_config


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def history(folder: Path) -> list[dict[str, float]]:
    """What the trainer logged, from the last checkpoint of a run."""
    checkpoints = sorted(
        (folder / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name[11:])
    )
    logged: list[dict[str, float]] = read(checkpoints[-1] / "trainer_state.json")["log_history"]
    return logged


@pytest.fixture
def config(tmp_path: Path, tiny_encoder: Path, tiny_data: Path) -> Path:
    """The tiny run's configuration with an output folder of the test's own."""
    return write_config(
        tmp_path / "tiny.toml", encoder=tiny_encoder, data=tiny_data, output=tmp_path / "runs"
    )


def test_the_loss_falls(tiny_run: TinyRun) -> None:
    losses = [entry["loss"] for entry in history(tiny_run.folder) if "loss" in entry]
    assert len(losses) > 10
    assert losses[-1] < 0.02 * losses[0]


@pytest.mark.parametrize("batch", [1, 8])
def test_the_notes_are_learned_by_heart(tiny_run: TinyRun, batch: int) -> None:
    trained = TrainedModel.load(tiny_run.model)
    corpus = ScoredCorpus("notes", "notes", tiny_run.documents, {*TYPES, *RELATIONS})
    pipeline = trained.pipeline(batch=batch)
    scores = score_corpus(
        corpus,
        extract(pipeline, corpus),
        predicted_on_gold=extract(pipeline, corpus, gold_mentions=True),
    )
    n_entities = sum(len(document.entities) for document in tiny_run.documents)
    n_relations = sum(len(document.relations) for document in tiny_run.documents)
    for agreement, n_gold in (
        (scores.entities, n_entities),
        (scores.relations, n_relations),
        (scores.relations_on_gold, n_relations),
    ):
        assert agreement is not None
        assert agreement.strict.micro.gold == n_gold > 0
        assert agreement.strict.micro.f1 == 1.0


def test_what_a_run_leaves(tiny_run: TinyRun) -> None:
    assert {path.name for path in tiny_run.folder.iterdir()} == {
        "checkpoints", "config.json", "model", "run.json", "splits.json",
    }  # fmt: skip
    assert not [path for path in tiny_run.model.iterdir() if path.suffix in (".bin", ".pt", ".pth")]
    run = read(tiny_run.folder / "run.json")
    assert run["config"] == read(tiny_run.folder / "config.json")
    assert run["development"] == {
        "notes_entities": 1.0,
        "notes_relations": 1.0,
        "notes_relation_recall": 1.0,
        "score": 1.0,
    }
    assert (run["windows"], run["steps"], run["unused"]) == (90, 120, {"notes": {}})
    names = sorted(document.note.name for document in tiny_run.documents)
    splits = read(tiny_run.folder / "splits.json")["notes"]
    assert (splits["train"], splits["dev"], splits["test"]) == (names, names, [])


def test_the_task_comes_from_the_corpus(tiny_run: TinyRun) -> None:
    (task,) = TrainedModel.load(tiny_run.model).model.config.task_list
    assert (task.entity_types, task.relation_types) == (TYPES, RELATIONS)
    assert set(task.signatures) == {
        ("ADE-Drug", "Disorder", "Drug"), ("Treats", "Drug", "Disorder"),
    }  # fmt: skip
    assert task.thresholds is not None and set(task.thresholds) == set(RELATIONS)


def test_the_user_is_told_counts_and_no_text(tiny_run: TinyRun) -> None:
    assert "notes: 8 training, 8 development, 0 test documents" in tiny_run.said
    assert "90 windows; tasks: notes" in tiny_run.said
    words = {word for d in tiny_run.documents for word in re.findall(r"[a-z]{6,}", d.note.text)}
    said = " ".join(tiny_run.said)
    assert not [word for word in words if re.search(rf"\b{word}\b", said)]


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def kill_after(monkeypatch: pytest.MonkeyPatch, checkpoints: int) -> Callable[[], None]:
    """End training after so many checkpoints; returns what lifts that again."""
    original, written = Trainer._save_checkpoint, 0

    def save_and_die(self: Trainer, *args: Any, **kwargs: Any) -> None:
        nonlocal written
        original(self, *args, **kwargs)
        written += 1
        if written == checkpoints:
            raise Killed

    monkeypatch.setattr(Trainer, "_save_checkpoint", save_and_die)
    return lambda: monkeypatch.setattr(Trainer, "_save_checkpoint", original)


def test_an_earlier_runs_precision_does_not_stay(
    config: Path, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # what a run in bf16 leaves
    folder = train(config)
    weights = load_file(folder / "model" / "model.safetensors")
    for name, values in load_file(tiny_run.model / "model.safetensors").items():
        torch.testing.assert_close(weights[name], values, atol=1e-5, rtol=1e-4, msg=name)


def test_a_checkpoint_that_was_cut_off_is_passed_over(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revive = kill_after(monkeypatch, 2)
    with pytest.raises(Killed):
        train(config)
    revive()
    (last,) = (config.parent / "runs").glob("*/checkpoints/checkpoint-24")
    (last / "trainer_state.json").write_text('{"epoch": 2', encoding="utf-8")
    said: list[str] = []
    train(config, overrides=[], say=said.append)
    assert any(line.startswith("going on from") and line.endswith("-12") for line in said)


@pytest.mark.parametrize("checkpoints", [1, 10])
def test_a_killed_run_goes_on_to_the_same_end(
    config: Path, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch, checkpoints: int
) -> None:
    revive = kill_after(monkeypatch, checkpoints)
    with pytest.raises(Killed):
        train(config)
    folder = config.parent / "runs" / "tiny"
    assert not (folder / "run.json").exists() and not (folder / "model").exists()
    revive()
    said: list[str] = []
    assert train(config, say=said.append) == folder
    assert any(
        line.startswith("going on from ") and line.endswith(f"checkpoint-{12 * checkpoints}")
        for line in said
    )
    assert len([line for line in said if "score" in line]) == 10 - checkpoints + 1
    assert read(folder / "run.json")["steps"] == 120
    assert len([entry for entry in history(folder) if "eval_score" in entry]) == 10
    if torch.cuda.is_available():
        return  # sums on a GPU are not repeatable to the last bit
    for weights in ("checkpoints/checkpoint-120/model.safetensors", "model/model.safetensors"):
        unbroken = load_file(tiny_run.folder / weights)
        for name, values in load_file(folder / weights).items():
            torch.testing.assert_close(values, unbroken[name], atol=1e-5, rtol=1e-4, msg=name)


def test_other_settings_do_not_go_on_with_a_killed_run(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        train(config)
    with pytest.raises(ConfigError, match="holds a run with other settings; choose another name"):
        train(config, overrides=["training.batch_size=4"])
    kill_after(monkeypatch, 1)
    with pytest.raises(Killed):  # it began: that was asked for
        train(config, overrides=["training.batch_size=4"], fresh=True)
    assert history(config.parent / "runs" / "tiny")[-1]["step"] == 23  # of 90 windows by four


def test_a_finished_run_is_not_touched(tiny_run: TinyRun) -> None:
    before = (tiny_run.model / "model.safetensors").read_bytes()
    with pytest.raises(
        ConfigError, match="holds a finished run; choose another name or use --fresh"
    ):
        train(tiny_run.config)
    assert (tiny_run.model / "model.safetensors").read_bytes() == before


def test_fresh_begins_anew(config: Path) -> None:
    short = ["training.epochs=1"]
    folder = train(config, overrides=short)
    (folder / "model" / "stray").touch()
    said: list[str] = []
    assert train(config, overrides=short, fresh=True, say=said.append) == folder
    assert not (folder / "model" / "stray").exists()
    assert not any(line.startswith("going on") for line in said)


def test_training_stops_when_nothing_gets_better(config: Path) -> None:
    folder = train(config, overrides=["training.patience=2"])
    assert 40 < read(folder / "run.json")["steps"] < 120
    assert read(folder / "run.json")["development"]["score"] == 1.0


def test_two_tasks_from_two_formats(
    tmp_path: Path, config: Path, tiny_documents: tuple[Document, ...]
) -> None:
    """A mixture file with partial annotation, packed, beside a brat folder that is divided."""
    mixture = tmp_path / "mixture.jsonl"
    lines = [
        {
            "corpus": "half",
            "doc": document.note.name,
            "text": document.note.text,
            "entities": [[e.type, [list(span) for span in e.spans]] for e in document.entities],
            "relations": [],
        }
        for document in tiny_documents
    ]
    mixture.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    write_brat(tiny_documents, tmp_path / "brat")
    corpora = """corpus=[
        {name="half", task="drugs", format="mixture", train="mixture.jsonl",
         dev="mixture.jsonl", full=["Drug"], pack=true, repeat=2, dev_limit=3},
        {name="whole", task="notes", train="brat", split={folds=4, test=0, dev=1}, tune=false},
    ]"""
    said: list[str] = []
    folder = train(
        config,
        overrides=[
            f"data={tmp_path}",
            'task=[{name="drugs"}, {name="notes", min_signature=1}]',
            corpora.replace("\n", " "),
            "training.epochs=2",
            "training.precision=auto",
            "training.gradient_accumulation=2",
            "training.predicted_from=0.0",
        ],
        say=said.append,
    )
    drugs, notes = TrainedModel.load(folder / "model").model.config.task_list
    assert (drugs.name, drugs.relation_types) == ("drugs", ())
    assert (notes.name, notes.entity_types) == ("notes", TYPES)
    parts = read(folder / "splits.json")
    assert {part: len(names) for part, names in parts["whole"].items()} == {
        "train": 4, "dev": 2, "test": 2,
    }  # fmt: skip
    assert set(read(folder / "run.json")["development"]) == {
        "half_entities", "half_relations", "half_relation_recall",
        "whole_entities", "whole_relations", "whole_relation_recall", "score",
    }  # fmt: skip


def test_what_is_not_used_is_told_and_kept(config: Path, tmp_path: Path) -> None:
    text, annotations = "dry or itchy skin", "T1\tDisorder 0 3;7 12\tdry itchy\nT2\tX 7 12\titch\n"
    data = tmp_path / "gaps"
    data.mkdir()
    (data / "a.txt").write_text(text, encoding="utf-8")
    (data / "a.ann").write_text(annotations, encoding="utf-8")
    said: list[str] = []
    folder = train(
        config,
        overrides=[
            f"data={tmp_path}",
            'corpus=[{name="gaps", train="gaps", dev="gaps", repeat=2}]',
            "training.epochs=1",
        ],
        say=said.append,
    )
    unused = read(folder / "run.json")["unused"]["gaps"]
    assert unused["discontinuous mention"] == 1  # once, though the note is seen twice
    assert "  not used: 1 × discontinuous mention" in said
    assert len(unused) == 2 and not any("itch" in line for line in said)


def test_data_that_is_not_there(config: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        train(config, overrides=[f"data={tmp_path}"])
    missing = 'corpus=[{name="n", train="notes", split={test=9, folds=3}}]'
    with pytest.raises(DataError, match="corpus n: fold 9 of 3 does not exist"):
        train(config, overrides=[missing, "name=other"])
