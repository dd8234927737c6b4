"""Scores and thresholds on the development documents, through the deployed decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from emlb.data.corpora import Corpus, load_corpus
from emlb.evaluation import Scores
from emlb.evaluation.calibration.fit import as_reported, tune, untuned
from emlb.evaluation.pipeline_scores import ScoredCorpus, extract, score_corpus
from emlb.examples.coverage import Coverage
from emlb.model.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, make_pipeline
from emlb_runtime.schema.task import Task

from .config import Learned, RunConfig
from .measures import Measures, logged, measure, render

ENOUGH = 50
"""Annotations of a kind from which a corpus counts fully for the score that checkpoints are chosen
by. Of one or two relations, each moves the F1 by half of it."""

_Part = tuple[float, float]
"""F1 and its weight."""


@dataclass(frozen=True)
class Development:
    """Scores on the development documents, with thresholds chosen there.

    Attributes:
        metrics: strict micro F1 per corpus, and ``score``, the mean over corpora of the mean
            of entity, relation and attribute F1, each where it is annotated in full.
        tasks: the tasks with thresholds and calibration.
        measures: per corpus, those of the protocol ``paper``.
    """

    metrics: dict[str, float]
    tasks: tuple[Task, ...]
    measures: dict[str, Measures] = field(default_factory=dict)

    @property
    def logged(self) -> dict[str, float]:
        """The metrics, and the measures under names like theirs."""
        return logged(self.measures) | self.metrics

    def table(self) -> str:
        """The score and the measures in percent, for the user."""
        return render(self.measures, self.metrics["score"])


def as_scored(corpus: Corpus, task: Task) -> ScoredCorpus:
    """A corpus's development documents, for the task that it teaches."""
    coverage = Coverage.of(task, corpus.config.full, corpus.config.part)
    return ScoredCorpus(
        name=corpus.config.name,
        task=task.name,
        documents=corpus.split.dev,
        types=coverage.annotated,
        full=coverage.full,
        tune=corpus.config.tune,
        calibrate=corpus.config.calibrate,
        marked=coverage.marked,
    )


def read_development(config: RunConfig, tasks: Sequence[Task]) -> list[ScoredCorpus]:
    """The development documents of a run's corpora, read again.

    Raises:
        DataError: if a corpus cannot be read.
    """
    by_name = {task.name: task for task in tasks}
    return [
        as_scored(load_corpus(corpus, Path(config.data)), by_name[corpus.task or tasks[0].name])
        for corpus in config.corpus
    ]


def score_development(
    model: EmlbModel,
    tokenizer: LoadedTokenizer,
    tasks: Sequence[Task],
    scored: Sequence[ScoredCorpus],
    *,
    learned: Learned = "both",
    autocast: torch.dtype | None = None,
) -> Development:
    """Extract the development documents once, calibrate, choose thresholds, score.

    Args:
        model: as it is now.
        tokenizer: its tokenizer.
        tasks: its tasks.
        scored: the corpora's development documents.
        learned: of a model that learns one of the two, only that is scored: the entities,
            or the relations between the annotated mentions.
        autocast: encode in this type; None is single precision.
    """
    shown = [untuned(task) for task in tasks]
    if learned == "entities":
        shown = [replace(task, signatures=()) for task in shown]  # no pairs to score
    pipeline = make_pipeline(model, tokenizer, tasks=shown, batch=16, autocast=autocast)
    on_gold = learned == "relations"
    found = [extract(pipeline, corpus, gold_mentions=on_gold) for corpus in scored]
    tuned: dict[str, Task] = {}
    for task in tasks:
        mine = [i for i, corpus in enumerate(scored) if corpus.task == task.name]
        # Annotated mentions are certain: nothing is learned there of what mentions are worth.
        tuned[task.name] = tune(
            task, [scored[i] for i in mine], [found[i] for i in mine], calibrated=not on_gold
        )
    metrics: dict[str, float] = {}
    measures: dict[str, Measures] = {}
    parts: list[_Part] = []
    for corpus, documents in zip(scored, found, strict=True):
        task = tuned[corpus.task]
        reported = [as_reported(d, task) for d in documents]
        scores = score_corpus(corpus, reported)
        measures[corpus.name] = measure(corpus, reported, learned)
        metrics |= _flat(corpus.name, scores, learned)
        if scores.attributes is not None:
            said = scores.attributes.found.micro
            rates = {"precision": said.precision, "recall": said.recall, "f1": said.f1}
            measures[corpus.name]["attributes"] = rates
            metrics[f"{corpus.name}_attributes"] = said.f1
        parts += _part(corpus, scores, learned)
    weight = sum(weight for _, weight in parts)
    metrics["score"] = sum(f1 * weight for f1, weight in parts) / weight if weight else 0.0
    return Development(metrics, tuple(tuned.values()), measures)


def _part(corpus: ScoredCorpus, scores: Scores, learned: Learned) -> list[_Part]:
    """What a corpus adds to the mean: F1 of what is learned, where it annotates that in full.

    Else what is found beyond the annotations would count against the model. Entities, relations
    and attributes (end to end) share a corpus's weight evenly, as far as it has them; each has
    less with fewer than ``ENOUGH`` annotations.
    """
    entities = {entity.type for document in corpus.documents for entity in document.entities}
    relations = {relation.type for document in corpus.documents for relation in document.relations}
    counted = []
    if learned != "relations" and entities & {*corpus.complete}:
        counted.append(scores.entities.strict.micro)
    if learned != "entities" and relations & {*corpus.complete}:
        counted.append(scores.relations.strict.micro)
    if scores.attributes is not None and scores.attributes.found.micro.gold:
        counted.append(scores.attributes.found.micro)
    return [(micro.f1, min(1.0, micro.gold / ENOUGH) / len(counted)) for micro in counted]


def _flat(name: str, scores: Scores, learned: Learned) -> dict[str, float]:
    entities, relations = scores.entities.strict.micro, scores.relations.strict.micro
    if learned == "entities":
        return {f"{name}_entities": entities.f1}
    if learned == "relations":
        return {
            f"{name}_relations_on_gold": relations.f1,
            f"{name}_relation_recall_on_gold": relations.recall,
        }
    return {
        f"{name}_entities": entities.f1,
        f"{name}_relations": relations.f1,
        f"{name}_relation_recall": relations.recall,
    }
