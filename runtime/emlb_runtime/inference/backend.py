"""What the extraction pipeline asks of a network, whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


class Encoded(NamedTuple):
    """What the encoder makes of a batch: B windows, T pieces, D width, E labels."""

    hidden: Floats
    """(B, T, D)."""
    emissions: Mapping[str, Floats]
    """Per task (B, T, E)."""


class Backend(Protocol):
    """A network ready to run: ONNX sessions at the edge, torch in training."""

    @property
    def provider(self) -> str:
        """The execution provider that really runs."""

    @property
    def precision(self) -> str:
        """``int8``, ``fp16`` or ``fp32``."""

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        """Encode windows of pieces, both (B, T) with special tokens in place.

        Raises:
            MemoryError: if the batch is too large for the device; half of it may do.
        """

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        """Relation logits (B, P, R) of pairs of mentions.

        Args:
            task: whose head to ask.
            hidden: (B, T, D) of ``encode``.
            attention_mask: (B, T).
            spans: (B, S, 3) first piece, one past the last piece, type index.
            pairs: (B, P, 2) indices into the window's spans, head then tail.
        """

    def describe(self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints) -> Floats:
        """Attribute scores (B, S, V) of mentions, before the softmax of each attribute.

        Args:
            task: whose head to ask; one that has attributes.
            hidden: (B, T, D) of ``encode``.
            attention_mask: (B, T).
            spans: (B, S, 3) first piece, one past the last piece, type index.
        """
