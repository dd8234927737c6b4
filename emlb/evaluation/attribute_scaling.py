"""The calibration of attributes, fitted on development documents, and what is reported with it.

An attribute's probability is how likely its value is right, given that the mention is. So it is
fitted to the mentions that are strictly right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from emlb_runtime.attributes import Attribute, are_facts, decide, gather
from emlb_runtime.calibration import MAX_PARAMETER, MIN_ENTITY_SLOPE, AttributeScaling
from emlb_runtime.records import Document, Entity
from emlb_runtime.schema import Task

from .attributes import mention_key
from .deployed import ScoredCorpus

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
    return found


def _rows(
    task: Task, attribute: Attribute, corpus: ScoredCorpus, annotated: Document, found: Document
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Log-probabilities of the values of each right mention, and the index of the right one."""
    gold = {mention_key(entity): entity for entity in annotated.entities}
    for entity in found.entities:
        other = gold.get(mention_key(entity))
        if other is None or not attribute.applies_to(entity.type):
            continue
        marked = {(attribute.name, entity.type, value) for value in attribute.marked}
        value = other.attributes.get(attribute.name, attribute.default)
        if marked <= corpus.marked and value in attribute.values:
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
