"""The joint loss of a batch of windows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emlb.examples.examples import Example
from emlb.model.model import EmlbModel, JointOutput
from emlb.model.relation import RelationHead
from emlb.training.config import Learned
from emlb_runtime.decoding.mentions import find_mentions
from emlb_runtime.pipeline import pad_windows
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.text.special_tokens import SpecialTokens

from .attention import attention_loss, cross_attention_loss
from .attributes import MentionBatch, attribute_loss, build_mentions, soft_attribute_loss
from .pair_labels import PairBatch, build_pairs
from .soft import soft_label_loss, soft_relation_loss

SCALE = 1 / 32
"""Brings the summed losses of a window to the order of one."""


@dataclass(frozen=True)
class Losses:
    """The parts of Algorithm 1's loss, each a sum per window averaged over the batch.

    Attributes:
        entity: L_ner of equation (11).
        relation: L_re of equation (11).
        attention: L_attention of ``attention_loss``; zero if not computed.
        cross_attention: L_cross-attention; zero if not computed.
        attribute: over the attributes of mentions; zero if not computed.
    """

    entity: Tensor
    relation: Tensor
    attention: Tensor
    cross_attention: Tensor
    attribute: Tensor


def collate(
    items: Sequence[Mapping[str, Any]],
    *,
    special: SpecialTokens,
    word_dropout: float = 0.0,
    mention_dropout: float = 0.0,
) -> dict[str, Any]:
    """A batch of ``ExampleSet`` items: padded piece ids, attention mask, and the examples.

    Args:
        items: of an ``ExampleSet``.
        special: the padding token, and the one that hides a word.
        word_dropout: share of words that are hidden, so that mentions are learned from their
            surroundings too. Drawn from torch's own generator, which checkpoints keep.
        mention_dropout: share of annotated mentions that are hidden whole.
    """
    examples: list[Example] = [item["example"] for item in items]
    ids, mask = pad_windows([example.input_ids for example in examples], special.pad)
    if special.mask is not None and (word_dropout or mention_dropout):
        for row, example in zip(ids, examples, strict=True):
            hidden = _draw_hidden(example, word_dropout, mention_dropout)
            _hide_words(row, example.word_pieces, hidden, special.mask)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "examples": examples,
    }


def _draw_hidden(example: Example, words: float, mentions: float) -> NDArray[np.bool_]:
    """(W,) which words to hide: a share of all, and those of a share of the mentions."""
    hidden: NDArray[np.bool_] = torch.rand(len(example.word_pieces) - 1).numpy() < words
    if mentions:
        drawn = torch.rand(len(example.mentions)).numpy() < mentions
        for start, end, _ in itertools.compress(example.mentions, drawn):
            hidden[start:end] = True
    return hidden


def _hide_words(
    ids: NDArray[np.int64], word_pieces: NDArray[np.int64], hidden: NDArray[np.bool_], mask: int
) -> None:
    """Put the mask token in place of every piece of those words."""
    for word in np.flatnonzero(hidden):
        ids[word_pieces[word] : word_pieces[word + 1]] = mask


class JointLoss:
    """Equation (11) and Algorithm 1's inner step: CRF loss plus relation loss, per task.

    The attention losses are over the related pairs that carry a relation loss: annotated
    mentions of one window, under relations that the corpus annotates.

    Args:
        model: the network.
        max_pairs: see ``TrainingConfig``.
        seed: of the draw of unrelated pairs.
        learned: which of entity and relation loss to compute; the other one is zero.
        cross_attention: compute L_cross-attention; needs the bilinear relation head.
        temperature: of the soft targets that windows have.
        attributes: compute the loss of attributes, of tasks that have any.
    """

    def __init__(
        self,
        model: EmlbModel,
        *,
        max_pairs: int,
        seed: int,
        learned: Learned = "both",
        cross_attention: bool = False,
        temperature: float = 1.0,
        attributes: bool = True,
    ) -> None:
        self._model = model
        self._temperature = temperature
        self._tasks = {task.name: task for task in model.config.task_list}
        self._max_pairs = max_pairs
        self.generator = np.random.default_rng(seed)
        self._learned = learned
        self._cross_attention = cross_attention
        self._attributes = attributes

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
            output: of the model on the batch; with the encoder's attention, L_attention is
                computed too.
            attention_mask: (B, T).
            examples: the windows, one per row.
            predict: also train relations and attributes on the entity head's own mentions, if it
                learns.
        """
        rows_of: dict[str, list[int]] = {}
        for row, example in enumerate(examples):
            rows_of.setdefault(example.supervision.task.name, []).append(row)
        # Every parameter takes part in every step: distributed training waits for all of them.
        idle = [parameter.sum() * 0.0 for parameter in self._model.heads.parameters()]
        entity, none = torch.stack(idle).sum(), output.hidden.new_zeros(())
        attribute = none
        over_pairs = _PairLosses(none, none, none)
        if self._learned == "relations":  # a batch without pairs would leave the encoder out
            entity, predict = entity + output.hidden.sum() * 0.0, False
        for task, rows in rows_of.items():
            chosen = [examples[row] for row in rows]
            index = torch.tensor(rows, device=output.hidden.device)
            emissions, word_mask = _word_emissions(output.emissions[task][index], chosen)
            if self._learned != "relations":
                entity = entity + self._entity_loss(task, emissions, word_mask, chosen)
            described = self._attributes and bool(self._tasks[task].attributes)
            wanted = described or self._learned != "entities"
            predicted = self._predict(task, emissions, chosen) if predict and wanted else None
            if described:
                attribute = attribute + self._attribute_loss(
                    task,
                    output.hidden[index],
                    attention_mask[index],
                    build_mentions(chosen, predicted),
                )
            if self._learned == "entities":
                continue
            attention = output.attention[index] if output.attention is not None else None
            over_pairs += self._relation_losses(
                task,
                output.hidden[index],
                attention_mask[index],
                attention,
                build_pairs(chosen, predicted, max_pairs=self._max_pairs, rng=self.generator),
            )
        scale = SCALE / len(examples)
        relation, attention, cross_attention = (loss * scale for loss in over_pairs.parts)
        return Losses(entity * scale, relation, attention, cross_attention, attribute * scale)

    def _entity_loss(
        self, task: str, emissions: Tensor, word_mask: Tensor, examples: Sequence[Example]
    ) -> Tensor:
        possible = np.ones(emissions.shape, dtype=bool)
        for row, example in enumerate(examples):
            possible[row, : len(example.possible)] = example.possible
        allowed = torch.from_numpy(possible).to(emissions.device)
        crf = self._model.head(task).crf
        loss: Tensor = crf.loss(emissions, word_mask, allowed)
        soft = soft_label_loss(crf, emissions, word_mask, examples, temperature=self._temperature)
        return loss.sum() + soft

    def _predict(
        self, task: str, emissions: Tensor, examples: Sequence[Example]
    ) -> list[list[WordSpan]]:
        crf = self._model.head(task).crf.deployed()
        scores = emissions.detach().cpu().numpy()
        found = find_mentions(crf, scores, [example.layout for example in examples])
        return [[span for span, _ in mentions] for mentions in found]

    def _attribute_loss(
        self, task: str, hidden: Tensor, attention_mask: Tensor, batch: MentionBatch | None
    ) -> Tensor:
        if batch is None:
            return hidden.new_zeros(())
        rows, spans, possible, soft = (
            torch.from_numpy(values).to(hidden.device)
            for values in (batch.rows, batch.spans, batch.possible, batch.soft)
        )
        own = self._tasks[task]
        scores = self._model.describe(task, hidden[rows], attention_mask[rows], spans).float()
        loss = attribute_loss(own, scores, possible)
        if batch.soft.any():
            loss = loss + soft_attribute_loss(own, scores, soft, temperature=self._temperature)
        return loss

    def _relation_losses(
        self,
        task: str,
        hidden: Tensor,
        attention_mask: Tensor,
        attention: Tensor | None,
        batches: Sequence[PairBatch],
    ) -> _PairLosses:
        none = hidden.new_zeros(())
        total = _PairLosses(none, none, none)
        for batch in batches:
            rows, spans, pairs, labels, weights, soft, soft_weights = (
                torch.from_numpy(values).to(hidden.device)
                for values in (
                    *(batch.rows, batch.spans, batch.pairs, batch.labels, batch.weights),
                    *(batch.soft, batch.soft_weights),
                )
            )
            inputs = hidden[rows], attention_mask[rows], spans, pairs
            related = (labels * weights).amax(dim=-1)
            encoder_part = relation_part = none
            if attention is not None:
                encoder_part = attention_loss(attention[rows], spans, pairs, related)
            if self._cross_attention:
                head = self._model.head(task).relation
                assert isinstance(head, RelationHead)  # the configuration sees to it
                logits, looks = head.look(*inputs)
                relation_part = cross_attention_loss(looks.float(), spans, pairs, related)
            else:
                logits = self._model.relate(task, *inputs)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                logits.float(), labels, weight=weights, reduction="sum"
            )
            if batch.soft_weights.any():
                losses = losses + soft_relation_loss(
                    logits.float(), soft, soft_weights, temperature=self._temperature
                )
            total += _PairLosses(losses, encoder_part, relation_part)
        return total


@dataclass(frozen=True)
class _PairLosses:
    """Sums over pairs."""

    relation: Tensor
    attention: Tensor
    cross_attention: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.relation, self.attention, self.cross_attention

    def __add__(self, other: _PairLosses) -> _PairLosses:
        return _PairLosses(*(a + b for a, b in zip(self.parts, other.parts, strict=True)))


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
