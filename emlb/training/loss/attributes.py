"""The attribute loss: which values each mention of a window may have, and what that costs.

The mentions are those of the relation loss: the annotated ones, and those that the entity head
predicts beside them, which have the attributes of the annotated mention of their type that they
overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emlb.examples.examples import Example
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task

IMPOSSIBLE = -1e4


@dataclass(frozen=True)
class MentionBatch:
    """The mentions of some windows, padded; B windows, S mentions, V values.

    Attributes:
        rows: (B,) which windows of the batch.
        spans: (B, S, 3) first piece, one past the last, type.
        possible: (B, S, V) values that agree with what is known; all of them for padding.
        soft: (B, S, V) probabilities that teachers give the values, times their weight; zeros
            where no teacher gives any.
    """

    rows: NDArray[np.int64]
    spans: NDArray[np.int64]
    possible: NDArray[np.bool_]
    soft: NDArray[np.float32]


def build_mentions(
    examples: Sequence[Example], predicted: Sequence[Sequence[WordSpan]] | None
) -> MentionBatch | None:
    """The mentions of windows with what is known of their attributes.

    Args:
        examples: the windows, of one task that has attributes.
        predicted: the entity head's mentions of each window; None uses annotated ones alone.

    Returns:
        None if nothing is known of any mention.
    """
    rows = [
        row
        for row, example in enumerate(examples)
        if (example.attributes is not None and not example.attributes.all())
        or (example.soft is not None and example.soft.label_weight and example.soft.attributes)
    ]
    if not rows:
        return None
    found = [_window(examples[row], predicted[row] if predicted else ()) for row in rows]
    longest = max(len(spans) for spans, _ in found)
    n_values = examples[rows[0]].supervision.task.n_attribute_values
    spans = np.zeros((len(rows), longest, 3), dtype=np.int64)
    possible = np.ones((len(rows), longest, n_values), dtype=bool)
    soft = np.zeros((len(rows), longest, n_values), dtype=np.float32)
    for index, (own, known) in enumerate(found):
        spans[index, : len(own)] = own
        possible[index, : len(own)] = known
        _soften(examples[rows[index]], soft[index])
    return MentionBatch(np.array(rows, dtype=np.int64), spans, possible, soft)


def _soften(example: Example, soft: NDArray[np.float32]) -> None:
    """Fill in what teachers think of the window's mentions, which are the first rows."""
    if example.soft is not None:
        for name, own in example.supervision.task.attribute_columns.items():
            if (values := example.soft.attributes.get(name)) is not None:
                soft[: len(values), own] = example.soft.label_weight * values


def _window(
    example: Example, predicted: Sequence[WordSpan]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    gold = list(example.mentions)
    extra = [span for span in predicted if span not in set(gold)]
    n_values = example.supervision.task.n_attribute_values
    attributes = example.attributes
    if attributes is None:
        attributes = np.ones((len(gold), n_values), dtype=bool)
    known = [*attributes]
    for start, end, type in extra:
        near = [
            index
            for index, (begin, stop, other) in enumerate(gold)
            if type == other and start < stop and begin < end
        ]
        known.append(attributes[near[0]] if len(near) == 1 else np.ones(n_values, dtype=bool))
    pieces = example.word_pieces
    spans = [(pieces[s], pieces[e], type) for s, e, type in [*gold, *extra]]
    return (
        np.array(spans, dtype=np.int64).reshape(-1, 3),
        np.array(known, dtype=bool).reshape(-1, n_values),
    )


def attribute_loss(task: Task, scores: Tensor, possible: Tensor) -> Tensor:
    """Negative log-probability of the possible values, summed over mentions and attributes.

    Where one value is possible, it is the cross-entropy; where all are, it is zero.

    Args:
        task: whose attributes they are.
        scores: (B, S, V) of the attribute head.
        possible: (B, S, V) boolean; of each attribute at least one.
    """
    total = scores.new_zeros(())
    for own in task.attribute_columns.values():
        values, allowed = scores[..., own], possible[..., own]
        known = values.masked_fill(~allowed, IMPOSSIBLE).logsumexp(dim=-1)
        total = total + (values.logsumexp(dim=-1) - known)[~allowed.all(dim=-1)].sum()
    return total


def soft_attribute_loss(task: Task, scores: Tensor, soft: Tensor, *, temperature: float) -> Tensor:
    """Divergence of the student's probabilities from the teachers', summed over mentions.

    As in ``soft_loss``, it is zero where the student agrees, and is multiplied by the square of
    the temperature.

    Args:
        task: whose attributes they are.
        scores: (B, S, V) of the attribute head.
        soft: (B, S, V) of ``MentionBatch``, at that temperature.
        temperature: see ``soft``.
    """
    total = scores.new_zeros(())
    for own in task.attribute_columns.values():
        weighted = soft[..., own]
        weights = weighted.sum(dim=-1, keepdim=True)
        wanted = weighted / weights.clamp_min(1e-6)
        logs = (scores[..., own] / temperature).log_softmax(dim=-1)
        cross = -(wanted * logs).sum(dim=-1)
        divergence = cross - torch.special.entr(wanted).sum(dim=-1)
        total = total + (divergence * weights[..., 0]).sum()
    return total * temperature**2
