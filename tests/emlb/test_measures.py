"""The measures of each epoch: the protocol's own numbers, and their table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from emlb.evaluation.pipeline_scores import ScoredCorpus, score_corpus
from emlb.training.measures import logged, measure, render
from emlb_runtime.records import Document
from tests.tiny import RELATIONS, TYPES, TinyRun, parse_markup

from .test_training import history

GOLD = parse_markup(
    "[Drug:d1 aspirin] and [Drug:d2 warfarin], then [Disorder:e1 gastric bleeding]"
    " and [Disorder:e2 rash]. {ADE-Drug e1 d1} {ADE-Drug e1 d2} {Treats d1 e2}"
)
FOUND = parse_markup(
    "[Drug:d1 aspirin] and [Drug:d2 warfarin], then gastric [Disorder:e1 bleeding]"
    " and [Disorder:e2 rash]. {ADE-Drug e1 d1} {Treats d1 e2}"
)
CORPUS = ScoredCorpus("notes", "notes", (GOLD,), {*TYPES, *RELATIONS})


def test_worked_out_by_hand() -> None:
    found = measure(CORPUS, [FOUND])
    assert found["entities"] == pytest.approx(
        {
            "precision": 3 / 4,
            "recall": 3 / 4,
            "f1": 3 / 4,
            # Disorder: 12 shared of 12 predicted and 20 annotated characters; Drug: all.
            "mdice": (2 * 12 / 32 + 1) / 2,
        }
    )
    assert found["relations"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5})


def test_they_agree_with_the_scores() -> None:
    scores = score_corpus(CORPUS, [FOUND])
    found = measure(CORPUS, [FOUND])
    for section, agreement in (("entities", scores.entities), ("relations", scores.relations)):
        micro = agreement.strict.micro
        assert found[section]["f1"] == pytest.approx(micro.f1)
        assert found[section]["precision"] == pytest.approx(micro.precision)
        assert found[section]["recall"] == pytest.approx(micro.recall)


def test_types_that_the_corpus_does_not_annotate_are_left_out() -> None:
    drugs = replace(CORPUS, types={"Drug"})
    assert measure(drugs, [FOUND])["entities"] == {
        "precision": 1.0, "recall": 1.0, "f1": 1.0, "mdice": 1.0,
    }  # fmt: skip


def test_only_what_is_learned_and_annotated() -> None:
    assert set(measure(CORPUS, [FOUND], "entities")) == {"entities"}
    assert set(measure(CORPUS, [FOUND], "relations")) == {"relations"}
    bare = replace(CORPUS, documents=(replace(GOLD, relations=()),))
    assert set(measure(bare, [FOUND])) == {"entities"}
    assert measure(bare, [FOUND], "relations") == {}


def test_the_table() -> None:
    bare = replace(CORPUS, documents=(replace(GOLD, relations=()),))
    measures = {"notes": measure(CORPUS, [FOUND]), "a longer name": measure(bare, [FOUND])}
    assert render(measures, 0.62).split("\n") == [
        "  score 62.0     entities P     R    F1  mDice  relations P     R    F1",
        "  notes                75.0  75.0  75.0   87.5         50.0  33.3  40.0",
        "  a longer name        75.0  75.0  75.0   87.5            –     –     –",
    ]
    alone = {"notes": measure(CORPUS, [FOUND], "relations")}
    assert render(alone, 0.4).split("\n")[0] == "  score 40.0  relations P     R    F1"
    assert render({}, 0.0) == "  score 0.0"


def test_each_epoch_tells_and_logs_them(
    tiny_run: TinyRun, tiny_documents: tuple[Document, ...]
) -> None:
    tables = [line for line in tiny_run.said if "mDice" in line]
    assert len(tables) == 10 + 1  # and the best model's
    assert tables[-1].split("\n")[1].split() == ["notes", *["100.0"] * 7]
    assert [line for line in tiny_run.said if line.startswith("epoch ")][2] == "epoch 3 of 10"
    last = [entry for entry in history(tiny_run.folder) if "eval_score" in entry][-1]
    names = logged({"notes": measure(CORPUS, [FOUND])})
    assert names.keys() == {
        *(f"notes_entity_{name}" for name in ("precision", "recall", "f1", "mdice")),
        *(f"notes_relation_{name}" for name in ("precision", "recall", "f1")),
    }
    assert all(last[f"eval_{name}"] == 1.0 for name in names)
    run = json.loads((tiny_run.folder / "run.json").read_text(encoding="utf-8"))
    assert run["measures"]["notes"]["entities"]["mdice"] == 1.0
