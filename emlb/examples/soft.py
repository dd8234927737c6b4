"""Soft targets: what trained models think of a training window, as probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WindowText:
    """A window's words in their note's text, for models that cut words into other subwords.

    Attributes:
        text: the note's text from the window's first word to its last.
        start: (W,) first code point of each word in it.
        end: (W,) one past the last.
    """

    text: str = field(repr=False)
    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass(frozen=True)
class SoftTargets:
    """Probabilities that a student learns besides the annotation, or in its place.

    Attributes:
        labels: (W, E) probability of each label at each word; a row of zeros is unknown.
        pairs: (P, 2) head and tail of each pair, indices of the window's mentions.
        relations: (P, R) probability of each relation of each pair.
        label_weight: how much the labels count.
        relation_weight: how much the pairs count; (R,), by relation type.
        attributes: per attribute (S, V) the probability of each value for each of the window's
            mentions; empty where no teacher has attributes.
    """

    labels: NDArray[np.float16]
    pairs: NDArray[np.int64]
    relations: NDArray[np.float16]
    label_weight: float
    relation_weight: NDArray[np.float32]
    attributes: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
