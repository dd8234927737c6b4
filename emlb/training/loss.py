"""The joint loss of a batch of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emlb.data.examples import Example
from emlb.model.model import EmlbModel, JointOutput
from emlb_runtime.labels import WordSpan
from emlb_runtime.pipeline import Special, pad_windows

from .candidates import build_pairs
from .config import Learned

SCALE = 1 / 32
"""Brings the summed losses of a window to the order of one."""


@dataclass(frozen=True)
class Losses:
    """The two parts of equation (11), each a sum per window averaged over the batch."""

    entity: Tensor
    relation: Tensor


def collate(
    items: Sequence[Mapping[str, Any]], *, special: Special, word_dropout: float = 0.0
) -> dict[str, Any]:
    """A batch of ``ExampleSet`` items: padded piece ids, attention mask, and the examples.

    Args:
        items: of an ``ExampleSet``.
        special: the padding token, and the one that hides a word.
        word_dropout: share of words that are hidden, so that mentions are learned from their
            surroundings too. Drawn from torch's own generator, which checkpoints keep.
    """
    examples: list[Example] = [item["example"] for item in items]
    ids, mask = pad_windows([example.input_ids for example in examples], special.pad)
    if word_dropout and special.mask is not None:
        for row, example in zip(ids, examples, strict=True):
            _hide_words(row, example.word_pieces, special.mask, word_dropout)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "examples": examples,
    }


def _hide_words(
    ids: NDArray[np.int64], word_pieces: NDArray[np.int64], mask: int, share: float
) -> None:
    """Put the mask token in place of every piece of some words."""
    hidden = torch.rand(len(word_pieces) - 1).numpy() < share
    for word in np.flatnonzero(hidden):
        ids[word_pieces[word] : word_pieces[word + 1]] = mask


class JointLoss:
    """Equation (11) and Algorithm 1's inner step: CRF loss plus relation loss, per task.

    The paper's two attention losses are not part of it.

    Args:
        model: the network.
        max_pairs: see ``TrainingConfig``.
        seed: of the draw of unrelated pairs.
        learned: which losses to compute; the other one is zero.
    """

    def __init__(
        self, model: EmlbModel, *, max_pairs: int, seed: int, learned: Learned = "both"
    ) -> None:
        self._model = model
        self._max_pairs = max_pairs
        self._rng = np.random.default_rng(seed)
        self._learned = learned

    def __call__(
        self,
        output: JointOutput,
        attention_mask: Tensor,
        examples: Sequence[Example],
        *,
        predict: bool,
    ) -> Losses:
        """Losses of a batch.

        Args:
            output: of the model on the batch.
            attention_mask: (B, T).
            examples: the windows, one per row.
            predict: also train relations on the entity head's own mentions, if it learns.
        """
        rows_of: dict[str, list[int]] = {}
        for row, example in enumerate(examples):
            rows_of.setdefault(example.supervision.task.name, []).append(row)
        # Every parameter takes part in every step: distributed training waits for all of them.
        idle = [parameter.sum() * 0.0 for parameter in self._model.heads.parameters()]
        entity, relation = torch.stack(idle).sum(), output.hidden.new_zeros(())
        if self._learned == "relations":  # a batch without pairs would leave the encoder out
            entity, predict = entity + output.hidden.sum() * 0.0, False
        for task, rows in rows_of.items():
            chosen = [examples[row] for row in rows]
            index = torch.tensor(rows, device=output.hidden.device)
            emissions, word_mask = _word_emissions(output.emissions[task][index], chosen)
            if self._learned != "relations":
                entity = entity + self._entity_loss(task, emissions, word_mask, chosen)
            if self._learned == "entities":
                continue
            predicted = self._predict(task, emissions, chosen) if predict else None
            relation = relation + self._relation_loss(
                task, output.hidden[index], attention_mask[index], chosen, predicted
            )
        scale = SCALE / len(examples)
        return Losses(entity * scale, relation * scale)

    def _entity_loss(
        self, task: str, emissions: Tensor, word_mask: Tensor, examples: Sequence[Example]
    ) -> Tensor:
        possible = np.ones(emissions.shape, dtype=bool)
        for row, example in enumerate(examples):
            possible[row, : len(example.possible)] = example.possible
        allowed = torch.from_numpy(possible).to(emissions.device)
        loss: Tensor = self._model.head(task).crf.loss(emissions, word_mask, allowed)
        return loss.sum()

    def _predict(
        self, task: str, emissions: Tensor, examples: Sequence[Example]
    ) -> list[list[WordSpan]]:
        crf = self._model.head(task).crf.deployed()
        scores = emissions.detach().cpu().numpy()
        lengths = [len(example.possible) for example in examples]
        scheme = examples[0].supervision.task.scheme
        return [scheme.decode(path) for path in crf.viterbi(scores, lengths)]

    def _relation_loss(
        self,
        task: str,
        hidden: Tensor,
        attention_mask: Tensor,
        examples: Sequence[Example],
        predicted: list[list[WordSpan]] | None,
    ) -> Tensor:
        total = hidden.new_zeros(())
        batches = build_pairs(examples, predicted, max_pairs=self._max_pairs, rng=self._rng)
        for batch in batches:
            rows, spans, pairs, labels, weights = (
                torch.from_numpy(values).to(hidden.device)
                for values in (batch.rows, batch.spans, batch.pairs, batch.labels, batch.weights)
            )
            logits = self._model.relate(task, hidden[rows], attention_mask[rows], spans, pairs)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                logits.float(), labels, weight=weights, reduction="sum"
            )
            total = total + losses
        return total


def _word_emissions(emissions: Tensor, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Emissions of each word's first piece (B, W, E), and which are words (B, W)."""
    n_words = max(len(example.possible) for example in examples)
    first = np.zeros((len(examples), n_words), dtype=np.int64)
    mask = np.zeros((len(examples), n_words), dtype=bool)
    for row, example in enumerate(examples):
        first[row, : len(example.possible)] = example.word_pieces[:-1]
        mask[row, : len(example.possible)] = True
    index = torch.from_numpy(first).to(emissions.device)
    picked = emissions.gather(1, index[:, :, None].expand(-1, -1, emissions.shape[-1]))
    return picked.float(), torch.from_numpy(mask).to(emissions.device)
