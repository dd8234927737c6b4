"""Batches: padding, masks, and words hidden from the encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, ExampleSet, Supervision
from emlb.training.loss.joint import collate
from emlb_runtime.schema.task import Task
from emlb_runtime.text.layout import Layout
from emlb_runtime.text.special_tokens import SpecialTokens

SPECIAL = SpecialTokens(cls=1, sep=2, pad=0, mask=9)
SUPERVISION = Supervision(Task("t", ("Drug",)), Coverage(frozenset({"Drug"})))


def window(n_words: int) -> Example:
    """Words of two pieces each, 100 upwards."""
    pieces = np.arange(1, 2 * n_words + 2, 2)
    ids = np.concatenate([[1], np.arange(100, 100 + 2 * n_words), [2]])
    possible = np.ones((n_words, 3), dtype=bool)
    return Example(SUPERVISION, ids, pieces, possible, (), (), (), Layout.plain(n_words))


def batch(*sizes: int, word_dropout: float = 0.0, special: SpecialTokens = SPECIAL) -> torch.Tensor:
    examples = ExampleSet([window(size) for size in sizes])
    items = [examples[index] for index in range(len(examples))]
    made = collate(items, special=special, word_dropout=word_dropout)
    assert made["attention_mask"].sum(dim=1).tolist() == [2 * size + 2 for size in sizes]
    ids = made["input_ids"]
    assert isinstance(ids, torch.Tensor)
    return ids


def test_padding() -> None:
    ids = batch(3, 1)
    assert ids.tolist() == [[1, 100, 101, 102, 103, 104, 105, 2], [1, 100, 101, 2, 0, 0, 0, 0]]


def test_words_are_hidden_whole() -> None:
    torch.manual_seed(0)
    ids = batch(400, word_dropout=0.25)[0]
    assert (ids[0].item(), ids[-1].item()) == (1, 2)
    hidden = ids[1:-1].reshape(-1, 2) == 9
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert 0.18 < hidden[:, 0].float().mean().item() < 0.32


def test_mentions_are_hidden_whole() -> None:
    mentions = tuple((first, first + 2, 0) for first in range(0, 400, 4))
    items = [{"example": replace(window(401), mentions=mentions)}]
    torch.manual_seed(0)
    ids = collate(items, special=SPECIAL, mention_dropout=0.25)["input_ids"][0]
    hidden = (ids[1:-1].reshape(-1, 2) == 9).all(dim=1)[:400].reshape(-1, 2, 2)
    of_mentions, of_others = hidden[:, 0], hidden[:, 1]
    assert torch.equal(of_mentions[:, 0], of_mentions[:, 1])
    assert 0.13 < of_mentions[:, 0].float().mean().item() < 0.37
    assert not of_others.any()


def test_hiding_leaves_the_examples_alone() -> None:
    torch.manual_seed(0)
    first = batch(50, word_dropout=0.5)
    second = batch(50, word_dropout=0.5)
    assert not torch.equal(first, second)
    assert 9 not in window(50).input_ids


@pytest.mark.parametrize(
    ("share", "special"), [(0.0, SPECIAL), (0.9, SpecialTokens(cls=1, sep=2, pad=0))]
)
def test_nothing_is_hidden(share: float, special: SpecialTokens) -> None:
    assert 9 not in batch(50, word_dropout=share, special=special)
