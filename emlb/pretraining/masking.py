"""Whole-word masking: which pieces are hidden, by what, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from emlb.model.pretrained import LoadedTokenizer
from emlb_runtime.errors import ConfigError
from emlb_runtime.text.tokens import Ints

from .corpus import NoteWindows

IGNORE = -100
"""The label of a piece that is not to be predicted."""


class Draw(NamedTuple):
    """A window in one epoch: what its mask depends on, beside the seed."""

    epoch: int
    window: int


class MaskedWindow(NamedTuple):
    """T pieces with the two special tokens of a window, some hidden."""

    ids: Ints
    labels: Ints
    """The hidden pieces' true ids, ``IGNORE`` elsewhere."""


@dataclass(frozen=True)
class Masking:
    """BERT's masking (Devlin et al. 2019), by whole words (Cui et al. 2021).

    Words are drawn at random, all pieces of a word or none, until ``share`` of the window's
    pieces are taken; a word that would go past it is passed over, and one word is taken at
    least. Of the pieces taken, 80 % become the mask token, 10 % a random piece, 10 % stay.
    A word is what the tokenizer splits at (in Chinese, a character). Words with a special
    token, such as an unknown piece, are never taken.

    Attributes:
        mask: id of the mask token.
        special: (V,) whether an id is a special token.
        replacements: ids of all other tokens.
        share: of the pieces.
    """

    mask: int
    special: NDArray[np.bool_]
    replacements: Ints
    share: float = 0.15

    @classmethod
    def of(cls, tokenizer: LoadedTokenizer, share: float) -> Masking:
        """The masking of a tokenizer's vocabulary.

        Raises:
            ConfigError: if it has no mask token.
        """
        if tokenizer.special.mask is None:
            raise ConfigError("the base's tokenizer has no mask token; name an encoder that has")
        ids = np.array(sorted(set(tokenizer.source.get_vocab().values())), dtype=np.int64)
        special = np.zeros(int(ids[-1]) + 1, dtype=bool)
        special[list(tokenizer.source.all_special_ids)] = True
        return cls(tokenizer.special.mask, special, ids[~special[ids]], share)

    def hide(
        self, ids: Ints, starts_word: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Hide words of a window.

        Args:
            ids: (T,) pieces, without the special tokens that frame the window.
            starts_word: (T,) whether a word begins with the piece; the first one does.
            rng: decides.

        Returns:
            The pieces as the encoder is to see them, and the labels, both (T,).
        """
        taken = self._draw_words(ids, np.append(np.flatnonzero(starts_word), len(ids)), rng)
        labels = np.full(len(ids), IGNORE, dtype=np.int64)
        labels[taken] = ids[taken]
        seen, fate = ids.copy(), rng.random(len(taken))
        random = rng.choice(self.replacements, size=len(taken))
        seen[taken] = np.where(fate < 0.8, self.mask, np.where(fate < 0.9, random, ids[taken]))
        return seen, labels

    def _draw_words(self, ids: Ints, first: Ints, rng: np.random.Generator) -> Ints:
        """The pieces of the words drawn; ``first`` as in ``Tokens.first_piece``."""
        barred = np.add.reduceat(self.special[ids], first[:-1], dtype=np.int64) > 0
        order = rng.permutation(np.flatnonzero(~barred))
        lengths = np.diff(first)
        budget = max(1, round(self.share * len(ids)))
        chosen: list[int] = []
        for word in order.tolist():
            if budget == 0:
                break
            if lengths[word] <= budget:
                chosen.append(word)
                budget -= int(lengths[word])
        if not chosen and len(order):
            chosen = [int(order[0])]
        taken = [np.arange(first[word], first[word + 1]) for word in sorted(chosen)]
        return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)


class MaskedWindows(Dataset[MaskedWindow]):
    """The windows of a corpus, masked again for each epoch and the same for the same draw.

    Args:
        corpus: the windows.
        masking: what is hidden of them.
        tokenizer: for the tokens that frame a window.
        seed: of all masks.
    """

    def __init__(
        self, corpus: NoteWindows, masking: Masking, tokenizer: LoadedTokenizer, *, seed: int
    ) -> None:
        self._corpus = corpus
        self._masking = masking
        self._special = tokenizer.special
        self._seed = seed

    def __len__(self) -> int:
        return len(self._corpus.bounds) - 1

    def __getitem__(self, draw: Draw) -> MaskedWindow:
        start, end = self._corpus.bounds[draw.window : draw.window + 2]
        ids, labels = self._masking.hide(
            self._corpus.pieces[start:end].astype(np.int64),
            self._corpus.starts_word[start:end],
            np.random.default_rng([self._seed, draw.epoch, draw.window]),
        )
        framed = np.concatenate([[self._special.cls], ids, [self._special.sep]])
        return MaskedWindow(framed, np.pad(labels, 1, constant_values=IGNORE))


def collate(windows: Sequence[MaskedWindow], *, padding: int) -> dict[str, Tensor]:
    """A batch, padded to its longest window.

    Args:
        windows: B of them.
        padding: id of the padding token.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, all (B, T).
    """
    shape = (len(windows), max(len(window.ids) for window in windows))
    ids = np.full(shape, padding, dtype=np.int64)
    labels = np.full(shape, IGNORE, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, window in enumerate(windows):
        length = len(window.ids)
        ids[row, :length], labels[row, :length], mask[row, :length] = *window, 1
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": torch.from_numpy(labels),
    }
