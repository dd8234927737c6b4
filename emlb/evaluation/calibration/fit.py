"""What is chosen on development documents once a model is trained: calibration and thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from emlb.evaluation.pipeline_scores import (
    ScoredCorpus,
    apply_thresholds,
    choose_thresholds,
    relation_key,
)
from emlb_runtime.records import Document, Entity
from emlb_runtime.schema.calibration import (
    FLOOR,
    MAX_PARAMETER,
    MIN_ENTITY_SLOPE,
    Calibration,
    log_odds,
)
from emlb_runtime.schema.task import Task

from .attribute_scaling import fit_attributes, state_attributes

MINIMUM = 20
"""Fewer right or wrong items than this calibrate nothing."""

SLOPE_PENALTY, OFFSET_PENALTY = 0.01, 0.3
"""Ridge penalties. Types have offsets of their own only as far as their items bear them out."""


@dataclass(frozen=True)
class _Items:
    """Predictions of one kind: (N, F) log-odds, and (N,) type indices, whether each is right,
    and how much it counts.
    """

    odds: NDArray[np.float64]
    types: NDArray[np.int64]
    right: NDArray[np.bool_]
    weights: NDArray[np.float64]

    @property
    def suffices(self) -> bool:
        return min(int(self.right.sum()), int((~self.right).sum())) >= MINIMUM


def untuned(task: Task) -> Task:
    """The task as it has to extract for ``tune``: plain probabilities, nothing held back."""
    thresholds = dict.fromkeys(task.relation_types, FLOOR)
    return replace(
        task,
        thresholds=thresholds,
        calibration=None,
        selection="threshold",
        undecided=bool(task.attributes),
    )


def tune(
    task: Task,
    corpora: Sequence[ScoredCorpus],
    predicted: Sequence[Sequence[Document]],
    *,
    calibrated: bool = True,
) -> Task:
    """The task with its calibration fitted, and with the thresholds that are best then.

    Args:
        task: whose types they are.
        corpora: of that task; those with ``tune`` count.
        predicted: per corpus, what the ``untuned`` task extracts.
        calibrated: whether to calibrate.
    """
    calibration = fit_calibration(task, corpora, predicted) if calibrated else None
    nothing = dict.fromkeys(task.relation_types, 0.0)
    tuned = replace(task, calibration=calibration, thresholds=nothing)
    # Of a greedy task, only a pair's likeliest relation is a candidate for a threshold.
    scored = [[as_reported(found, tuned) for found in documents] for documents in predicted]
    return replace(tuned, thresholds=choose_thresholds(corpora, scored))


def fit_calibration(
    task: Task, corpora: Sequence[ScoredCorpus], predicted: Sequence[Sequence[Document]]
) -> Calibration | None:
    """Fit a calibration to predictions whose scores are the network's own.

    A prediction counts where the corpus annotates its type in full: elsewhere one without an
    annotation may be right. The triples of a relation type count as much from one corpus as from
    another, as they do for thresholds: else the corpus with most of them would speak for all,
    whatever kind of notes it has. Entities are many in every corpus, and each counts the same.

    Args:
        task: whose types they are.
        corpora: of that task; those with ``tune`` and ``calibrate`` count.
        predicted: per corpus, what the ``untuned`` task extracts.

    Returns:
        None if there are too few entities to fit to, or their probabilities hardly differ, as
        before a model has learned anything. Where that is so of triples, they keep the
        relation's probability.
    """
    tuned = [
        (corpus, documents)
        for corpus, documents in zip(corpora, predicted, strict=True)
        if corpus.tune and corpus.calibrate
    ]
    entities = _items([row for pair in tuned for row in _entities(task, *pair)], 1)
    by_corpus = [list(_triples(task, *pair)) for pair in tuned]
    triples = _items([row for rows in by_corpus for row in rows], 3, _even_weights(by_corpus))
    of_entities = _fit(entities, len(task.entity_types))
    if of_entities is None:
        return None
    (slope,), entity_offsets = of_entities
    plain = [0.0, 1.0, 0.0], [0.0] * len(task.relation_types)
    slopes, triple_offsets = _fit(triples, len(task.relation_types)) or plain
    return Calibration(
        entity_slope=max(slope, MIN_ENTITY_SLOPE),
        entity_offsets=dict(zip(task.entity_types, entity_offsets, strict=True)),
        triple_slopes=(slopes[0], slopes[1], slopes[2]),
        triple_offsets=dict(zip(task.relation_types, triple_offsets, strict=True)),
        attributes=fit_attributes(task, corpora, predicted),
    )


def apply_calibration(document: Document, task: Task) -> Document:
    """The document of that task with its scores calibrated, as the runtime would have."""
    calibration = task.calibration
    if calibration is None:
        return document
    entities = {entity.id: entity for entity in document.entities}
    relations = []
    for relation in document.relations:
        scores = calibration.triple_scores(
            [relation.type],
            [entities[relation.head].score],
            np.array([[relation.score]]),
            [entities[relation.tail].score],
        )
        relations.append(replace(relation, score=float(scores[0, 0])))
    return replace(
        document,
        entities=tuple(
            replace(entity, score=calibration.entity_score(entity.type, entity.score))
            for entity in document.entities
        ),
        relations=tuple(relations),
    )


def as_reported(document: Document, task: Task) -> Document:
    """What the runtime would report of all that the ``untuned`` task extracts."""
    return state_attributes(apply_thresholds(apply_calibration(document, task), task), task)


_Row = tuple[list[float], int, bool]


def _entities(task: Task, corpus: ScoredCorpus, documents: Sequence[Document]) -> Iterator[_Row]:
    for annotated, found in zip(corpus.documents, documents, strict=True):
        right = {_mention(entity) for entity in annotated.entities}
        for entity in found.entities:
            if entity.type in corpus.complete:
                type = task.entity_types.index(entity.type)
                yield [entity.score], type, _mention(entity) in right


def _triples(task: Task, corpus: ScoredCorpus, documents: Sequence[Document]) -> Iterator[_Row]:
    for annotated, found in zip(corpus.documents, documents, strict=True):
        gold = {entity.id: entity for entity in annotated.entities}
        right = {relation_key(relation, gold) for relation in annotated.relations}
        mentions = {entity.id: entity for entity in found.entities}
        for relation in found.relations:
            if relation.type in corpus.complete:
                head, tail = mentions[relation.head], mentions[relation.tail]
                yield (
                    [head.score, relation.score, tail.score],
                    task.relation_types.index(relation.type),
                    relation_key(relation, mentions) in right,
                )


def _mention(entity: Entity) -> tuple[str, object]:
    return entity.type, entity.spans


def _even_weights(by_corpus: Sequence[Sequence[_Row]]) -> list[float]:
    """The weight of each row: of a type, the same in all from each corpus that has any.

    All rows of a type together weigh as many as they are.
    """
    counts = [Counter(type for _, type, _ in rows) for rows in by_corpus]
    total, sources = sum(counts, Counter()), Counter(type for count in counts for type in count)
    return [
        total[type] / sources[type] / count[type]
        for rows, count in zip(by_corpus, counts, strict=True)
        for _, type, _ in rows
    ]


def _items(rows: Sequence[_Row], n_scores: int, weights: Sequence[float] | None = None) -> _Items:
    scores = np.array([scores for scores, _, _ in rows], dtype=np.float64)
    return _Items(
        log_odds(scores.reshape(-1, n_scores)),
        np.array([type for _, type, _ in rows], dtype=np.int64),
        np.array([right for _, _, right in rows], dtype=np.bool_),
        np.array([1.0] * len(rows) if weights is None else weights, dtype=np.float64),
    )


def _fit(items: _Items, n_types: int) -> tuple[list[float], list[float]] | None:
    """Slopes and offsets per type; a slope that would be negative is zero.

    None if there are too few items, or parameters outgrow what a calibration may have.
    """
    if not items.suffices:
        return None
    use = np.ones(items.odds.shape[1], dtype=bool)
    slopes, offsets = _minimise(items, use, n_types)
    while not (slopes >= 0.0).all():
        use &= slopes >= 0.0
        slopes, offsets = _minimise(items, use, n_types)
    if max(slopes.max(), np.abs(offsets).max()) > MAX_PARAMETER:
        return None
    return slopes.tolist(), offsets.tolist()


def _minimise(
    items: _Items, use: NDArray[np.bool_], n_types: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Penalised logistic regression, to convergence."""
    odds = torch.from_numpy(items.odds * use)
    types, right = torch.from_numpy(items.types), torch.from_numpy(items.right).double()
    weights = torch.from_numpy(items.weights)
    slopes = torch.zeros(len(use), dtype=torch.float64, requires_grad=True)
    shared = torch.zeros((), dtype=torch.float64, requires_grad=True)
    own = torch.zeros(n_types, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [slopes, shared, own], max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = odds @ slopes + shared + own[types]
        total = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, right, weights, reduction="sum"
        )
        penalty = SLOPE_PENALTY * ((slopes**2).sum() + shared**2)
        total = total + 0.5 * (penalty + OFFSET_PENALTY * (own**2).sum())
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return slopes.numpy() * use, (shared + own).numpy()
