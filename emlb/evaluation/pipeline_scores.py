"""Scoring a pipeline on annotated documents, and choosing thresholds there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document, Entity, Relation
from emlb_runtime.schema.task import Task

from .calibration.thresholds import Evidence, balanced_thresholds
from .scoring.attributes import Marked
from .scoring.counts import Scores
from .scoring.scores import score


@dataclass(frozen=True)
class ScoredCorpus:
    """Annotated documents of one corpus and how to score on them.

    Attributes:
        name: of the corpus.
        task: whose output is scored.
        documents: with annotations.
        types: entity and relation types that the corpus annotates.
        full: those of which it annotates every occurrence; None is all of them.
        tune: whether thresholds and calibration may be chosen on it.
        calibrate: whether the calibration may, if thresholds are.
        marked: attribute, entity type and value, of those that it marks wherever they occur; empty
            scores no attributes.
    """

    name: str
    task: str
    documents: tuple[Document, ...]
    types: Collection[str]
    full: Collection[str] | None = None
    tune: bool = True
    calibrate: bool = True
    marked: frozenset[Marked] = frozenset()

    @property
    def complete(self) -> Collection[str]:
        """The types of which every occurrence is annotated: what else is found is wrong."""
        return self.types if self.full is None else self.full


def extract(
    pipeline: Pipeline,
    corpus: ScoredCorpus,
    *,
    gold_mentions: bool = False,
    executor: Executor | None = None,
) -> list[Document]:
    """What the pipeline finds, of the corpus's task alone.

    Args:
        pipeline: any backend.
        corpus: the documents.
        gold_mentions: relate the annotated mentions instead of the pipeline's own.
        executor: threads to run the network on.
    """
    notes = [document.note for document in corpus.documents]
    given = {d.note.name: d.entities for d in corpus.documents} if gold_mentions else None
    return [
        _of_task(found, corpus.task)
        for found in pipeline.run(notes, given=given, executor=executor)
    ]


def _of_task(document: Document, task: str) -> Document:
    return replace(
        document,
        entities=tuple(entity for entity in document.entities if entity.task == task),
        relations=tuple(relation for relation in document.relations if relation.task == task),
    )


def score_corpus(
    corpus: ScoredCorpus,
    predicted: Sequence[Document],
    *,
    predicted_on_gold: Sequence[Document] | None = None,
    documents: Sequence[Document] | None = None,
) -> Scores:
    """Scores over the types that the corpus annotates."""
    return score(
        documents or corpus.documents,
        predicted,
        predicted_on_gold=predicted_on_gold,
        entity_types=corpus.types,
        relation_types=corpus.types,
        marked=corpus.marked,
    )


def apply_thresholds(document: Document, task: Task) -> Document:
    """The document with the relations that the runtime would report: those that reach the
    task's threshold (0.5 where it has none), of each pair only the likeliest if it is greedy.
    """
    thresholds = task.thresholds or {}
    kept = [r for r in document.relations if r.score >= thresholds.get(r.type, 0.5)]
    if task.selection == "greedy":
        best: dict[tuple[str, str], Relation] = {}
        for relation in kept:
            rival = best.setdefault((relation.head, relation.tail), relation)
            if relation.score > rival.score:
                best[relation.head, relation.tail] = relation
        kept = list(best.values())
    return replace(document, relations=tuple(kept))


RelationKey = tuple[object, ...]


def relation_key(relation: Relation, entities: Mapping[str, Entity]) -> RelationKey:
    """What makes two relations the same under strict matching."""
    head, tail = entities[relation.head], entities[relation.tail]
    return (relation.type, head.type, head.spans, tail.type, tail.spans)


def choose_thresholds(
    corpora: Sequence[ScoredCorpus], predicted: Sequence[Sequence[Document]]
) -> dict[str, float]:
    """The threshold per relation type with the best strict F1, as a mean over the corpora.

    A type counts where it is annotated in full, if any corpus does that: elsewhere what is
    right and not annotated would push its threshold up.

    Args:
        corpora: of one task; those with ``tune`` count.
        predicted: per corpus, documents with every relation that can be a candidate.
    """
    evidence: list[Evidence] = []
    complete = {type for corpus in corpora if corpus.tune for type in corpus.complete}
    for corpus, documents in zip(corpora, predicted, strict=True):
        if not corpus.tune:
            continue
        counted = {t for t in corpus.types if t in corpus.complete or t not in complete}
        candidates: list[tuple[str, float, bool]] = []
        gold: Counter[str] = Counter()
        for annotated, found in zip(corpus.documents, documents, strict=True):
            entities = {entity.id: entity for entity in annotated.entities}
            right = {relation_key(r, entities) for r in annotated.relations}
            gold.update(str(key[0]) for key in right if key[0] in counted)
            mentions = {entity.id: entity for entity in found.entities}
            candidates += [
                (relation.type, relation.score, relation_key(relation, mentions) in right)
                for relation in found.relations
                if relation.type in counted
            ]
        evidence.append(Evidence(candidates, gold))
    return balanced_thresholds(evidence)
