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
from emlb_runtime.records import Document
from emlb_runtime.schema import Task

from .config import Learned


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
    learned: Learned = "both",
    autocast: bool = False,
) -> Development:
    """Extract the development documents once, choose thresholds, score.

    Args:
        model: as it is now.
        tokenizer: its tokenizer.
        tasks: its tasks.
        scored: the corpora's development documents.
        learned: of a model that learns one of the two, only that is scored: the entities,
            or the relations between the annotated mentions.
        autocast: encode in bfloat16.
    """
    if learned == "entities":
        shown = [replace(task, signatures=()) for task in tasks]  # no pairs to score
    else:
        shown = [replace(t, thresholds=dict.fromkeys(t.relation_types, FLOOR)) for t in tasks]
    pipeline = make_pipeline(model, tokenizer, tasks=shown, batch=16, autocast=autocast)
    on_gold = learned == "relations"
    found = [extract(pipeline, corpus, gold_mentions=on_gold) for corpus in scored]
    thresholds: dict[str, dict[str, float]] = {}
    for task in tasks if learned != "entities" else ():
        mine = [i for i, corpus in enumerate(scored) if corpus.task == task.name]
        thresholds[task.name] = choose_thresholds(
            [scored[i] for i in mine], [found[i] for i in mine]
        )
    metrics: dict[str, float] = {}
    parts: list[float] = []
    for corpus, documents in zip(scored, found, strict=True):
        chosen = thresholds.get(corpus.task, {})
        scores = score_corpus(corpus, [apply_thresholds(d, chosen) for d in documents])
        metrics |= _flat(corpus.name, scores, learned)
        parts += _part(corpus.documents, scores, learned)
    metrics["score"] = sum(parts) / (len(parts) or 1)
    return Development(metrics, thresholds)


def _part(documents: Sequence[Document], scores: Scores, learned: Learned) -> list[float]:
    """What a corpus adds to the mean; nothing if it has nothing of what is learned."""
    f1 = [] if learned == "relations" else [scores.entities.strict.micro.f1]
    if learned != "entities" and any(document.relations for document in documents):
        f1.append(scores.relations.strict.micro.f1)
    return [sum(f1) / len(f1)] if f1 else []


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
