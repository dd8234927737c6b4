"""Scores and thresholds on the development documents, through the deployed decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emlb.evaluation import Scores
from emlb.evaluation.deployed import (
    FLOOR,
    ScoredCorpus,
    apply_thresholds,
    choose_thresholds,
    extract,
    score_corpus,
)
from emlb.model.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, make_pipeline
from emlb_runtime.schema import Task


@dataclass(frozen=True)
class Development:
    """Scores on the development documents, with thresholds chosen there.

    Attributes:
        metrics: strict micro F1 per corpus, and ``score``, the mean over corpora of the mean
            of entity and relation F1.
        thresholds: per task and relation type.
    """

    metrics: dict[str, float]
    thresholds: dict[str, dict[str, float]]

    def line(self) -> str:
        """The metrics in percent, for the user."""
        return "  ".join(f"{name} {100 * value:.1f}" for name, value in self.metrics.items())


def score_development(
    model: EmlbModel,
    tokenizer: LoadedTokenizer,
    tasks: Sequence[Task],
    scored: Sequence[ScoredCorpus],
    *,
    autocast: bool = False,
) -> Development:
    """Extract the development documents once, choose thresholds, score.

    Args:
        model: as it is now.
        tokenizer: its tokenizer.
        tasks: its tasks.
        scored: the corpora's development documents.
        autocast: encode in bfloat16.
    """
    floor = [replace(task, thresholds=dict.fromkeys(task.relation_types, FLOOR)) for task in tasks]
    pipeline = make_pipeline(model, tokenizer, tasks=floor, batch=16, autocast=autocast)
    found = [extract(pipeline, corpus) for corpus in scored]
    thresholds: dict[str, dict[str, float]] = {}
    for task in tasks:
        mine = [i for i, corpus in enumerate(scored) if corpus.task == task.name]
        thresholds[task.name] = choose_thresholds(
            [scored[i] for i in mine], [found[i] for i in mine]
        )
    metrics: dict[str, float] = {}
    parts = []
    for corpus, documents in zip(scored, found, strict=True):
        kept = [apply_thresholds(document, thresholds[corpus.task]) for document in documents]
        scores = score_corpus(corpus, kept)
        metrics |= _flat(corpus.name, scores)
        f1 = [scores.entities.strict.micro.f1]
        if any(document.relations for document in corpus.documents):
            f1.append(scores.relations.strict.micro.f1)
        parts.append(sum(f1) / len(f1))
    metrics["score"] = sum(parts) / len(parts)
    return Development(metrics, thresholds)


def _flat(name: str, scores: Scores) -> dict[str, float]:
    entities, relations = scores.entities.strict.micro, scores.relations.strict.micro
    return {
        f"{name}_entities": entities.f1,
        f"{name}_relations": relations.f1,
        f"{name}_relation_recall": relations.recall,
    }
