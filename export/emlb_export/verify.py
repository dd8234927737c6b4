"""Is the bundle the model? Tensors first, then decoded documents.

Everything here raises ``ArtefactError`` with the figure rather than returning a bad one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emlb.evaluation import score
from emlb.evaluation.scoring.attributes import stated_values
from emlb_runtime.errors import ArtefactError
from emlb_runtime.inference.backend import Backend
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document, Note
from emlb_runtime.schema.task import Task

from .graph.tolerance import TOLERANCE

BATCHES = (1, 3)
Shape = tuple[int, int, int]
"""Windows, pieces, pairs."""


@dataclass(frozen=True)
class TensorParity:
    """How far apart two backends are.

    Attributes:
        shapes: how many (windows, pieces, pairs) were compared.
        hidden: largest absolute difference of hidden states at real pieces.
        emissions: largest absolute difference of emissions.
        logits: largest absolute difference of relation logits.
        attributes: largest absolute difference of attribute scores.
    """

    shapes: int
    hidden: float
    emissions: float
    logits: float
    attributes: float = 0.0

    @property
    def worst(self) -> float:
        """The largest of them."""
        return max(self.hidden, self.emissions, self.logits, self.attributes)


def compare_tensors(
    reference: Backend,
    candidate: Backend,
    tasks: Sequence[Task],
    *,
    vocabulary: int,
    max_pieces: int,
    seed: int = 0,
) -> TensorParity:
    """Largest differences over batches of 1 and 3, lengths 1, odd and maximal, 0 to many pairs.

    Args:
        reference: what to agree with.
        candidate: what to check.
        tasks: whose heads to compare.
        vocabulary: piece ids are drawn below it.
        max_pieces: the longest window.
        seed: of the random inputs.

    Raises:
        ArtefactError: if the outputs differ in names or shapes, or hold NaN.
    """
    rng = np.random.default_rng(seed)
    worst = {"hidden": 0.0, "emissions": 0.0, "logits": 0.0, "attributes": 0.0}
    shapes = [
        (batch, pieces, pairs)
        for batch in BATCHES
        for pieces in sorted({1, 2, 33, max_pieces // 2 | 1, max_pieces})
        for pairs in (0, 1, 70)
    ]
    for batch, pieces, n_pairs in shapes:
        ids = rng.integers(1, vocabulary, (batch, pieces))
        mask = np.ones((batch, pieces), dtype=np.int64)
        if batch > 1:
            mask[1, pieces // 2 + 1 :] = 0
        left, right = reference.encode(ids, mask), candidate.encode(ids, mask)
        real = mask.astype(bool)
        worst["hidden"] = max(worst["hidden"], _difference(left.hidden, right.hidden, real))
        for task in tasks:
            worst["emissions"] = max(
                worst["emissions"],
                _difference(left.emissions[task.name], right.emissions[task.name], real),
            )
            spans, pairs = _random_pairs(rng, mask, n_pairs, len(task.entity_types))
            if task.attributes:
                scores = [
                    backend.describe(task.name, left.hidden, mask, spans[:, : n_pairs + 1])
                    for backend in (reference, candidate)
                ]
                worst["attributes"] = max(worst["attributes"], _difference(*scores))
            if not task.relation_types:
                continue
            logits = [
                backend.relate(task.name, left.hidden, mask, spans, pairs)
                for backend in (reference, candidate)
            ]
            worst["logits"] = max(worst["logits"], _difference(*logits))
    return TensorParity(len(shapes), **worst)


def _random_pairs(
    rng: np.random.Generator, mask: np.ndarray, n_pairs: int, n_types: int
) -> tuple[np.ndarray, np.ndarray]:
    n_windows, n_spans = len(mask), 9
    lengths = mask.sum(axis=1)
    start = rng.integers(0, lengths[:, None], (n_windows, n_spans))
    end = np.minimum(start + rng.integers(1, 6, start.shape), lengths[:, None])
    types = rng.integers(0, n_types, start.shape)
    return np.stack([start, end, types], axis=-1), rng.integers(0, n_spans, (n_windows, n_pairs, 2))


def _difference(left: np.ndarray, right: np.ndarray, real: np.ndarray | None = None) -> float:
    if left.shape != right.shape:
        raise ArtefactError(f"outputs have shapes {left.shape} and {right.shape}")
    if not np.isfinite(right).all():
        raise ArtefactError("the exported network gives values that are not finite")
    difference = np.abs(left - right)
    if real is not None:
        difference = difference[real]
    return float(difference.max(initial=0.0))


def check_tensors(parity: TensorParity) -> None:
    """Refuse a difference above the tolerance.

    Raises:
        ArtefactError: with the figures.
    """
    if parity.worst > TOLERANCE:
        raise ArtefactError(
            f"torch and ONNX differ by {parity.worst:.2g} (hidden {parity.hidden:.2g}, emissions "
            f"{parity.emissions:.2g}, logits {parity.logits:.2g}, attributes "
            f"{parity.attributes:.2g}); at most {TOLERANCE:g} is allowed"
        )


@dataclass(frozen=True)
class Agreement:
    """How alike two pipelines decode the same notes.

    Attributes:
        notes: how many.
        entities: entities of the reference.
        relations: its relations.
        entity_f1: strict F1 of the candidate's entities against the reference's.
        relation_f1: strict F1 of the relations; 1.0 if neither has any.
        attributes: attribute values of the reference that differ from the default.
        attribute_f1: strict F1 of these values.
    """

    notes: int
    entities: int
    relations: int
    entity_f1: float
    relation_f1: float
    attributes: int = 0
    attribute_f1: float = 1.0

    @property
    def identical(self) -> bool:
        """Whether every entity, relation and attribute is the same."""
        return self.entity_f1 == self.relation_f1 == self.attribute_f1 == 1.0


def compare_decoded(reference: Pipeline, candidate: Pipeline, notes: Sequence[Note]) -> Agreement:
    """Extract notes with both and compare what comes out."""
    left, right = reference.run(notes), candidate.run(notes)
    scores = score(left, right, marked=stated_values((*left, *right)))
    said = scores.attributes.found.micro if scores.attributes else None
    n_entities, n_relations = _count(left)
    other_entities, other_relations = _count(right)
    entity_f1 = scores.entities.strict.micro.f1
    relation_f1 = scores.relations.strict.micro.f1
    return Agreement(
        notes=len(notes),
        entities=n_entities,
        relations=n_relations,
        entity_f1=entity_f1 if n_entities + other_entities else 1.0,
        relation_f1=relation_f1 if n_relations + other_relations else 1.0,
        attributes=said.gold if said else 0,
        attribute_f1=said.f1 if said else 1.0,
    )


def _count(documents: Sequence[Document]) -> tuple[int, int]:
    return (
        sum(len(document.entities) for document in documents),
        sum(len(document.relations) for document in documents),
    )


def check_decoded(agreement: Agreement) -> None:
    """Refuse any difference.

    Raises:
        ArtefactError: with the figures.
    """
    if not agreement.identical:
        raise ArtefactError(
            f"torch and ONNX decode {agreement.notes} notes differently: F1 "
            f"{agreement.entity_f1:.4f} of {agreement.entities} entities, "
            f"{agreement.relation_f1:.4f} of {agreement.relations} relations, "
            f"{agreement.attribute_f1:.4f} of {agreement.attributes} attributes"
        )
