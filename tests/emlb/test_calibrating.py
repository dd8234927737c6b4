"""Fitting calibration and thresholds on development documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from emlb.evaluation.calibration.fit import (
    MINIMUM,
    apply_calibration,
    fit_calibration,
    tune,
    untuned,
)
from emlb.evaluation.calibration.measure import Measured, measure_calibration
from emlb.evaluation.pipeline_scores import (
    ScoredCorpus,
    apply_thresholds,
    choose_thresholds,
    score_corpus,
)
from emlb.model.pretrained import TrainedModel, make_pipeline
from emlb.training.development import ENOUGH, score_development
from emlb_runtime.decoding.note_decoder import Candidates, Mention, choose
from emlb_runtime.records import Document, Entity, Note, Relation
from emlb_runtime.schema.calibration import FLOOR, Calibration, log_odds
from emlb_runtime.schema.task import Task
from tests.tiny import RELATIONS, TYPES, TinyRun

TASK = Task("t", ("A", "B"), ("R",), (("R", "A", "B"),))
TRUTH = Calibration(0.7, {"A": -0.5, "B": 0.3}, (0.5, 0.8, 0.4), {"R": -1.0})


def draw(n: int, *, seed: int = 0, truth: Calibration = TRUTH) -> tuple[list[Document], ...]:
    """Annotated documents of a pair each, and what a model found, right as often as a calibration
    says: the triple more rarely than its mentions.
    """
    rng = np.random.default_rng(seed)
    gold, found = [], []
    for number in range(n):
        note = Note(f"n{number}", "head tail")
        head, relation, tail = rng.beta(4, 1, size=3)
        mentions = (
            Entity("T1", "A", 0, 4, "head", score=head),
            Entity("T2", "B", 5, 9, "tail", score=tail),
        )
        found.append(Document(note, mentions, (Relation("R", "T1", "T2", score=relation),)))
        triple = truth.triple_scores(["R"], [head], np.array([[relation]]), [tail])[0, 0]
        is_right = rng.random() < triple
        kept = [
            mention
            for mention in mentions
            if is_right or rng.random() < truth.entity_score(mention.type, mention.score)
        ]
        gold.append(Document(note, tuple(kept), found[-1].relations if is_right else ()))
    return gold, found


def corpus(documents: Sequence[Document], **values: object) -> ScoredCorpus:
    return replace(ScoredCorpus("c", "t", tuple(documents), {"A", "B", "R"}), **values)  # type: ignore[arg-type]


def test_the_true_parameters_are_found() -> None:
    gold, found = draw(20_000)
    fitted = fit_calibration(TASK, [corpus(gold)], [found])
    assert fitted is not None
    np.testing.assert_allclose(fitted.triple_slopes, TRUTH.triple_slopes, atol=0.06)
    assert fitted.triple_offsets["R"] == pytest.approx(TRUTH.triple_offsets["R"], abs=0.1)


def test_scores_become_probabilities_on_other_documents() -> None:
    gold, found = draw(3000)
    task = tune(TASK, [corpus(gold)], [found])
    others, theirs = draw(3000, seed=1)
    before = measure_calibration(Measured(others, theirs, None))
    calibrated = [apply_calibration(document, task) for document in theirs]
    after = measure_calibration(Measured(others, calibrated, None))
    for section in ("entities", "relations"):
        assert after[section].error < 0.03 < before[section].error


def test_a_score_that_misleads_counts_for_nothing() -> None:
    gold, found = draw(4000)
    turned = [
        replace(d, entities=(replace(d.entities[0], score=1 - d.entities[0].score), d.entities[1]))
        for d in found
    ]
    fitted = fit_calibration(TASK, [corpus(gold)], [turned])
    assert fitted is not None and fitted.triple_slopes[0] == 0.0
    assert min(fitted.triple_slopes[1:]) > 0.3


def test_corpora_that_do_not_count() -> None:
    gold, found = draw(400)
    empty = [replace(document, entities=(), relations=()) for document in gold]
    own = fit_calibration(TASK, [corpus(gold)], [found])
    noisy = corpus(empty, name="noisy", tune=False)
    assert fit_calibration(TASK, [corpus(gold), noisy], [found, found]) == own
    by_rules = corpus(empty, name="by rules", calibrate=False)
    assert fit_calibration(TASK, [corpus(gold), by_rules], [found, found]) == own
    both, alone = (
        tune(TASK, c, [found] * len(c)) for c in ([corpus(gold), by_rules], [corpus(gold)])
    )
    assert both.calibration == alone.calibration and both.thresholds != alone.thresholds
    # What a corpus annotates in part is not wrong where it lacks an annotation.
    partial = corpus(empty, name="partial", full={"B"})
    fitted = fit_calibration(TASK, [corpus(gold), partial], [found, found])
    assert own is not None and fitted is not None
    assert (fitted.triple_slopes, fitted.triple_offsets) == (own.triple_slopes, own.triple_offsets)
    assert fitted.entity_offsets["B"] < own.entity_offsets["B"] - 0.3


def test_triples_of_a_small_corpus_count_as_much() -> None:
    gold, found = draw(4000)
    few, theirs = draw(400, seed=1, truth=replace(TRUTH, triple_offsets={"R": 1.0}))
    fitted = fit_calibration(TASK, [corpus(gold), corpus(few)], [found, theirs])
    same = fit_calibration(TASK, [corpus([*gold, *few * 10])], [[*found, *theirs * 10]])
    alone = fit_calibration(TASK, [corpus(gold)], [found])
    assert fitted is not None and same is not None and alone is not None
    np.testing.assert_allclose(fitted.triple_slopes, same.triple_slopes, atol=0.02)
    assert fitted.triple_offsets["R"] == pytest.approx(same.triple_offsets["R"], abs=0.02)
    assert fitted.triple_offsets["R"] - alone.triple_offsets["R"] > 0.5


def test_too_few_to_learn_from() -> None:
    gold, found = draw(MINIMUM // 2)
    assert fit_calibration(TASK, [corpus(gold)], [found]) is None
    gold, found = draw(300)
    loose = [replace(document, relations=()) for document in found]
    fitted = fit_calibration(TASK, [corpus(gold)], [loose])
    assert fitted is not None
    assert (fitted.triple_slopes, fitted.triple_offsets) == ((0.0, 1.0, 0.0), {"R": 0.0})


def level(documents: Sequence[Document], gold: Sequence[Document]) -> list[Document]:
    """With scores that tell right from wrong and hardly differ: of a model that begins to learn."""

    def score(right: bool) -> float:
        return 0.019 if right else 0.018

    flat = []
    for document, annotated in zip(documents, gold, strict=True):
        right = {entity.id for entity in annotated.entities}
        entities = tuple(replace(e, score=score(e.id in right)) for e in document.entities)
        (relation,) = document.relations
        relation = replace(relation, score=score(bool(annotated.relations)))
        flat.append(replace(document, entities=entities, relations=(relation,)))
    return flat


def test_probabilities_that_hardly_differ_stay_as_they_are() -> None:
    gold, found = draw(2000)
    flat = level(found, gold)
    assert fit_calibration(TASK, [corpus(gold)], [flat]) is None
    triples = [
        replace(own, entities=other.entities) for own, other in zip(flat, found, strict=True)
    ]
    fitted = fit_calibration(TASK, [corpus(gold)], [triples])
    assert fitted is not None and fitted.entity_slope > 0.3
    assert (fitted.triple_slopes, fitted.triple_offsets) == ((0.0, 1.0, 0.0), {"R": 0.0})


def test_thresholds_are_those_of_scores() -> None:
    gold, found = draw(800)
    task = tune(TASK, [corpus(gold)], [found])
    assert task.thresholds is not None
    scores = [apply_calibration(document, task).relations[0].score for document in found]
    right = np.array([bool(document.relations) for document in gold])

    def f1(threshold: float) -> float:
        chosen = np.array(scores) >= threshold
        return float(2 * (chosen & right).sum() / (chosen.sum() + right.sum()))

    assert f1(task.thresholds["R"]) == max(map(f1, scores))
    plain = tune(TASK, [corpus(gold)], [found], calibrated=False)
    assert plain.calibration is None and plain.thresholds != task.thresholds


def test_untuned_holds_nothing_back() -> None:
    tuned = replace(TASK, thresholds={"R": 0.9}, calibration=TRUTH, selection="greedy")
    assert untuned(tuned) == replace(TASK, thresholds={"R": FLOOR})


@pytest.mark.parametrize("selection", ["threshold", "greedy"])
def test_what_is_scored_is_what_the_runtime_reports(selection: str) -> None:
    """Calibration may turn round which relation of a pair is the likeliest."""
    relations = ("Q", "R", "S")
    calibration = Calibration(
        0.7, {"A": -0.5, "B": 0.3}, (0.5, 0.1, 0.4), {"Q": 0.5, "R": -1.0, "S": 0.4}
    )
    task = Task("t", ("A", "B"), relations, tuple((r, "A", "B") for r in relations))
    deployed = replace(
        task,
        calibration=calibration,
        thresholds={"Q": 0.8, "R": 0.55, "S": 0.6},
        selection=selection,
    )
    rng = np.random.default_rng(5)
    reported = 0
    for _ in range(200):
        mentions = [Mention(0, 1, 0, rng.beta(3, 1)), Mention(1, 2, 1, rng.beta(3, 1))]
        candidates = Candidates(mentions, np.array([[0, 1]]))
        logits = rng.normal(-2, 3, (1, 3))
        note = Note("n", "head tail")
        entities = (
            Entity("T1", "A", 0, 4, "head", score=mentions[0].score),
            Entity("T2", "B", 5, 9, "tail", score=mentions[1].score),
        )
        found = Document(
            note,
            entities,
            tuple(
                Relation(relations[type], "T1", "T2", score=score)
                for _, type, score in choose(untuned(deployed), candidates, logits)
            ),
        )
        scored = apply_thresholds(apply_calibration(found, deployed), deployed).relations
        expected = choose(deployed, candidates, logits)
        assert [r.type for r in scored] == [relations[type] for _, type, _ in expected]
        assert [r.score for r in scored] == pytest.approx([score for _, _, score in expected])
        reported += len(expected)
    assert 50 < reported


def test_applied_as_the_runtime_would() -> None:
    task = replace(TASK, calibration=TRUTH)
    _, (document, *_) = draw(1)
    applied = apply_calibration(document, task)
    for before, after in zip(document.entities, applied.entities, strict=True):
        assert after.score == TRUTH.entity_score(before.type, before.score)
    head, tail = (log_odds(entity.score) for entity in document.entities)
    odds = 0.5 * head + 0.8 * log_odds(document.relations[0].score) + 0.4 * tail - 1.0
    assert log_odds(applied.relations[0].score) == pytest.approx(float(odds))
    assert apply_calibration(document, TASK) is document


@pytest.mark.parametrize("selection", ["threshold", "greedy"])
def test_development_scores_are_deployed_scores(
    tiny_run: TinyRun, selection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emlb.evaluation.calibration.fit.MINIMUM", 1)
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    # Some annotations are taken away, or the tiny model would be right in all it says.
    documents = tuple(
        replace(document, relations=document.relations[1:])
        if number % 2
        else replace(document, relations=(), entities=document.entities[:1])
        for number, document in enumerate(tiny_run.documents)
    )
    notes = ScoredCorpus("notes", task.name, documents, {*TYPES, *RELATIONS})
    tasks = [replace(task, selection=selection)]
    development = score_development(trained.model, trained.tokenizer, tasks, [notes])
    (tuned,) = development.tasks
    assert tuned.calibration is not None and tuned.calibration.triple_slopes != (0.0, 1.0, 0.0)
    assert tuned.selection == selection
    pipeline = make_pipeline(trained.model, trained.tokenizer, tasks=[tuned], batch=16)
    found = pipeline.run([document.note for document in documents])
    scores = score_corpus(notes, found)
    assert development.metrics["notes_entities"] == scores.entities.strict.micro.f1 < 1.0
    assert development.metrics["notes_relations"] == scores.relations.strict.micro.f1 > 0.0


def test_thresholds_look_where_a_type_is_annotated_in_full() -> None:
    gold, found = draw(400)
    empty = [replace(document, entities=(), relations=()) for document in gold]
    partial = corpus(empty, name="partial", full={"A", "B"})
    whole = corpus(gold)
    own = choose_thresholds([whole], [found])
    assert choose_thresholds([whole, partial], [found, found]) == own
    alone = choose_thresholds([corpus(gold, full={"A", "B"})], [found])
    assert alone == own  # in part is better than not at all
    assert choose_thresholds([whole, corpus(empty)], [found, found]) != own


def test_a_handful_of_annotations_weighs_little_in_the_score(tiny_run: TinyRun) -> None:
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    notes = ScoredCorpus("notes", task.name, tuple(tiny_run.documents), {*TYPES, *RELATIONS})
    wrong = [replace(entity, type="Disorder") for entity in tiny_run.documents[0].entities]
    one = replace(tiny_run.documents[0], entities=tuple(wrong[:1]), relations=())
    few = ScoredCorpus("few", task.name, (one,), {*TYPES, *RELATIONS})
    metrics = score_development(trained.model, trained.tokenizer, [task], [notes, few]).metrics
    n_entities = sum(len(d.entities) for d in notes.documents)
    n_relations = sum(len(d.relations) for d in notes.documents)
    weights = [min(1.0, n_entities / ENOUGH) / 2, min(1.0, n_relations / ENOUGH) / 2, 1 / ENOUGH]
    f1 = [metrics[name] for name in ("notes_entities", "notes_relations", "few_entities")]
    assert f1[2] < 0.5
    assert metrics["score"] == pytest.approx(np.average(f1, weights=weights))
