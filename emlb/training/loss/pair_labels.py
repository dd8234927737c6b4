"""Candidate pairs for the relation loss, from gold mentions and from predicted ones.

Numpy only and without gradient: the network never enumerates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emlb.examples.examples import Example
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import enumerate_pairs

_LIKELY = 0.1
"""Probability from which a pair is never among those that are drawn: one in ten is a relation."""


@dataclass(frozen=True)
class PairBatch:
    """The candidate pairs of some windows, padded; B windows, S spans, P pairs, R relations.

    Attributes:
        rows: (B,) which windows of the batch.
        spans: (B, S, 3) first piece, one past the last, type.
        pairs: (B, P, 2) head and tail span.
        labels: (B, P, R) one where related.
        weights: (B, P, R) weight of each label's loss; zero for padding and the unknown.
        soft: (B, P, R) probabilities that teachers give the relations.
        soft_weights: (B, P, R) their weights; zero where no teacher gave one.
    """

    rows: NDArray[np.int64]
    spans: NDArray[np.int64]
    pairs: NDArray[np.int64]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    soft: NDArray[np.float32]
    soft_weights: NDArray[np.float32]


@dataclass(frozen=True)
class _Window:
    row: int
    spans: NDArray[np.int64]
    pairs: NDArray[np.int64]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    soft: NDArray[np.float32]
    soft_weights: NDArray[np.float32]


def build_pairs(
    examples: Sequence[Example],
    predicted: Sequence[Sequence[WordSpan]] | None,
    *,
    max_pairs: int,
    rng: np.random.Generator,
    chunk: int = 4,
) -> list[PairBatch]:
    """Label the pairs of each window.

    A pair of two gold mentions is related or not as annotated. A pair with a predicted
    mention that is not gold is unrelated, so that errors of the entity head at run time
    are not new to the relation head; unless the mention overlaps a gold one of its type,
    where the pair may be right but for an offset, or words of which nothing is known: then it
    carries no loss.

    Args:
        examples: the windows, of one task.
        predicted: the entity head's mentions of each window; None uses gold alone.
        max_pairs: pairs of a window at most; the related, and what teachers deem likely to be,
            are always kept.
        rng: draws the unrelated ones.
        chunk: windows per result; windows with like numbers of pairs go together.
    """
    windows = []
    for row, example in enumerate(examples):
        window = _label(row, example, predicted[row] if predicted else (), max_pairs, rng)
        if len(window.pairs):
            windows.append(window)
    windows.sort(key=lambda window: len(window.pairs))
    return [_pad(windows[first : first + chunk]) for first in range(0, len(windows), chunk)]


def _label(
    row: int,
    example: Example,
    predicted: Sequence[WordSpan],
    max_pairs: int,
    rng: np.random.Generator,
) -> _Window:
    gold = list(example.mentions)
    extra = [span for span in predicted if span not in set(gold)]
    mentions = gold + extra
    near_gold = np.zeros(len(mentions), dtype=bool)
    for index, (start, end, type) in enumerate(extra, start=len(gold)):
        near_gold[index] = any(
            other in (type, -1) and start < stop and begin < end
            for begin, stop, other in (*gold, *example.uncertain)
        )
    task = example.supervision.task
    pairs = enumerate_pairs(task, mentions)
    related, unrelated = example.supervision.pair_weights
    types = np.array([type for _, _, type in mentions], dtype=np.int64)
    allowed = task.allowed[:, types[pairs[:, 0]], types[pairs[:, 1]]].T  # (P, R)
    labels = np.zeros(allowed.shape, dtype=np.float32)
    position = {(int(head), int(tail)): pair for pair, (head, tail) in enumerate(pairs)}
    for relation, head, tail in example.relations:
        if (head, tail) in position:
            labels[position[head, tail], relation] = 1.0
    weights = np.where(labels > 0, related, unrelated) * allowed
    weights[near_gold[pairs].any(axis=1)] = 0.0
    for relation, head, tail in example.doubtful:
        weights[position[head, tail], relation] = 0.0
    soft, soft_weights = _soften(example, position, allowed)
    useful = np.flatnonzero(weights.any(axis=1) | soft_weights.any(axis=1))
    if len(useful) > max_pairs:
        positive = (labels[useful] > 0).any(axis=1) | (soft[useful] > _LIKELY).any(axis=1)
        others = rng.permutation(useful[~positive])[: max(0, max_pairs - int(positive.sum()))]
        useful = np.sort(np.concatenate([useful[positive], others]))
    pieces = example.word_pieces
    spans = np.array([(pieces[s], pieces[e], t) for s, e, t in mentions], dtype=np.int64)
    return _Window(
        row,
        spans.reshape(-1, 3),
        pairs[useful],
        labels[useful],
        weights[useful].astype(np.float32),
        soft[useful],
        soft_weights[useful],
    )


def _soften(
    example: Example, position: Mapping[tuple[int, int], int], allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(P, R) what teachers think of a window's pairs, and how much that counts."""
    soft = np.zeros(allowed.shape, dtype=np.float32)
    weights = np.zeros(allowed.shape, dtype=np.float32)
    if example.soft is not None and example.soft.relation_weight.any():
        for (head, tail), scores in zip(
            example.soft.pairs.tolist(), example.soft.relations, strict=True
        ):
            if (pair := position.get((head, tail))) is not None:
                soft[pair] = scores
                weights[pair] = example.soft.relation_weight
    return soft * allowed, weights * allowed


def _pad(windows: Sequence[_Window]) -> PairBatch:
    n_spans = max(len(window.spans) for window in windows)
    n_pairs = max(len(window.pairs) for window in windows)
    n_relations = windows[0].labels.shape[1]
    spans = np.zeros((len(windows), n_spans, 3), dtype=np.int64)
    pairs = np.zeros((len(windows), n_pairs, 2), dtype=np.int64)
    labels = np.zeros((len(windows), n_pairs, n_relations), dtype=np.float32)
    weights, soft, soft_weights = (np.zeros_like(labels) for _ in range(3))
    for index, window in enumerate(windows):
        spans[index, : len(window.spans)] = window.spans
        pairs[index, : len(window.pairs)] = window.pairs
        labels[index, : len(window.pairs)] = window.labels
        weights[index, : len(window.pairs)] = window.weights
        soft[index, : len(window.pairs)] = window.soft
        soft_weights[index, : len(window.pairs)] = window.soft_weights
    rows = np.array([window.row for window in windows], dtype=np.int64)
    return PairBatch(rows, spans, pairs, labels, weights, soft, soft_weights)
