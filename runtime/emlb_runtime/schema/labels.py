"""The BIO label scheme: how mentions of one task become a label per word and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

WordSpan = tuple[int, int, int]
"""A mention on the word axis: (first word, one past the last word, index of its type)."""

OUTSIDE = 0
MENTION = slice(1, None)
"""The labels of words in mentions, along the axis of labels."""
INSIDE = slice(2, None, 2)
"""Those of words that a mention runs on into."""


@dataclass(frozen=True)
class LabelScheme:
    """BIO labels over a task's entity types.

    Label 0 is ``O``; type ``i`` has ``B`` = 1 + 2i and ``I`` = 2 + 2i. E below is the
    number of labels, 2·types + 1.

    Attributes:
        types: the entity types, in the order of their indices.
    """

    types: tuple[str, ...]

    @property
    def n_labels(self) -> int:
        """E, the width of the emissions."""
        return 2 * len(self.types) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Label names in index order: ``O``, ``B-Drug``, ``I-Drug``, …"""
        return ("O", *(f"{prefix}-{type}" for type in self.types for prefix in "BI"))

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        """(E, E): whether label j may follow label i. I-X follows only B-X and I-X."""
        legal = np.ones((self.n_labels, self.n_labels), dtype=bool)
        legal[:, 2::2] = False
        for begin in range(1, self.n_labels, 2):
            legal[[begin, begin + 1], begin + 1] = True
        return legal

    @cached_property
    def legal_start(self) -> NDArray[np.bool_]:
        """(E,): whether a sequence may begin with the label. No I label may."""
        legal = np.ones(self.n_labels, dtype=bool)
        legal[2::2] = False
        return legal

    def encode(self, spans: Iterable[WordSpan], n_words: int) -> NDArray[np.int64]:
        """Labels (n_words,) of mentions that do not overlap.

        Raises:
            ValueError: if two mentions overlap or one lies outside the words.
        """
        labels = np.zeros(n_words, dtype=np.int64)
        for start, end, type in spans:
            if not 0 <= start < end <= n_words or labels[start:end].any():
                raise ValueError(f"mention {start}-{end} overlaps another or is out of range")
            labels[start] = 1 + 2 * type
            labels[start + 1 : end] = 2 + 2 * type
        return labels

    def decode(self, labels: Sequence[int] | NDArray[np.integer]) -> list[WordSpan]:
        """The mentions of a legal label sequence, in order."""
        values = np.asarray(labels)
        spans = []
        for start in np.flatnonzero(values % 2 == 1):
            inside, end = values[start] + 1, start + 1
            while end < len(values) and values[end] == inside:
                end += 1
            spans.append((int(start), int(end), int(values[start] - 1) // 2))
        return spans
