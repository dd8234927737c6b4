"""The calibration of attributes, fitted on development documents, and what is reported with it.

An attribute's probability is how likely its value is right, given that the mention is. So it is
fitted to the mentions that are strictly right. The threshold from which a value is stated is the
one with the best F1 end to end, as for relations, but none below ``MIN_THRESHOLD``. Weighting rare
values in the loss instead raises their recall too, at a higher cost in precision, and what is left
of that once scores are calibrated is within the noise of seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from emlb.evaluation.pipeline_scores import ScoredCorpus
from emlb.evaluation.scoring.attributes import mention_key
from emlb_runtime.records import Document, Entity
from emlb_runtime.schema.attributes import (
    Attribute,
    are_facts,
    decide,
    gather,
    likeliest,
    probabilities,
)
from emlb_runtime.schema.calibration import MAX_PARAMETER, MIN_ENTITY_SLOPE, AttributeScaling
from emlb_runtime.schema.task import Task

from .thresholds import Evidence, balanced_thresholds

MIN_THRESHOLD = 0.3
"""A value that is less likely than this is not stated, whatever it would do to F1."""

MINIMUM = 20
"""Fewer marked mentions than this calibrate nothing."""

SLOPE_PENALTY, OFFSET_PENALTY = 0.01, 0.3
"""Ridge penalties: on how far the slope is from 1, and on the offsets."""

NEAREST = 1e-4
"""Probabilities count as no nearer to 0 than this."""


def fit_attributes(
    task: Task, corpora: Sequence[ScoredCorpus], predicted: Sequence[Sequence[Document]]
) -> dict[str, AttributeScaling]:
    """Fit a scaling for each attribute that has enough marked mentions.

    A mention counts where the corpus marks every value of the attribute on mentions of its type.

    Args:
        task: whose attributes they are.
        corpora: of that task; those with ``tune`` and ``calibrate`` count.
        predicted: per corpus, what the ``untuned`` task extracts.
    """
    found: dict[str, AttributeScaling] = {}
    pairs = [
        (corpus, annotated, extracted)
        for corpus, documents in zip(corpora, predicted, strict=True)
        if corpus.tune and corpus.calibrate
        for annotated, extracted in zip(corpus.documents, documents, strict=True)
    ]
    for attribute in task.attributes:
        rows = [row for pair in pairs for row in _rows(task, attribute, *pair)]
        default = attribute.values.index(attribute.default)
        if sum(value != default for _, value in rows) >= MINIMUM:
            scores = np.array([scores for scores, _ in rows])
            values = np.array([value for _, value in rows], dtype=np.int64)
            scaling = _fit(attribute, scores, values)
            if scaling is not None:
                found[attribute.name] = scaling
    thresholds = balanced_thresholds(
        [_evidence(task, found, *pair) for pair in zip(corpora, predicted, strict=True)]
    )
    return {
        name: replace(scaling, threshold=max(MIN_THRESHOLD, thresholds.get(name, 0.5)))
        for name, scaling in found.items()
    }


def _evidence(
    task: Task,
    scalings: Mapping[str, AttributeScaling],
    corpus: ScoredCorpus,
    documents: Sequence[Document],
) -> Evidence:
    """What a corpus has to say of the thresholds: nothing if it does not choose any."""
    candidates: list[tuple[str, float, bool]] = []
    marked: Counter[str] = Counter()
    pairs = zip(corpus.documents, documents, strict=True) if corpus.tune else ()
    attributes = [attribute for attribute in task.attributes if attribute.name in scalings]
    for annotated, found in pairs:
        gold = {mention_key(entity): entity for entity in annotated.entities}
        for attribute in attributes:
            able = [e for e in found.entities if _marks_all(corpus, attribute, e.type)]
            if able:
                scores = gather([attribute], [entity.attribute_scores for entity in able])
                own, best = likeliest(attribute, probabilities([attribute], scores, scalings))
                for entity, score, value in zip(able, own.tolist(), best, strict=True):
                    other = gold.get(mention_key(entity))
                    said = other.attributes.get(attribute.name) if other else None
                    right = said == attribute.values[value]
                    candidates.append((attribute.name, score, right))
            marked[attribute.name] += sum(
                entity.attributes.get(attribute.name) in attribute.marked
                for entity in gold.values()
                if _marks_all(corpus, attribute, entity.type)
            )
    return Evidence(candidates, marked)


def _marks_all(corpus: ScoredCorpus, attribute: Attribute, type: str) -> bool:
    """Whether a corpus marks every value of an attribute on mentions of a type."""
    return attribute.applies_to(type) and corpus.marked.issuperset(
        (attribute.name, type, value) for value in attribute.marked
    )


def _rows(
    task: Task, attribute: Attribute, corpus: ScoredCorpus, annotated: Document, found: Document
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Log-probabilities of the values of each right mention, and the index of the right one."""
    gold = {mention_key(entity): entity for entity in annotated.entities}
    for entity in found.entities:
        other = gold.get(mention_key(entity))
        if other is None or not _marks_all(corpus, attribute, entity.type):
            continue
        value = other.attributes.get(attribute.name, attribute.default)
        if value in attribute.values:
            scores = gather([attribute], [entity.attribute_scores])[0]
            yield np.maximum(scores, np.log(NEAREST)), attribute.values.index(value)


def _fit(
    attribute: Attribute, scores: NDArray[np.float64], values: NDArray[np.int64]
) -> AttributeScaling | None:
    """Penalised multinomial regression, to convergence; None if it gives no sensible slope."""
    inputs, targets = torch.from_numpy(scores), torch.from_numpy(values)
    slope = torch.ones((), dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(len(attribute.values), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [slope, offsets], max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = slope * inputs + offsets
        total = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        penalty = SLOPE_PENALTY * (slope - 1) ** 2 + OFFSET_PENALTY * (offsets**2).sum()
        total = total + 0.5 * penalty
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    scale, fitted = slope.detach().item(), offsets.detach().tolist()
    if not MIN_ENTITY_SLOPE <= scale <= MAX_PARAMETER or max(map(abs, fitted)) > MAX_PARAMETER:
        return None
    return AttributeScaling(scale, dict(zip(attribute.values, fitted, strict=True)))


def state_attributes(document: Document, task: Task) -> Document:
    """The document of that task with its attributes decided, as the runtime would have.

    Args:
        document: of the ``untuned`` task, with the probability of every value.
        task: tuned.
    """
    if not task.attributes or not document.entities:
        return document
    types = [entity.type for entity in document.entities]
    scores = gather(task.attributes, [entity.attribute_scores for entity in document.entities])
    scalings = task.calibration.attributes if task.calibration else None
    stated = decide(task.attributes, types, scores, scalings)
    entities = tuple(
        replace(entity, attributes=said.values, attribute_scores=said.scores)
        for entity, said in zip(document.entities, stated, strict=True)
    )
    by_id: Mapping[str, Entity] = {entity.id: entity for entity in entities}
    relations = tuple(
        replace(
            relation,
            asserted=are_facts(
                task.attributes,
                by_id[relation.head].attributes,
                by_id[relation.tail].attributes,
            ),
        )
        for relation in document.relations
    )
    return replace(document, entities=entities, relations=relations)
